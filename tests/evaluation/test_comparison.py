from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from made_records import Box, box_of, truth_of
from scipy.stats import binomtest

from wsloc.errors import UserError
from wsloc.evaluation import METRICS, evaluate
from wsloc.evaluation.comparison import Comparison, Contender, compare, mcnemar_p
from wsloc.records import GroundTruth, Localization

RIGHT, HALF, WRONG = (0, 0, 20, 20), (0, 0, 20, 10), (80, 80, 90, 90)


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 0), (0, 5), (3, 3), (4, 3), (2, 11), (30, 12), (700, 520)])
def test_mcnemar_is_a_fair_coin(first: int, second: int) -> None:
    expected = 1 if first + second == 0 else binomtest(first, first + second).pvalue
    assert mcnemar_p(first, second) == pytest.approx(expected, rel=1e-9)
    assert mcnemar_p(first, second) == mcnemar_p(second, first)


def test_mcnemar_of_many_items() -> None:
    assert mcnemar_p(0, 5000) == 0
    assert mcnemar_p(10_000, 10_000) == 1


def _truth(count: int, name: str = "cat") -> dict[str, GroundTruth]:
    return {f"{name}{n}": truth_of(f"{name}{n}", (name, RIGHT)) for n in range(count)}


def _found(truth: dict[str, GroundTruth], chosen: Sequence[Box | None]) -> list[Localization]:
    return [
        box_of(image_id, image.class_names[0], box)
        for (image_id, image), box in zip(truth.items(), chosen, strict=True)
        if box is not None
    ]


def _contender(name: str, truth: dict[str, GroundTruth], found: list[Localization]) -> Contender:
    return Contender(name, found, frozenset(truth))


def _differences(comparison: Comparison) -> dict[str, float]:
    return {row.name: row.differences[0].value for row in comparison.metrics}


CATS, DOGS = _truth(4), _truth(2, "dog")
TRUTH = CATS | DOGS
A = _contender("A", TRUTH, _found(CATS, [RIGHT, RIGHT, WRONG, None]) + _found(DOGS, [WRONG, RIGHT]))
B = _contender("B", TRUTH, _found(CATS, [RIGHT, HALF, RIGHT, RIGHT]) + _found(DOGS, [WRONG, WRONG]))


def test_by_hand() -> None:
    made = compare([A, B], TRUTH)
    assert (made.names, made.images, made.notes) == (("A", "B"), 6, ())
    # cat 2/4 to 3/4, dog 1/2 to 0; at a half image-wise also counts the box of the second cat.
    assert _differences(made) == pytest.approx(
        {
            "CorLoc class-wise": (1 / 4 - 1 / 2) / 2,
            "CorLoc image-wise": 4 / 6 - 3 / 6,
            "mean IoU": 3.5 / 6 - 3 / 6,
            "CorLoc at IoU 0.3": (1 + 0) / 2 - (1 / 2 + 1 / 2) / 2,
            "CorLoc at IoU 0.7": (3 / 4 + 0) / 2 - (1 / 2 + 1 / 2) / 2,
            "GT-known Loc": 4 / 6 - 3 / 6,
            # One object and at most one box per item: recall is GT-known Loc, by class and in all. Only A lacks a box.
            "box recall class-wise": (4 / 4 + 0) / 2 - (2 / 4 + 1 / 2) / 2,
            "box precision class-wise": (4 / 4 + 0) / 2 - (2 / 3 + 1 / 2) / 2,
            "box recall pooled": 4 / 6 - 3 / 6,
            "box precision pooled": 4 / 6 - 3 / 5,
        }
    )
    for row in made.metrics:
        assert row.items == 6
        assert row.values[1].value - row.values[0].value == pytest.approx(row.differences[0].value)
        assert row.differences[0].low <= row.differences[0].value <= row.differences[0].high
    cat, dog = made.classes
    assert (cat.corloc.name, cat.corloc.items, cat.found_alone, cat.p_values) == ("cat", 4, ((1, 2),), (1.0,))
    assert [value.value for value in cat.corloc.values] == [2 / 4, 3 / 4]
    assert (dog.corloc.name, dog.corloc.items, dog.found_alone, dog.p_values) == ("dog", 2, ((1, 0),), (1.0,))
    assert dog.corloc.differences[0].value == -1 / 2


def test_items() -> None:
    made = compare([A, B], TRUTH)
    assert [(item.image_id, item.class_name) for item in made.items] == [
        ("cat0", "cat"), ("cat1", "cat"), ("cat2", "cat"), ("cat3", "cat"), ("dog0", "dog"), ("dog1", "dog"),
    ]  # fmt: skip
    third, fourth = made.items[2], made.items[3]
    assert (third.ious, third.boxes_xyxy, third.change()) == ((0, 1), (WRONG, RIGHT), 1)
    assert (fourth.ious, fourth.boxes_xyxy) == ((0, 1), (None, RIGHT))
    assert (fourth.object_fraction, fourth.objects) == (400 / 10_000, 1)
    assert [item.image_id for item in made.most_changed(10)] == ["cat2", "cat3", "dog1", "cat1"]
    assert [item.image_id for item in made.most_changed(2)] == ["cat2", "cat3"]


def test_the_same_figures_as_the_summary_of_a_run() -> None:
    made = compare([A, B], TRUTH)
    for number, run in enumerate((A, B)):
        evaluation = evaluate(run.localizations, TRUTH)
        assert evaluation is not None
        assert {row.name: row.values[number] for row in made.metrics} == evaluation.rows[0].metrics


def test_a_run_and_itself_do_not_differ() -> None:
    made = compare([A, replace(A, name="again")], TRUTH)
    for row in (*made.metrics, *(scored.corloc for scored in made.classes), *made.sizes, *made.counts):
        difference = row.differences[0]
        assert (difference.low, difference.value, difference.high) == (0, 0, 0)
    assert [scored.p_values for scored in made.classes] == [(1.0,), (1.0,)]
    assert made.most_changed(10) == []


def test_a_clear_difference() -> None:
    truth = _truth(100)
    generator = np.random.default_rng(0)
    first = [RIGHT if hit else WRONG for hit in generator.random(100) < 0.4]
    second = [RIGHT if hit else WRONG for hit in generator.random(100) < 0.9]
    made = compare([_contender("A", truth, _found(truth, first)), _contender("B", truth, _found(truth, second))], truth)
    assert all(row.differences[0].low > 0 for row in made.metrics)
    (cat,) = made.classes
    assert cat.p_values[0] < 1e-6
    assert cat.corloc.differences == made.metrics[0].differences  # one class: the same figure


def test_where() -> None:
    truth = {
        "small": truth_of("small", ("cat", (0, 0, 10, 10)), ("cat", (20, 0, 30, 10))),
        "edge": truth_of("edge", ("cat", (0, 0, 15, 100))),  # 15 % is no longer small
        "middle": truth_of("middle", *([("cat", (0, 0, 10, 10))] * 2), ("cat", (0, 0, 39, 100), "difficult")),
        "large": truth_of("large", *([("cat", (0, 0, 5, 5))] * 3), ("cat", (0, 0, 40, 100))),
    }
    found = [box_of(name, "cat", (0, 0, 10, 10)) for name in truth]
    made = compare([_contender("A", truth, []), _contender("B", truth, found)], truth)
    table = {
        row.name: (row.items, row.values[0].value, row.differences[0].value) for row in (*made.sizes, *made.counts)
    }
    assert table == {
        "below 15 %": (1, 0, 1),
        "15 to 40 %": (2, 0, 1 / 2),
        "above 40 %": (1, 0, 0),
        "1 object": (1, 0, 0),
        "2 or 3 objects": (2, 0, 1),
        "4 or more": (1, 0, 0),
    }
    alone = compare([_contender("A", CATS, []), _contender("B", CATS, [])], CATS)
    assert [row.name for row in (*alone.sizes, *alone.counts)] == ["below 15 %", "1 object"]  # no row without items


def test_three_runs() -> None:
    third = _contender("C", TRUTH, _found(TRUTH, [RIGHT] * 6))
    made = compare([A, B, third], TRUTH)
    pair = compare([A, third], TRUTH)
    for row, of_pair in zip(made.metrics, pair.metrics, strict=True):
        assert row.values == (of_pair.values[0], row.values[1], of_pair.values[1])
        assert row.differences[1:] == of_pair.differences
    assert made.classes[0].found_alone == ((1, 2), (0, 2))
    assert [item.image_id for item in made.most_changed(10, 1)] == ["cat2", "cat3", "dog1", "cat1"]
    assert [item.image_id for item in made.most_changed(10)] == ["cat2", "cat3", "dog0"]


def test_top_k_only_where_every_run_has_ranks() -> None:
    ranked = replace(A, localizations=[replace(record, rank=1) for record in A.localizations])
    assert "Top-1 Loc" not in _differences(compare([ranked, B], TRUTH))
    assert _differences(compare([ranked, ranked], TRUTH)).keys() == METRICS.keys()


def test_common_images_of_unfinished_runs() -> None:
    unfinished = replace(B, image_ids=frozenset(["cat2", "cat3", "dog0"]), complete=False, fingerprint="x")
    made = compare([replace(A, fingerprint="x"), unfinished], TRUTH)
    assert [item.image_id for item in made.items] == ["cat2", "cat3", "dog0"]
    assert made.notes == (
        "B is not finished: only the images done so far count.",
        "3 items of A are not compared: cat in cat0, cat in cat1, dog in dog1.",
    )


def test_runs_of_other_classes_or_data() -> None:
    cats = replace(B, class_names=frozenset(["cat"]), fingerprint="y")
    made = compare([replace(A, fingerprint="x"), cats], TRUTH)
    assert [scored.corloc.name for scored in made.classes] == ["cat"]
    assert made.notes == (
        "The runs were not asked for the same items; only what all of them were asked for is compared.",
        "2 items of A are not compared: dog in dog0, dog in dog1.",
    )


def test_images_of_another_size_or_without_truth() -> None:
    found = [replace(record, size_wh=(50, 50)) if record.image_id == "cat1" else record for record in B.localizations]
    other = replace(B, localizations=found, image_ids=B.image_ids | {"new"})
    made = compare([replace(A, image_ids=other.image_ids), other], TRUTH)
    assert "cat1" not in [item.image_id for item in made.items]
    assert made.notes[:2] == (
        "1 image without readable true boxes: new.",
        "1 image had another size in a run than in the data set; left out: cat1.",
    )


@pytest.mark.parametrize(
    ("runs", "truth", "sentence"),
    [
        ([A], TRUTH, "needs two runs"),
        ([A, replace(B, image_ids=frozenset(["other"]))], TRUTH, "no image in common"),
        ([A, replace(B, image_ids=frozenset())], TRUTH, "no image in common"),
        ([A, B], {}, "No image of the runs has true boxes"),
        (
            [A, replace(B, localizations=[replace(x, size_wh=(1, 1)) for x in _found(TRUTH, [RIGHT] * 6)])],
            TRUTH,
            "size",
        ),
        ([replace(A, class_names=frozenset(["cat"])), replace(B, class_names=frozenset(["dog"]))], TRUTH, "no item"),
        ([A, B], {key: truth_of(key) for key in TRUTH}, "no item"),
    ],
)
def test_refused(runs: list[Contender], truth: dict[str, GroundTruth], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        compare(runs, truth)


def test_progress_counts_every_row() -> None:
    seen: list[object] = []

    def count(tasks, *_told):
        for task in tasks:
            seen.append(task)
            yield task

    made = compare([A, B], TRUTH, count)
    assert len(seen) == len(made.metrics) + len(made.classes) + len(made.sizes) + len(made.counts)
