import contextlib
import io
import json
from dataclasses import replace
from pathlib import Path

import faster_coco_eval
import numpy as np
import pytest
from made_records import Box, box_of, score, truth_of
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from wsloc.boxes import to_xywh
from wsloc.datasets.coco import open_coco, read_coco_ground_truth
from wsloc.evaluation.coco_ap import CocoAp, coco_ap
from wsloc.records import GroundTruth, Localization

EVALUATORS = {
    "pycocotools": (COCO, COCOeval),
    "faster-coco-eval": (faster_coco_eval.COCO, faster_coco_eval.COCOeval_faster),
}
SMALL, MEDIUM, LARGE = (0, 0, 20, 20), (30, 30, 70, 70), (0, 0, 100, 100)


@pytest.fixture(autouse=True, params=EVALUATORS)
def _evaluator(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test runs by pycocotools and by the drop-in."""
    for name, own in zip(("COCO", "COCOeval"), EVALUATORS[request.param], strict=True):
        monkeypatch.setattr(f"wsloc.evaluation.coco_ap.{name}", own)


def _scored(truth: list[GroundTruth], *found: Localization, class_names: list[str] | None = None) -> CocoAp:
    made = coco_ap({image.image_id: image for image in truth}, found, score, class_names)
    assert made is not None
    return made


def test_perfect_boxes_none_at_all_and_silence(capsys: pytest.CaptureFixture[str]) -> None:
    truth = [truth_of("a", ("cat", SMALL), ("dog", MEDIUM)), truth_of("b", ("cat", LARGE))]
    perfect = [box_of("a", "cat", SMALL), box_of("a", "dog", MEDIUM), box_of("b", "cat", LARGE)]
    made = _scored(truth, *perfect)
    for figure in (made.ap, made.ap50, made.ap75, made.ap_small, made.ap_medium, made.ap_large):
        assert figure == pytest.approx(1, abs=1e-12)
    assert made.classes.keys() == {"cat", "dog"}
    nothing = _scored(truth)
    assert (nothing.ap, nothing.ap50, nothing.ap75, nothing.ap_small, nothing.ap_large) == (0, 0, 0, 0, 0)
    # One class without any box.
    assert _scored(truth, *perfect[1:2]).ap == pytest.approx(1 / 2)
    assert capsys.readouterr() == ("", "")


def test_by_hand() -> None:
    # IoU 0.62 passes three of the ten thresholds.
    made = _scored([truth_of("a", ("cat", LARGE))], box_of("a", "cat", (0, 0, 100, 62)))
    assert (made.ap, made.ap50, made.ap75) == pytest.approx((3 / 10, 1, 0))
    assert (made.ap_small, made.ap_medium) == (None, None)
    assert made.ap_large == pytest.approx(3 / 10)
    assert made.classes["cat"].ap == pytest.approx(made.ap)
    # One of two objects: 51 of the 101 recalls.
    made = _scored([truth_of("a", ("cat", SMALL), ("cat", MEDIUM))], box_of("a", "cat", SMALL))
    assert made.ap == pytest.approx(51 / 101)
    assert (made.ap_small, made.ap_medium) == pytest.approx((1, 0))


def test_sizes_are_the_areas_of_the_objects_where_they_are_known() -> None:
    """A long thin object in a large box is small, as COCO has it."""
    truth = replace(truth_of("a", ("cat", LARGE), ("cat", MEDIUM)), areas=np.array([32.0**2 - 1, 40.0**2]))
    made = _scored([truth], box_of("a", "cat", LARGE))
    assert (made.ap_small, made.ap_medium, made.ap_large) == (pytest.approx(1), 0, None)
    made = _scored([replace(truth, areas=None)], box_of("a", "cat", LARGE))
    assert (made.ap_small, made.ap_medium, made.ap_large) == (None, 0, pytest.approx(1))


@pytest.mark.parametrize(
    ("objects", "found", "expected"),
    [
        ([("cat", SMALL)], [(MEDIUM, 0.9), (SMALL, 0.8)], 1 / 2),
        ([("cat", SMALL)], [(MEDIUM, float("nan")), (SMALL, 0.8)], 1),
        # Difficult: not to be found, and one box on it is no miss; the second is.
        ([("cat", SMALL), ("cat", MEDIUM, "difficult")], [(MEDIUM, 0.9), (SMALL, 0.8)], 1),
        ([("cat", SMALL), ("cat", MEDIUM, "difficult")], [(SMALL, 0.8)], 1),
        ([("cat", SMALL), ("cat", MEDIUM, "difficult")], [(MEDIUM, 0.9), (MEDIUM, 0.85), (SMALL, 0.8)], 1 / 2),
        # An object that is ordinary goes before one that is difficult, however much better that one fits.
        ([("cat", SMALL), ("cat", (0, 0, 20, 16), "difficult")], [((0, 0, 20, 16), 0.9)], 7 / 10),
        # Crowd: any number of boxes inside, and only of its class.
        ([("cat", SMALL), ("cat", LARGE, "crowd")], [(MEDIUM, 0.9), (MEDIUM, 0.85), (SMALL, 0.8)], 1),
        ([("cat", SMALL), ("dog", LARGE, "crowd")], [(MEDIUM, 0.9), (SMALL, 0.8)], 1 / 2),
    ],
)
def test_what_is_ignored(
    objects: list[tuple[str, Box] | tuple[str, Box, str]], found: list[tuple[Box, float]], expected: float
) -> None:
    made = _scored([truth_of("a", *objects)], *(box_of("a", "cat", box, value) for box, value in found))
    assert made.classes.keys() == {"cat"}
    assert made.ap == pytest.approx(expected, abs=1e-9)


def test_classes() -> None:
    truth = [truth_of("a", ("cat", SMALL), ("cow", MEDIUM, "difficult"))]
    found = [box_of("a", "cat", SMALL), box_of("a", "cow", MEDIUM), box_of("elsewhere", "cat", LARGE, 0.9)]
    assert _scored(truth, *found).classes.keys() == {"cat"}
    assert _scored(truth, *found).ap == pytest.approx(1)
    assert coco_ap({"a": truth[0]}, found, score, ["cow", "zebra"]) is None
    assert coco_ap({}, found, score) is None
    seen: list[str] = []

    def count(names, *_told):
        for name in names:
            seen.append(name)
            yield name

    both = [truth_of("a", ("dog", SMALL), ("cat", SMALL))]
    made = coco_ap({"a": both[0]}, found, score, progress=count)
    assert made is not None
    assert seen == ["cat", "dog"]
    # A box on an image that does not show its class is a miss.
    elsewhere = [truth_of("a", ("cat", SMALL)), truth_of("b", ("dog", SMALL))]
    wrong = _scored(elsewhere, box_of("a", "cat", SMALL, 0.5), box_of("b", "cat", SMALL, 0.9), class_names=["cat"])
    assert wrong.ap == pytest.approx(1 / 2)


def test_the_usual_way_through_files(tmp_path: Path) -> None:
    """All classes and images at once, by JSON files and ``loadRes``."""
    generator = np.random.default_rng(0)
    names = ["cat", "cow", "dog"]
    truth, found = {}, []
    for number in range(60):
        image_id = f"{number:02d}"
        count = int(generator.integers(0, 6))
        corner = generator.uniform(0, 300, (count, 2))
        boxes = np.concatenate([corner, corner + generator.uniform(5, 200, (count, 2))], axis=1)
        crowd = generator.random(count) < 0.15
        labels = generator.choice(names, count)
        truth[image_id] = GroundTruth(
            image_id,
            boxes[~crowd],
            tuple(labels[~crowd].tolist()),
            np.zeros(int((~crowd).sum()), dtype=bool),
            (500, 500),
            boxes[crowd],
            tuple(labels[crowd].tolist()),
        )
        near = boxes + generator.normal(0, 8, boxes.shape)
        far = generator.uniform(0, 200, (2, 2))
        for box in [*near, *np.concatenate([far, far + 50], axis=1)]:
            x0, y0, x1, y1 = np.concatenate([np.minimum(box[:2], box[2:]), np.maximum(box[:2], box[2:]) + 1]).tolist()
            name = str(generator.choice(labels)) if count else "cat"
            found.append(box_of(image_id, name, (x0, y0, x1, y1), float(generator.integers(0, 30)) / 30))

    number_of = {image_id: number for number, image_id in enumerate(truth, start=100)}
    annotations = [
        {"image_id": number_of[image.image_id], "category_id": 7 + names.index(name), "iscrowd": crowd, "bbox": box}
        for image in truth.values()
        for boxes, labels, crowd in (
            (image.boxes_xyxy, image.class_names, 0),
            (image.crowd_xyxy, image.crowd_class_names, 1),
        )
        for name, box in zip(labels, to_xywh(boxes).tolist(), strict=True)
    ]
    for number, annotation in enumerate(annotations, start=1):
        annotation |= {"id": number, "area": annotation["bbox"][2] * annotation["bbox"][3]}
    results = [
        {
            "image_id": number_of[record.image_id],
            "category_id": 7 + names.index(record.class_name),
            "bbox": to_xywh(record.box_xyxy)[0].tolist(),
            "score": record.probability,
        }
        for record in found
    ]
    document = {
        "images": [{"id": number} for number in number_of.values()],
        "categories": [{"id": 7 + place, "name": name} for place, name in enumerate(names)],
        "annotations": annotations,
    }
    (tmp_path / "truth.json").write_text(json.dumps(document))
    (tmp_path / "found.json").write_text(json.dumps(results))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(tmp_path / "truth.json"))
        evaluator = COCOeval(coco, coco.loadRes(str(tmp_path / "found.json")), "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    made = _scored(list(truth.values()), *found)
    figures = (made.ap, made.ap50, made.ap75, made.ap_small, made.ap_medium, made.ap_large)
    assert figures == pytest.approx(tuple(evaluator.stats[:6]), abs=1e-12)
    assert 0.05 < made.ap < 0.95
    for place, name in enumerate(names):
        precision = evaluator.eval["precision"][:, :, place, 0, -1]
        assert made.classes[name].ap == pytest.approx(precision.mean(), abs=1e-12)
        assert made.classes[name].ap50 == pytest.approx(precision[0].mean(), abs=1e-12)


def test_perfect_boxes_of_photographs(shared: Path) -> None:
    dataset = open_coco(shared / "coco", "val2017")
    truth = read_coco_ground_truth(replace(dataset, images=dataset.images[:200]), "val2017").images
    found = [
        box_of(image.image_id, name, tuple(box))
        for image in truth.values()
        for name, box in zip(image.class_names, image.boxes_xyxy.tolist(), strict=True)
    ]
    made = coco_ap(truth, found, score)
    assert made is not None
    assert made.ap == pytest.approx(1, abs=1e-9)
