"""A VOC of plain images: an image for each word, labeled with its letters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from wsloc.config import ComputeSettings, DataSettings
from wsloc.fitting.fit import fit
from wsloc.fitting.fitting_settings import FittingSettings
from wsloc.fitting.open_task import open_task
from wsloc.fitting.report import Outcome
from wsloc.fitting.task import ClassifierTask
from wsloc.progress import Progress, silent

SIDE = 32


def make_voc(root: Path, **splits: Sequence[str]) -> None:
    """Splits of images of noise; each letter is a strip of its own shade."""
    folder = root / "VOCdevkit" / "VOC2012"
    lists = folder / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (folder / "JPEGImages").mkdir()
    generator = np.random.default_rng(0)
    letters = sorted({letter for words in splits.values() for word in words for letter in word})
    for split, words in splits.items():
        ids = [f"{split}{index:02d}" for index in range(len(words))]
        (lists / f"{split}.txt").write_text("".join(f"{image_id}\n" for image_id in ids))
        for letter in letters:
            rows = (f"{image_id} {1 if letter in word else -1}\n" for image_id, word in zip(ids, words, strict=True))
            (lists / f"{letter}_{split}.txt").write_text("".join(rows))
        for image_id, word in zip(ids, words, strict=True):
            pixels = generator.integers(0, 60, (SIDE, SIDE, 3))
            for letter in word:
                index = letters.index(letter)
                pixels[8 * index : 8 * index + 8, :, index % 3] += 150
            Image.fromarray(pixels.astype(np.uint8)).save(folder / "JPEGImages" / f"{image_id}.jpg")


def image_of(root: Path, image_id: str) -> Path:
    return root / "VOCdevkit" / "VOC2012" / "JPEGImages" / f"{image_id}.jpg"


def task_of(
    root: Path,
    test_split: str | None = None,
    *,
    classes: tuple[str, ...] = (),
    limit: int | None = None,
    compute: ComputeSettings = ComputeSettings(device="cpu", batch_size=8),  # noqa: B008 (frozen)
    **settings: object,
) -> ClassifierTask:
    """A training on ``train`` with the demo's network, or with that of the settings."""
    fitting = FittingSettings(**{"arch": "demo", "input_size": SIDE, "epochs": 3, **settings})  # type: ignore[arg-type]
    data = DataSettings(dataset="voc", root=root, classes=classes, limit=limit)
    return open_task(data, test_split, fitting, compute)


def outcome_of(task: ClassifierTask, root: Path, progress: Progress = silent) -> Outcome:
    """What the training in the folder ``net`` comes to, which may have been begun before."""
    (root / "net").mkdir(exist_ok=True)
    return fit(task, root / "net", None, progress)
