"""Which boxes an item has after a round."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from made_images import CLASSES, QUICK, as_dataset, write_images
from torch import Tensor, nn

from wsloc.detection.data import from_truth
from wsloc.detection.inference import detection
from wsloc.detection.self_training import averaged, fold_of, given, objects_of, of_fold, relocalize, training_part
from wsloc.pipeline.results import ImageResult, ItemResult
from wsloc.records import Detection, ImageRecord

CPU = torch.device("cpu")


class Told(nn.Module):
    """Answers the same of every image: red at the left and in the middle, green below, of given scores."""

    def __init__(self, red: float, green: float) -> None:
        super().__init__()
        self.scores = torch.tensor([red / 2, red, green])

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        boxes = torch.tensor([[50.0, 0, 60, 10], [0, 0, 10, 10], [40, 40, 60, 60]])
        return [{"boxes": boxes, "labels": torch.tensor([1, 1, 2]), "scores": self.scores} for _ in images]


def old(image: ImageRecord, name: str) -> Detection:
    return detection(image, name, (5.0, 5.0, 9.0, 9.0), 1.0, (96, 96), method="cam")


def test_the_boxes_of_each_labeled_class_or_the_old_one(tmp_path: Path) -> None:
    dataset, _ = as_dataset(tmp_path, write_images(tmp_path, 3))
    labels = (("red", "green"), ("green",), ("red", "blue"))
    images = tuple(replace(image, labels=own) for image, own in zip(dataset.images, labels, strict=True))
    before = {(image.image_id, name): [old(image, name)] for image in images for name in image.labels}
    del before["02.png", "blue"]
    rounds = list(relocalize(Told(0.8, 0.1), images, before, CLASSES, CPU, min_score=0.3))
    found = [
        (r.class_name, done.result.image.image_id, r.index, r.method, r.box_xyxy[:2])
        for done in rounds
        for item in done.result.items
        for r in item.localizations
    ]
    assert found == [
        ("red", "00.png", 0, "detector", (0, 0)),
        ("red", "00.png", 1, "detector", (50, 0)),
        ("green", "00.png", 0, "cam", (5, 5)),  # below the least score
        ("green", "01.png", 0, "cam", (5, 5)),  # red is not labeled here
        ("red", "02.png", 0, "detector", (0, 0)),
        ("red", "02.png", 1, "detector", (50, 0)),
    ]
    assert [done.found for done in rounds] == [2, 0, 2]
    failure = rounds[2].result.items[1].failure
    assert failure is not None
    assert (failure.stage, failure.class_name) == ("detect", "blue")
    assert "neither the labels nor the detector have a box of blue" in failure.reason


def detected(name: str, box: tuple[float, float, float, float], score: float) -> Detection:
    return detection(ImageRecord("a", "a.png", b""), name, box, score, (96, 96))


def found_on_an_image(*records: Detection) -> ImageResult:
    by_class: dict[str, list[Detection]] = {}
    for record in records:
        by_class.setdefault(record.class_name, []).append(record)
    return ImageResult(
        ImageRecord("a", "a.png", b""), tuple(ItemResult(name, tuple(own)) for name, own in by_class.items())
    )


def test_a_class_that_the_detector_does_not_see_there_is_none() -> None:
    """Of two boxes of 10 x 10, shifted by 3, the IoU is 70 / 130 = 0.54; shifted by 4, 60 / 140 = 0.43."""
    red = [detected("red", (0, 0, 10, 10), 0.5), detected("red", (50, 50, 60, 60), 0.4)]
    for shift, score, agreed in ((3, 0.6, False), (4, 0.6, True), (3, 0.4, True), (3, 0.5, True)):
        # The rival need not be the best box of its class.
        green = [detected("green", (80, 80, 90, 90), 0.9), detected("green", (shift, 0, shift + 10, 10), score)]
        found = found_on_an_image(*green, *red)
        boxes = [(box.box_xyxy, box.index) for box in objects_of(found, "red", 0.1)]
        assert boxes == ([(red[0].box_xyxy, 0), (red[1].box_xyxy, 1)] if agreed else [(red[1].box_xyxy, 0)])
        assert objects_of(found, "green", 0.1)[0] == green[0]
        assert objects_of(found, "blue", 0.1) == []


def test_two_boxes_of_one_object_count_once() -> None:
    """Of two boxes of 10 x 10, shifted by 5, the IoU is 50 / 150 = 0.33; shifted by 6, 40 / 160 = 0.25."""
    for shift, expected in ((5, [0.9, 0.5]), (6, [0.9, 0.8, 0.5])):
        boxes = [
            ((0, 0, 10, 10), 0.9),
            ((shift, 0, shift + 10, 10), 0.8),
            ((40, 0, 50, 10), 0.5),
            ((0, 40, 9, 50), 0.2),
        ]
        found = found_on_an_image(*(detected("red", box, score) for box, score in boxes))
        kept = objects_of(found, "red", 0.3)
        assert [box.score for box in kept] == expected
        assert [box.index for box in kept] == list(range(len(expected)))


def test_where_both_agree_their_mean_counts(tmp_path: Path) -> None:
    """Of boxes 10 and 8 wide, one in the other, the IoU is 0.8; 10 and 6 wide, 0.6."""
    found = detected("red", (0, 0, 10, 10), 0.9)
    far, near, nearer = (detected("red", (0, 0, width, 10), 0.5) for width in (6, 8, 9))
    assert averaged(found, []) == found
    assert averaged(found, [far]) == found
    mean = averaged(found, [far, near])
    assert (mean.box_xyxy, mean.area_fraction) == ((0, 0, 9, 10), 90 / (96 * 96))
    assert averaged(found, [near, nearer]).box_xyxy == (0, 0, 9.5, 10)

    dataset, _ = as_dataset(tmp_path, write_images(tmp_path, 1))
    image = replace(dataset.images[0], labels=("red",))
    before = {(image.image_id, "red"): [detection(image, "red", (2.0, 0.0, 10.0, 10.0), 1.0, (96, 96), method="cam")]}
    (done,) = relocalize(Told(0.8, 0.1), [image], before, CLASSES, CPU, min_score=0.3)
    boxes = [(record.box_xyxy, record.score_by("probability")) for record in done.result.items[0].localizations]
    assert boxes == [((1, 0, 10, 10), pytest.approx(0.8)), ((50, 0, 60, 10), pytest.approx(0.4))]
    assert done.found == 2


def test_an_unreadable_image_keeps_its_boxes(tmp_path: Path) -> None:
    dataset, _ = as_dataset(tmp_path, write_images(tmp_path, 1))
    (image,) = dataset.images
    image.path.write_bytes(b"")
    before = {(image.image_id, "red"): [old(image, "red")]}
    (done,) = relocalize(Told(0.9, 0.9), dataset.images, before, CLASSES, CPU, min_score=0.05)
    kept, failed = done.result.items
    assert kept.localizations == (old(image, "red"),)
    assert failed.failure is not None
    assert failed.failure.stage == "read"


def test_found_boxes_alone_are_refined(tmp_path: Path) -> None:
    dataset, _ = as_dataset(tmp_path, write_images(tmp_path, 1))
    (image,) = dataset.images
    before = {(image.image_id, name): [old(image, name)] for name in image.labels}
    (done,) = relocalize(
        Told(0.9, 0.01),
        dataset.images,
        before,
        CLASSES,
        CPU,
        min_score=0.05,
        refine=lambda _image, box, _mask: box + 1,
    )
    red, green = (item.localizations[0] for item in done.result.items)
    assert (red.method, red.box_xyxy) == ("detector+refined", (1, 1, 11, 11))
    assert green == old(image, "green")


def test_boxes_as_given(tmp_path: Path) -> None:
    dataset, _ = as_dataset(tmp_path, write_images(tmp_path, 1))
    (image,) = dataset.images
    (result,) = given(dataset.images, {(image.image_id, "red"): [old(image, "red")]}, {})
    assert result.items[0].localizations == (old(image, "red"),)
    assert result.items[1].failure is not None
    assert result.items[1].failure.stage == "detect"
    (result,) = given(dataset.images, {}, {image.image_id: "it is gone"})
    assert [(item.failure.stage, item.failure.reason) for item in result.items if item.failure] == [
        ("read", "it is gone")
    ] * 2


@pytest.mark.parametrize("folds", [2, 3])
def test_no_fold_learns_from_its_own_images(tmp_path: Path, folds: int) -> None:
    labels = from_truth(*as_dataset(tmp_path, write_images(tmp_path, 12)), CLASSES)
    own = Counter(fold_of(boxed.image.image_id, folds, 0) for boxed in labels.images)
    assert set(own) == set(range(folds))
    for fold in range(folds):
        part = training_part(labels, fold, folds, 0)
        assert len(part.images) == 12 - own[fold]
        assert all(fold_of(boxed.image.image_id, folds, 0) != fold for boxed in part.images)
    assert training_part(labels, 0, 1, 0) is labels
    assert len({of_fold(QUICK, index, fold).seed for index in (1, 2) for fold in range(folds)}) == 2 * folds
