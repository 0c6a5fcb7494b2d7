"""A real run to report on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsloc.cli.main import run_verb

IMAGES = 12
CLASSES = ("cat", "dog")
NETWORK = """import torch
from torch import nn


def make():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2),
    )
"""
ANNOTATION = """<annotation><size><width>{size_wh[0]}</width><height>{size_wh[1]}</height></size><object>
<name>{name}</name><bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox>
</object></annotation>"""


def write_voc(folder: Path) -> None:
    """Twelve small images of VOC's layout, a bright object on each; the second is no image."""
    voc = folder / "VOCdevkit" / "VOC2012"
    for name in ("ImageSets/Main", "Annotations", "JPEGImages"):
        (voc / name).mkdir(parents=True)
    generator = np.random.default_rng(0)
    for number in range(IMAGES):
        width, height = generator.integers(60, 120, size=2).tolist()
        x0, y0 = generator.integers(1, 20, size=2).tolist()
        box = (x0, y0, x0 + width // 2, y0 + height // 2)
        pixels = generator.integers(0, 120, (height, width, 3), dtype=np.uint8)
        pixels[box[1] - 1 : box[3], box[0] - 1 : box[2]] += 130
        Image.fromarray(pixels).save(voc / "JPEGImages" / f"{number:02d}.jpg")
        text = ANNOTATION.format(size_wh=(width, height), name=CLASSES[number % 2], box=box)
        (voc / "Annotations" / f"{number:02d}.xml").write_text(text)
    (voc / "JPEGImages" / "01.jpg").write_bytes(b"no image")
    ids = [f"{number:02d}" for number in range(IMAGES)]
    (voc / "ImageSets" / "Main" / "val.txt").write_text("\n".join(ids) + "\n")
    for place, name in enumerate(CLASSES):
        lines = (f"{image_id} {1 if number % 2 == place else -1}\n" for number, image_id in enumerate(ids))
        (voc / "ImageSets" / "Main" / f"{name}_val.txt").write_text("".join(lines))


@pytest.fixture(scope="session")
def voc_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run over twelve images, one of which cannot be read, and its report."""
    folder = tmp_path_factory.mktemp("report")
    write_voc(folder)
    (folder / "report_net.py").write_text(NETWORK)
    (folder / "names.txt").write_text("\n".join(CLASSES) + "\n")
    sys.path.insert(0, str(folder))
    network = ["--arch", "report_net:make", "--classes-file", str(folder / "names.txt"), "--input-size", "32"]
    data = ["--dataset", "voc", "--root", str(folder), "--split", "val"]
    try:
        run = folder / "run"
        assert run_verb("localize", [*data, *network, "--device", "cpu", "--out", str(run), "--report"]) == 1
        yield run
    finally:
        sys.path.remove(str(folder))
