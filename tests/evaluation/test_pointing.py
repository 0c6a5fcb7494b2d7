"""The pointing game, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from wsloc.evaluation import estimate
from wsloc.evaluation.items import judged_items, mean_over_classes
from wsloc.evaluation.judging import true_boxes
from wsloc.evaluation.pointing import judge_points
from wsloc.records import GroundTruth

DOG, CAT, SMALL = (100.0, 50.0, 200.0, 150.0), (300.0, 50.0, 340.0, 90.0), (10.0, 10.0, 20.0, 20.0)


def _truth(image_id: str, names: tuple[str, ...], boxes: tuple[tuple[float, ...], ...], difficult: bool = False):
    flags = np.zeros(len(names), dtype=bool)
    flags[-1] = difficult
    return GroundTruth(image_id, np.array(boxes), names, flags, (400, 200))


TRUTH = {
    "a": _truth("a", ("dog", "cat"), (DOG, CAT)),
    "b": _truth("b", ("dog", "dog"), (DOG, SMALL), difficult=True),
    "c": _truth("c", ("cat",), (CAT,)),
}
TRUE = true_boxes(judged_items(TRUTH), TRUTH)


@pytest.mark.parametrize(
    ("point_xy", "hit"),
    [
        ((150.0, 100.0), 1),
        ((85.0, 100.0), 1),  # 15 px to the left of the box
        ((84.9, 100.0), 0),
        ((215.0, 100.0), 1),
        ((150.0, 165.1), 0),
        ((209.0, 162.0), 1),  # 9 px and 12 px past the corner: 15 px away
        ((210.0, 162.0), 0),
        ((320.0, 70.0), 0),  # in the cat
    ],
)
def test_a_point_hits_within_fifteen_pixels_of_a_box_of_its_class(point_xy: tuple[float, float], hit: int) -> None:
    hits = judge_points(TRUE, {("a", "dog"): point_xy})
    assert hits.values[TRUE.items.pairs().index(("a", "dog"))] == hit


def test_a_difficult_box_is_a_target_too() -> None:
    hits = judge_points(TRUE, {("b", "dog"): (15.0, 15.0)})
    assert hits.values[TRUE.items.pairs().index(("b", "dog"))] == 1


def test_an_item_without_a_point_is_missed() -> None:
    hits = judge_points(TRUE, {})
    assert hits.values.tolist() == [0, 0, 0, 0]  # a: cat and dog, b: dog, c: cat


def test_the_mean_over_classes() -> None:
    points = {("a", "dog"): (150.0, 100.0), ("b", "dog"): (0.0, 190.0), ("c", "cat"): (320.0, 70.0)}
    hits = judge_points(TRUE, points)
    # dog 1 of 2, cat (a: none, c: hit) 1 of 2
    assert mean_over_classes(np.ones((1, 3)), hits) == pytest.approx(0.5)
    # Image c alone counts: only cat is there.
    assert mean_over_classes(np.array([[0.0, 0.0, 1.0]]), hits) == pytest.approx(1.0)
    interval = estimate(mean_over_classes, hits)
    assert interval.value == pytest.approx(0.5)
    assert interval.low <= 0.5 <= interval.high
