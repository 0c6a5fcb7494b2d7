"""Two small splits for detectors, their tables and an export, and what a run leaves."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from wsloc.detection.augmentation import Example
from wsloc.detection.learner import DetectorLearner
from wsloc.training import loop

QUICK = (
    "--arch fasterrcnn_small_cnn --backbone none --image-size 64 --batch-size 4 --learning-rate 0.02 --zoom 0 "
    "--device cpu"
).split()
TEST = "--test-dataset folder --test-root test --test-labels test/labels.csv --test-boxes test/boxes.csv".split()
TRUTH = "--boxes-from truth --dataset folder --root train --labels train/labels.csv --boxes train/boxes.csv".split()


def write_split(folder: Path, count: int, seed: int) -> None:
    """Images with a red rectangle at the left and, on every other one, a green one at the right; their tables."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    labels, boxes, annotations, images = ["image,label"], ["image,class,x0,y0,x1,y1"], [], []
    for index in range(count):
        pixels = rng.normal(90, 12, (64, 80, 3))
        names = ["red", "green"][: 1 + index % 2]
        file = f"{folder.name}-{index:02d}.png"
        for k, name in enumerate(names):
            x0, y0 = 40 * k + int(rng.integers(0, 12)), int(rng.integers(0, 30))
            pixels[y0 : y0 + 30, x0 : x0 + 26] = (220, 40, 40) if name == "red" else (40, 220, 40)
            boxes.append(f"{file},{name},{x0},{y0},{x0 + 26},{y0 + 30}")
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": index + 1,
                    "category_id": 2 - k,
                    "bbox": [x0, y0, 26, 30],
                    "area": 780,
                    "iscrowd": 0,
                }
            )
        images.append({"id": index + 1, "file_name": file, "width": 80, "height": 64})
        labels.append(f"{file},{';'.join(names)}")
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / file)
    (folder / "labels.csv").write_text("\n".join(labels) + "\n")
    (folder / "boxes.csv").write_text("\n".join(boxes) + "\n")
    # As the classes of a folder's CSV are numbered: by name.
    categories = [{"id": 1, "name": "green"}, {"id": 2, "name": "red"}]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "instances_train.json").write_text(json.dumps(document))


def entered(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in a folder with ``train`` (8 images, an export in it) and ``test`` (4 images), on one thread."""
    monkeypatch.chdir(folder)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    write_split(folder / "train", 8, 0)
    write_split(folder / "test", 4, 1)
    yield folder
    torch.set_num_threads(threads)


def rows_of(table: str) -> list[dict[str, str]]:
    return list(csv.DictReader(Path(table).read_text().splitlines()))


def files_of(run: str) -> dict[str, bytes]:
    """All files but those of one process: manifest, lock and log."""
    return {
        path.relative_to(run).as_posix(): path.read_bytes()
        for path in sorted(Path(run).rglob("*"))
        if path.is_file() and path.name not in ("manifest.json", ".lock", "config.yaml", "log.txt")
    }


def interrupting(*_: object, **__: object) -> dict[str, float]:
    """Stands in for a function in the middle of which the user presses Ctrl-C."""
    raise KeyboardInterrupt


def interrupt_at_step(monkeypatch: pytest.MonkeyPatch, last: int) -> None:
    """Ctrl-C in a detector's training, in the step of that number; each epoch before it leaves its state."""
    own, steps = DetectorLearner.losses, itertools.count(1)

    def losses(learner: DetectorLearner, batch: list[Example]) -> dict[str, Tensor]:
        if next(steps) == last:
            raise KeyboardInterrupt
        return own(learner, batch)

    monkeypatch.setattr(loop, "SECONDS_BETWEEN_STATES", 0)
    monkeypatch.setattr(DetectorLearner, "losses", losses)
