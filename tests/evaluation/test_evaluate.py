import numpy as np
import pytest

from wsloc.evaluation import METRICS, evaluate
from wsloc.evaluation.table import format_evaluation
from wsloc.records import GroundTruth, Localization

CAT, DOG = "cat", "dog with a long name"


def _truth(image_id: str, class_name: str, difficult: bool = False) -> GroundTruth:
    """One object in the left upper quarter."""
    return GroundTruth(image_id, np.array([[0.0, 0, 50, 50]]), (class_name,), np.array([difficult]), (100, 100))


def _found(image_id: str, class_name: str, height: float) -> Localization:
    """A box whose IoU with the object is ``height / 50``."""
    box = (0.0, 0.0, 50.0, height)
    return Localization(
        image_id, f"{image_id}.jpg", class_name, box, 0.9, 0.8, height / 200, "gradient", "grabcut", None, 0, (100, 100)
    )


TRUTH = {
    truth.image_id: truth
    for truth in (
        *(_truth(f"cat{n}", CAT) for n in range(4)),
        *(_truth(f"dog{n}", DOG) for n in range(2)),
        _truth("difficult", DOG, difficult=True),
    )
}
FOUND = [
    _found("cat0", CAT, 50),  # 1
    _found("cat1", CAT, 25),  # 0.5: image-wise alone
    _found("cat2", CAT, 40),  # 0.8
    # cat3 has no box
    _found("dog0", DOG, 20),  # 0.4
    _found("dog1", DOG, 30),  # 0.6
    _found("difficult", DOG, 50),
]


def test_by_hand() -> None:
    evaluation = evaluate(FOUND, TRUTH)
    assert evaluation is not None
    assert (evaluation.images, evaluation.items) == (6, 6)
    assert [row.name for row in evaluation.rows] == ["wsloc", "center box", "full image"]
    own, center, full = evaluation.rows
    assert own.metrics["CorLoc class-wise"].value == pytest.approx((2 / 4 + 1 / 2) / 2)
    assert own.metrics["CorLoc image-wise"].value == pytest.approx(4 / 6)
    assert own.metrics["mean IoU"].value == pytest.approx((1 + 0.5 + 0.8 + 0 + 0.4 + 0.6) / 6)
    # Center box (15, 15, 85, 85): 35 x 35 of 2500 + 4900 - 1225; full image: 2500 of 10000.
    assert center.metrics["mean IoU"].value == pytest.approx(1225 / 6175)
    assert full.metrics["mean IoU"].value == pytest.approx(0.25)
    assert center.metrics["CorLoc class-wise"].value == full.metrics["CorLoc image-wise"].value == 0
    cat, dog = evaluation.classes
    assert (cat.class_name, cat.items, dog.class_name, dog.items) == (CAT, 4, DOG, 2)
    assert (cat.corloc, dog.corloc) == pytest.approx((0.5, 0.5))
    assert (cat.mean_iou, dog.mean_iou) == pytest.approx((2.3 / 4, 0.5))
    assert cat.baselines == {"center box": 0, "full image": 0}
    for row in evaluation.rows:
        for figure in row.metrics.values():
            assert 0 <= figure.low <= figure.value <= figure.high <= 1


def test_order_of_the_boxes_does_not_matter() -> None:
    assert evaluate(FOUND[::-1], TRUTH) == evaluate(iter(FOUND), TRUTH)


def test_only_the_classes_asked_for() -> None:
    evaluation = evaluate(FOUND, TRUTH, [CAT, "zebra"])
    assert evaluation is not None
    assert (evaluation.images, evaluation.items) == (4, 4)
    assert [scores.class_name for scores in evaluation.classes] == [CAT]


def test_perfect_boxes_and_none_at_all() -> None:
    perfect = [_found(image_id, truth.class_names[0], 50) for image_id, truth in TRUTH.items()]
    for localizations, expected in ((perfect, 1), ([], 0)):
        evaluation = evaluate(localizations, TRUTH)
        assert evaluation is not None
        own = evaluation.rows[0]
        for figure in own.metrics.values():
            assert (figure.low, figure.value, figure.high) == (expected,) * 3


@pytest.mark.parametrize(
    ("truth", "class_names"),
    [
        ({}, None),
        (TRUTH, ["zebra"]),
        (TRUTH, []),
        ({"difficult": TRUTH["difficult"]}, None),
        ({"empty": GroundTruth("empty", np.zeros((0, 4)), (), np.zeros(0, dtype=bool), (100, 100))}, None),
    ],
)
def test_nothing_to_judge(truth: dict[str, GroundTruth], class_names: list[str] | None) -> None:
    assert evaluate(FOUND, truth, class_names) is None


def test_table() -> None:
    evaluation = evaluate(FOUND, TRUTH)
    assert evaluation is not None
    lines = format_evaluation(evaluation).splitlines()
    assert "6 items in 6 images" in lines[0]
    assert "percent" in lines[0]
    assert "95 % bootstrap" in lines[0]
    assert lines[2].split() == ["wsloc", "center", "box", "full", "image"]
    # Top-k Loc needs ranks.
    assert [line.split("  ")[0] for line in lines[3:13]] == [name for name in METRICS if not name.startswith("Top")]
    own = evaluation.rows[0].metrics["CorLoc image-wise"]
    assert f"66.7 [{100 * own.low:.1f}, {100 * own.high:.1f}]" in lines[4]
    assert lines[5].rstrip().endswith("25.0 [25.0, 25.0]")
    assert len({len(line) for line in lines[2:13]}) == 1
    header, cat, dog, mean = (line.split() for line in lines[14:])
    assert header == ["class", "items", "CorLoc", "mean", "IoU", "center", "box", "full", "image"]
    assert cat == [CAT, "4", "50.0", "57.5", "0.0", "0.0"]
    assert dog == [*DOG.split(), "2", "50.0", "50.0", "0.0", "0.0"]
    assert mean == ["mean", "of", "classes", "6", "50.0", "53.8", "0.0", "0.0"]  # the mean of 57.5 and 50, to even
    # Columns are in line however long a name is.
    assert len({len(line) for line in lines[14:]}) == 1
