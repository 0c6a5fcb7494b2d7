"""Which items a page shows, and what it tells of each."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_runs import found, hand_run, judged_run, true_of

from wsloc.reporting.gallery import GalleryItem, State, choose, gallery_items


def item(number: int, class_name: str, iou: float | None, state: State = "box") -> GalleryItem:
    return GalleryItem(str(number), f"{number}.jpg", class_name, state, iou, 0.5, 0.5, (), (), (), None, "")


def test_items_of_a_run_by_hand() -> None:
    a, b, c, d = gallery_items(hand_run())
    assert [one.pair for one in (a, b, c, d)] == [("a", "cat"), ("b", "cat"), ("c", "dog"), ("d", "dog")]
    assert [one.state for one in (a, b, c, d)] == ["box", "fallback", "failed", "missing"]
    assert (a.iou, c.iou, d.iou) == (1.0, 0.0, 0.0)
    assert b.iou == pytest.approx(1200 / 4800)
    assert (a.reason, a.probability, a.quality) == ("", 0.9, 0.8)
    assert b.reason == "The cut found no foreground: the box is that of the seeds."
    assert c.reason == "Failed in read: c.jpg cannot be decoded: it is cut off."
    assert (c.boxes_xyxy, c.true_xyxy, c.probability) == ((), ((10, 10, 50, 40),), None)


def test_components_and_true_boxes() -> None:
    second = found("a", "cat", (60, 60, 70, 70), component=1)
    run = judged_run(
        [second, found("a", "cat", (0, 0, 9, 9))], [true_of("a", {"cat": [(0, 0, 9, 9)], "dog": [(1, 1, 2, 2)]})]
    )
    cat, dog = gallery_items(run)
    assert cat.boxes_xyxy == ((0, 0, 9, 9), (60, 60, 70, 70))
    assert cat.true_xyxy == ((0, 0, 9, 9),)
    assert (dog.class_name, dog.state) == ("dog", "missing")


def test_without_truth_there_is_no_iou() -> None:
    (one,) = gallery_items(judged_run([found("a", "cat", (0, 0, 9, 9))], None))
    assert (one.iou, one.true_xyxy, one.state) == (None, (), "box")


def test_a_box_of_a_class_that_is_not_there_is_not_judged() -> None:
    run = judged_run([found("a", "cow", (0, 0, 9, 9))], [true_of("a", {"cat": [(0, 0, 9, 9)]})])
    assert [(one.class_name, one.iou) for one in gallery_items(run)] == [("cow", None), ("cat", 0.0)]


def test_the_choice_holds_best_and_worst_of_each_class_and_all_fallbacks() -> None:
    items = [item(n, "cat", n / 100) for n in range(100)] + [item(100 + n, "dog", n / 10) for n in range(4)]
    items += [item(200 + n, "cat", 0.0, "fallback") for n in range(3)]
    chosen = choose(items, 13)
    assert len(chosen) == 13
    assert sum(one.state == "fallback" for one in chosen) == 3
    cats = [one.iou for one in chosen if one.class_name == "cat" and one.state == "box"]
    assert cats == [0.0, 0.2, 0.4, 0.59, 0.79, 0.99]
    assert sum(one.class_name == "dog" for one in chosen) == 4


def test_without_truth_the_choice_spreads_over_quality() -> None:
    items = [replace(item(n, "cat", None), quality=n / 100, probability=(37 * n % 100) / 100) for n in range(100)]
    assert [one.quality for one in choose(items, 5)] == [0.0, 0.25, 0.5, 0.74, 0.99]


def test_failures_never_fill_the_gallery_while_there_are_boxes() -> None:
    items = [item(n, "cat", 0.0, "failed") for n in range(50)] + [item(100 + n, "cat", 0.5) for n in range(50)]
    chosen = choose(items, 20)
    assert sum(one.state == "failed" for one in chosen) == 10
    assert len(choose(items[:51], 20)) == 20


STATES: list[State] = ["box", "fallback", "failed", "missing"]
ITEMS = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.none() | st.floats(0, 1), st.sampled_from(STATES)), max_size=60
)


@given(ITEMS, st.integers(0, 70))
def test_the_choice_is_full_ordered_and_the_same_each_time(
    rows: list[tuple[str, float | None, State]], most: int
) -> None:
    items = [item(number, *row) for number, row in enumerate(rows)]
    chosen = choose(items, most)
    assert len(chosen) == min(most, len(items))
    places = [int(one.image_id) for one in chosen]
    assert places == sorted(set(places))
    assert chosen == choose(items, most)
