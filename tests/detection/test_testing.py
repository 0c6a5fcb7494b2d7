"""Which images a detector may be tested on, and what its detections are worth."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest
import torch
from made_images import CLASSES, TINY, as_dataset, write_images, write_tables
from torch import Tensor, nn

from wsloc.config import DataSettings
from wsloc.detection.checkpoint import Detector
from wsloc.detection.data import BoxedImages, from_truth
from wsloc.detection.testing import count_shared, judge_detector, open_test
from wsloc.errors import UserError
from wsloc.runs.run_folder import RunFolder

T = TypeVar("T")


def settings_of(folder: Path) -> DataSettings:
    return DataSettings(dataset="folder", root=folder, labels=folder / "labels.csv", boxes=folder / "boxes.csv")


def trained_on(folder: Path) -> BoxedImages:
    return from_truth(*as_dataset(folder, write_images(folder, 2, seed=7)), CLASSES)


def test_another_image_of_the_same_name_and_size_is_another_image(tmp_path: Path) -> None:
    paths = [tmp_path / folder / "1.bmp" for folder in ("trained", "copied", "tested")]
    for path, pixels in zip(paths, ([1, 2, 3], [1, 2, 3], [1, 2, 4]), strict=True):
        path.parent.mkdir()
        path.write_bytes(bytes(pixels))
    trained, copied, tested = paths
    assert count_shared([trained], [copied]) == 1
    assert count_shared([trained], [tested]) == 0


def test_a_test_is_told_no_labels(tmp_path: Path) -> None:
    write_tables(tmp_path / "test", write_images(tmp_path / "test", 3))
    dataset, settings = open_test(settings_of(tmp_path / "test"), trained_on(tmp_path / "train"))
    assert [image.file for image in dataset.images] == ["00.png", "01.png", "02.png"]
    assert settings.targets == "top2"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"classes": ("red", "pink")}, "`test_classes`: the test set has no class 'pink'"),
        ({"classes": ("red",)}, "the test set has no green"),
        ({"boxes": None}, "has no true boxes to test against"),
        ({}, "2 of the 2 test images are also trained on"),
    ],
)
def test_images_that_are_refused(tmp_path: Path, change: dict[str, object], sentence: str) -> None:
    write_tables(tmp_path, write_images(tmp_path, 2, seed=7))
    given = replace(settings_of(tmp_path), **change)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=sentence):
        open_test(given, trained_on(tmp_path))


class Right(nn.Module):
    """Answers image by image what is true."""

    def __init__(self, boxes: list[list[tuple[int, int, int, int]]]) -> None:
        super().__init__()
        self.boxes = iter(boxes)

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        answers = (torch.tensor(next(self.boxes), dtype=torch.float32) for _ in images)
        return [{"boxes": own, "labels": torch.tensor([1, 2]), "scores": torch.tensor([0.9, 0.8])} for own in answers]


def test_a_detector_that_is_right(tmp_path: Path) -> None:
    objects = write_images(tmp_path / "test", 3)
    write_tables(tmp_path / "test", objects)
    dataset, settings = open_test(settings_of(tmp_path / "test"), trained_on(tmp_path / "train"))
    detector = Detector(Right([[box for _, box in own] for own in objects.values()]), TINY, CLASSES)
    said: list[tuple[str, str, int]] = []

    def progress(items: Iterable[T], what: str, unit: str, total: int | None = None) -> list[T]:
        own = list(items)
        assert total in (None, len(own))
        said.append((what, unit, len(own)))
        return own

    (tmp_path / "run").mkdir()
    with RunFolder(tmp_path / "run") as folder:
        folder.write_manifest({"schema_version": 2, "complete": False})
        tested = judge_detector(
            folder, dataset, settings, detector, torch.device("cpu"), batch_size=2, progress=progress
        )
    assert said[0] == ("test", "image", 3)
    assert tested.counts["boxes"] == 6
    assert tested.average_precision is not None
    assert tested.average_precision["COCO AP"] == pytest.approx(1)
    assert "CorLoc" in tested.text
