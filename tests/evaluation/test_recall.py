"""Recall and precision of all boxes of a class in an image."""

from __future__ import annotations

import contextlib
import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_records import Box, box_of, truth_of
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from wsloc.boxes import to_xywh
from wsloc.evaluation import METRICS, evaluate
from wsloc.evaluation.comparison import Contender, compare
from wsloc.evaluation.items import judged_items
from wsloc.evaluation.judging import Judged, judge_localizations, true_boxes
from wsloc.records import GroundTruth, Localization

LEFT, RIGHT, MIDDLE = (0, 0, 20, 20), (60, 60, 80, 80), (30, 30, 50, 50)
HALF_OF_LEFT, LESS_THAN_HALF = (0, 0, 20, 10), (0, 0, 20, 9.99)
NAMES = ("box recall class-wise", "box precision class-wise", "box recall pooled", "box precision pooled")


def _found(image_id: str, name: str, *chosen: Box) -> list[Localization]:
    """Boxes of an item, the first the best by quality; all have one probability, as components do."""
    return [
        replace(box_of(image_id, name, box, component=number), quality=0.9 - number / 10)
        for number, box in enumerate(chosen)
    ]


def _judged(truth: list[GroundTruth], found: list[Localization]) -> Judged:
    by_id = {image.image_id: image for image in truth}
    return judge_localizations(true_boxes(judged_items(by_id), by_id), found)


def _figures(judged: Judged, weights: list[float] | None = None) -> list[float]:
    drawn = np.ones((1, len(judged))) if weights is None else np.array([weights])
    return [float(METRICS[name](drawn, judged)[0]) for name in NAMES]


TWO = [("cat", LEFT), ("cat", RIGHT)]


@pytest.mark.parametrize(
    ("objects", "found", "expected"),
    [
        (TWO, [LEFT, RIGHT], (2, 2, 2)),
        (TWO, [LEFT], (1, 1, 2)),
        (TWO, [], (0, 0, 2)),
        (TWO, [LEFT, MIDDLE], (1, 2, 2)),
        # One to one: a second box on an object is wrong.
        (TWO, [LEFT, LEFT, HALF_OF_LEFT], (1, 3, 2)),
        # An IoU of exactly a half is enough.
        (TWO, [HALF_OF_LEFT], (1, 1, 2)),
        (TWO, [LESS_THAN_HALF], (0, 1, 2)),
        # On a difficult object a box counts neither way, and the object is not to be found.
        ([("cat", LEFT), ("cat", RIGHT, "difficult")], [LEFT, RIGHT, RIGHT], (1, 1, 1)),
        ([("cat", LEFT), ("cat", RIGHT, "difficult")], [RIGHT], (0, 0, 1)),
        # Nor does one in a crowd, unless it is on an object.
        ([("cat", LEFT), ("cat", (50, 50, 100, 100), "crowd")], [LEFT, RIGHT], (1, 1, 1)),
        ([("cat", LEFT), ("cat", (0, 0, 100, 100), "crowd")], [LEFT, RIGHT], (1, 1, 1)),
        ([("cat", LEFT), ("dog", (50, 50, 100, 100), "crowd")], [LEFT, RIGHT], (1, 2, 1)),
    ],
)
def test_by_hand(objects: list[tuple[str, Box]], found: list[Box], expected: tuple[int, int, int]) -> None:
    judged = _judged([truth_of("a", *objects)], _found("a", "cat", *found))
    assert judged.counts is not None
    assert (judged.counts.hits[0], judged.counts.boxes[0], judged.counts.objects[0]) == expected


def test_a_box_is_for_the_object_that_it_fits_best() -> None:
    close = truth_of("a", ("cat", (0, 0, 20, 20)), ("cat", (0, 0, 20, 36)))
    # Both fit the second object best; the second box would do for the first object, too, but finds nothing new.
    judged = _judged([close], _found("a", "cat", (0, 0, 20, 36), (0, 0, 20, 30)))
    assert judged.counts is not None
    assert (judged.counts.hits.tolist(), judged.counts.boxes.tolist()) == ([1], [2])


def test_the_best_quality_goes_first() -> None:
    """In a crowd it matters which of two boxes on an object is the hit: a further one inside the crowd is ignored."""
    truth = truth_of("a", ("cat", LEFT), ("cat", (0, 0, 20, 8), "crowd"))
    inside, outside = (0, 0, 20, 12), (0, 4, 20, 20)
    for chosen, boxes in (((outside, inside), 1), ((inside, outside), 2)):
        counts = _judged([truth], _found("a", "cat", *chosen)[::-1]).counts
        assert counts is not None
        assert (counts.hits.tolist(), counts.boxes.tolist()) == ([1], [boxes])


TRUTH = [
    truth_of("a", ("cat", LEFT), ("cat", RIGHT), ("dog", MIDDLE)),
    truth_of("b", ("cat", LEFT), ("cat", MIDDLE)),
    truth_of("c", ("dog", LEFT)),  # failed: no box
    truth_of("d", ("dog", LEFT, "difficult")),  # no item
]
FOUND = [
    *_found("a", "cat", LEFT, RIGHT),
    *_found("a", "dog", MIDDLE, LEFT, RIGHT),
    *_found("b", "cat", MIDDLE, RIGHT),
    *_found("b", "dog", LEFT),  # not a class of the image
    *_found("d", "dog", LEFT, RIGHT),
    *_found("elsewhere", "dog", LEFT),
]


def test_classes_and_all_by_hand() -> None:
    judged = _judged(TRUTH, FOUND)
    # cat: 3 hits, 4 objects, 4 boxes; dog: 1 hit, 2 objects, 3 boxes.
    assert _figures(judged) == pytest.approx([(3 / 4 + 1 / 2) / 2, (3 / 4 + 1 / 3) / 2, 4 / 6, 4 / 7])
    # Image a twice, b never, c once: cat 4 of 4 and 4; dog 2 hits, 3 objects, 6 boxes.
    assert _figures(judged, [2, 0, 1]) == pytest.approx([(1 + 2 / 3) / 2, (1 + 2 / 6) / 2, 6 / 7, 6 / 10])
    # c alone: cat does not occur, and dog has no box, so there is no precision.
    recall, precision, pooled_recall, pooled_precision = _figures(judged, [0, 0, 1])
    assert (recall, pooled_recall) == (0, 0)
    assert np.isnan([precision, pooled_precision]).all()


def test_order_does_not_matter() -> None:
    assert _figures(_judged(TRUTH, FOUND[::-1])) == _figures(_judged(TRUTH, FOUND))


def test_summary_and_comparison() -> None:
    truth = {image.image_id: image for image in TRUTH}
    evaluation = evaluate(FOUND, truth)
    assert evaluation is not None
    own, center, _ = evaluation.rows
    assert [own.metrics[name].value for name in NAMES] == pytest.approx(_figures(_judged(TRUTH, FOUND)))
    assert [center.metrics[name].value for name in NAMES] == [0, 0, 0, 0]
    first = [record for record in FOUND if record.component == 0]
    one, several = (Contender(name, found, frozenset(truth)) for name, found in (("one", first), ("several", FOUND)))
    rows = {row.name: row for row in compare([one, several], truth).metrics}
    assert rows["box recall pooled"].differences[0].value == pytest.approx(4 / 6 - 3 / 6)
    assert rows["box precision pooled"].differences[0].value == pytest.approx(4 / 7 - 3 / 3)
    # The largest component alone counts for CorLoc, so nothing changes there.
    assert rows["CorLoc class-wise"].differences[0].value == 0
    # Boxes whose number means nothing are not counted, nor compared.
    uncounted = compare([one, replace(several, counted=False)], truth)
    assert not {row.name for row in uncounted.metrics}.intersection(NAMES)


def test_a_run_without_boxes_has_a_recall_and_no_precision() -> None:
    evaluation = evaluate([], {image.image_id: image for image in TRUTH})
    assert evaluation is not None
    for row in evaluation.rows:
        assert {"box recall class-wise", "box recall pooled"} == row.metrics.keys() & set(NAMES)
    assert evaluation.rows[0].metrics["box recall pooled"].value == 0


heights = st.floats(1, 40)  # 10 is an IoU of a half with LEFT


@given(st.lists(st.tuples(st.sampled_from(["cat", "dog", "cow"]), heights | st.just(10.0)), min_size=1, max_size=12))
def test_one_object_and_one_box_per_item(chosen: list[tuple[str, float]]) -> None:
    """Recall and precision are then both the fraction of items found, which is GT-known Loc."""
    truth = [truth_of(str(number), (name, LEFT)) for number, (name, _) in enumerate(chosen)]
    found = [box_of(str(number), name, (0, 0, 20, height)) for number, (name, height) in enumerate(chosen)]
    judged = _judged(truth, found)
    weights = np.random.default_rng(len(chosen)).integers(1, 4, (3, len(judged))).astype(np.float64)
    of_classes, precision, pooled, pooled_precision = (METRICS[name](weights, judged) for name in NAMES)
    assert np.array_equal(of_classes, precision)
    assert np.array_equal(pooled, pooled_precision)
    assert np.allclose(pooled, METRICS["GT-known Loc"](weights, judged))
    if not any(height == 10 for _, height in chosen):
        assert np.allclose(of_classes, METRICS["CorLoc class-wise"](weights, judged))


def _by_pycocotools(truth: list[GroundTruth], found: list[Localization]) -> tuple[int, int, int]:
    """Hits, boxes that count, and objects of one class, at IoU 0.5."""
    number_of = {image.image_id: number for number, image in enumerate(truth, start=1)}
    objects = [
        {"image_id": number_of[image.image_id], "bbox": box, "area": box[2] * box[3], "iscrowd": crowd}
        for image in truth
        for boxes, crowd in ((image.boxes_xyxy, 0), (image.crowd_xyxy, 1))
        for box in to_xywh(boxes).tolist()
    ]
    made = [
        {"image_id": number_of[record.image_id], "bbox": box, "area": box[2] * box[3], "iscrowd": 0, "score": quality}
        for record in found
        for box, quality in [(to_xywh(record.box_xyxy)[0].tolist(), record.quality)]
    ]
    sides = []
    for listed in (objects, made):
        side = COCO()
        side.dataset = {
            "images": [{"id": number} for number in number_of.values()],
            "categories": [{"id": 1}],
            "annotations": [{**fields, "id": key, "category_id": 1} for key, fields in enumerate(listed, start=1)],
        }
        with contextlib.redirect_stdout(io.StringIO()):
            side.createIndex()
        sides.append(side)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator = COCOeval(*sides, "bbox")
        evaluator.evaluate()
    of_all_sizes = [image for image in evaluator.evalImgs[: len(truth)] if image is not None]
    matched = np.concatenate([image["dtMatches"][0] > 0 for image in of_all_sizes])
    ignored = np.concatenate([image["dtIgnore"][0] for image in of_all_sizes]).astype(bool)
    objects_there = np.concatenate([image["gtIgnore"] for image in of_all_sizes]) == 0
    return int((matched & ~ignored).sum()), int((~ignored).sum()), int(objects_there.sum())


@pytest.mark.parametrize("seed", range(5))
def test_pycocotools_as_the_oracle(seed: int) -> None:
    """On objects that do not overlap: COCO gives a box the best object that is left, and VOC the best of all."""
    generator = np.random.default_rng(seed)
    truth, found = [], []
    for number in range(15):
        cells = generator.permutation(9)[: generator.integers(2, 9)]
        corners = 30 * np.stack([cells % 3, cells // 3], axis=1) + generator.uniform(0, 8, (len(cells), 2))
        boxes = np.concatenate([corners, corners + generator.uniform(8, 22, (len(cells), 2))], axis=1)
        kinds = ["", *generator.choice(["", "", "crowd"], len(cells) - 1)]
        truth.append(
            truth_of(str(number), *(("cat", tuple(box), kind) for box, kind in zip(boxes.tolist(), kinds, strict=True)))
        )
        near = np.concatenate([boxes, boxes[::2]]) + generator.normal(0, 2, (len(boxes) + len(boxes[::2]), 4))
        own = [box_of(str(number), "cat", tuple(box), component=k) for k, box in enumerate(near.tolist())]
        found += [replace(record, quality=float(generator.random())) for record in own]
    counts = _judged(truth, found).counts
    assert counts is not None
    assert (counts.hits.sum(), counts.boxes.sum(), counts.objects.sum()) == _by_pycocotools(truth, found)
    assert 0 < counts.hits.sum() < counts.objects.sum() < counts.boxes.sum()
