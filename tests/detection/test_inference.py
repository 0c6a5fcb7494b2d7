"""Detections as the records of a run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from made_images import CLASSES, as_dataset, write_images
from torch import Tensor, nn

from wsloc.detection.inference import detect
from wsloc.judging.detection_metrics import average_precision
from wsloc.records import SCORES, Detection, ImageRecord

CPU = torch.device("cpu")


class Told(nn.Module):
    """A detector that answers what it was told, image by image, in their order."""

    def __init__(self, answers: list[list[tuple[int, float, list[float]]]]) -> None:
        super().__init__()
        self.answers = iter(answers)
        self.batches: list[int] = []

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        self.batches.append(len(images))
        assert all(
            image.dtype == torch.float32 and 0 <= float(image.min()) <= float(image.max()) <= 1 for image in images
        )
        return [
            {
                "labels": torch.tensor([label for label, _, _ in answer], dtype=torch.int64),
                "scores": torch.tensor([score for _, score, _ in answer]),
                "boxes": torch.tensor([box for _, _, box in answer]).reshape(-1, 4),
            }
            for answer in (next(self.answers) for _ in images)
        ]


def records_of(model: nn.Module, images: list[ImageRecord], batch_size: int = 2) -> Iterator[Detection]:
    for result in detect(model, images, CLASSES, CPU, batch_size=batch_size):
        for item in result.items:
            yield from item.localizations


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_a_perfect_detector_has_an_average_precision_of_one(tmp_path: Path, batch_size: int) -> None:
    objects = write_images(tmp_path, 5)
    dataset, truth = as_dataset(tmp_path, objects)
    answers = [[(1 + CLASSES.index(name), 0.9, list(map(float, box))) for name, box in own] for own in objects.values()]
    model = Told(answers)
    found = list(records_of(model, list(dataset.images), batch_size))
    assert sum(model.batches) == 5
    assert max(model.batches) == min(batch_size, 5)
    values = average_precision(truth.images, found, "probability")
    assert {values[name] for name in ("COCO AP", "COCO AP50", "VOC mAP, all points")} == {1.0}
    shifted = Told([[(label, score, [x + 60 for x in box]) for label, score, box in own] for own in answers])
    assert (
        average_precision(truth.images, list(records_of(shifted, list(dataset.images))), "probability")["COCO AP"] < 0.1
    )


def test_records_by_hand(tmp_path: Path) -> None:
    dataset, _ = as_dataset(tmp_path, write_images(tmp_path, 1))
    answer = [
        (2, 0.25, [10.0, 20, 30, 40]),
        (1, 0.5, [-5.0, 0, 48, 200]),  # reaches over the border
        (2, 0.75, [0.0, 0, 96, 48]),
        (1, 0.125, [50.0, 50, 50, 60]),  # without area
        (0, 0.9, [0.0, 0, 9, 9]),  # background
    ]
    found = list(records_of(Told([answer]), list(dataset.images)))
    assert [(r.class_name, r.index, r.rank, *map(r.score_by, SCORES), r.box_xyxy) for r in found] == [
        ("green", 0, 1, 0.75, 0.75, (0, 0, 96, 48)),
        ("green", 1, 1, 0.25, 0.25, (10, 20, 30, 40)),
        ("red", 0, 2, 0.5, 0.5, (0, 0, 48, 96)),
    ]
    assert {(r.method, r.fallback, r.mask_rle, r.size_wh) for r in found} == {("detector", None, None, (96, 96))}
    assert [r.area_fraction for r in found] == pytest.approx([0.5, 400 / 96**2, 0.5])


def test_an_unreadable_image_is_a_failure_and_the_others_keep_their_boxes(tmp_path: Path) -> None:
    objects = write_images(tmp_path, 3)
    dataset, _ = as_dataset(tmp_path, objects)
    (tmp_path / "01.png").write_bytes(b"no image")
    model = Told([[(1, 0.5, [float(n), 0, 20, 20])] for n in (0, 2)])
    results = list(detect(model, dataset.images, CLASSES, CPU, batch_size=3))
    assert [result.image.image_id for result in results] == ["00.png", "01.png", "02.png"]
    failure = results[1].items[0].failure
    assert failure is not None
    assert (failure.stage, failure.file) == ("read", "01.png")
    assert [results[n].items[0].localizations[0].box_xyxy[0] for n in (0, 2)] == [0, 2]
    for file in objects:
        (tmp_path / file).write_bytes(b"no image")
    assert all(result.items[0].failure for result in detect(Told([]), dataset.images, CLASSES, CPU))
