"""A data set of a few bright shapes, small enough for a detector to learn by heart in seconds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from wsloc.datasets import Dataset
from wsloc.datasets.dataset import GroundTruthSet
from wsloc.detection.detector_settings import DetectorSettings, TrainingSettings
from wsloc.records import GroundTruth, ImageRecord

CLASSES = ("red", "green")
TINY = DetectorSettings(arch="fasterrcnn_small_cnn", backbone="none", image_size=96)
QUICK = TrainingSettings(epochs=2, batch_size=2, learning_rate=0.01, zoom=0.0, gain=0.0, device="cpu", warmup_steps=2)
SIDE = 96


def write_images(folder: Path, count: int, seed: int = 0) -> dict[str, list[tuple[str, tuple[int, int, int, int]]]]:
    """Write ``NN.png`` with a red and a green rectangle each; their classes and boxes by file name."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    objects = {}
    for number in range(count):
        pixels = rng.normal(90, 12, (SIDE, SIDE, 3))
        own = []
        for half, name in enumerate(CLASSES):
            w, h = (int(side) for side in rng.integers(26, 42, 2))
            x0, y0 = half * SIDE // 2 + int(rng.integers(0, SIDE // 2 - w + 1)), int(rng.integers(0, SIDE - h + 1))
            pixels[y0 : y0 + h, x0 : x0 + w] = (220, 40, 40) if name == "red" else (40, 220, 40)
            own.append((name, (x0, y0, x0 + w, y0 + h)))
        file = f"{number:02d}.png"
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / file)
        objects[file] = own
    return objects


def as_dataset(
    folder: Path, objects: dict[str, list[tuple[str, tuple[int, int, int, int]]]]
) -> tuple[Dataset, GroundTruthSet]:
    """The images as a data set, and their boxes."""
    images, truth = [], {}
    for file, own in objects.items():
        names = tuple(name for name, _ in own)
        images.append(ImageRecord(file, file, folder / file, tuple(dict.fromkeys(names))))
        boxes = np.array([box for _, box in own], dtype=np.float64).reshape(-1, 4)
        truth[file] = GroundTruth(file, boxes, names, np.zeros(len(names), dtype=bool), (SIDE, SIDE))
    return Dataset("made", folder, CLASSES, tuple(images)), GroundTruthSet(truth)


def write_tables(folder: Path, objects: dict[str, list[tuple[str, tuple[int, int, int, int]]]]) -> None:
    """``labels.csv`` and ``boxes.csv`` beside the images, as ``--dataset folder`` takes them."""
    labels, boxes = ["image,label"], ["image,class,x0,y0,x1,y1"]
    for file, own in objects.items():
        labels.append(f"{file},{';'.join(dict.fromkeys(name for name, _ in own))}")
        boxes += [f"{file},{name},{','.join(map(str, box))}" for name, box in own]
    (folder / "labels.csv").write_text("\n".join(labels) + "\n")
    (folder / "boxes.csv").write_text("\n".join(boxes) + "\n")


def write_coco(
    path: Path,
    objects: dict[str, list[tuple[str, tuple[int, int, int, int]]]],
    classes: tuple[str, ...] = CLASSES,
    crowds: dict[str, list[tuple[str, tuple[int, int, int, int]]]] | None = None,
) -> None:
    """An instances file as exporters write it; ids from 1."""
    annotations = []
    for crowd, by_file in ((0, objects), (1, crowds or {})):
        for file, own in by_file.items():
            for name, (x0, y0, x1, y1) in own:
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": list(objects).index(file) + 1,
                        "category_id": classes.index(name) + 1,
                        "bbox": [x0, y0, x1 - x0, y1 - y0],
                        "area": (x1 - x0) * (y1 - y0),
                        "iscrowd": crowd,
                        "segmentation": [],
                        "score": 0.5,
                    }
                )
    images = [
        {"id": number, "file_name": file, "width": SIDE, "height": SIDE} for number, file in enumerate(objects, start=1)
    ]
    categories = [{"id": number, "name": name} for number, name in enumerate(classes, start=1)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
