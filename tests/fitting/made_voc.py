"""A VOC of plain images: an image for each word, labeled with its letters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsloc.config import ComputeSettings, DataSettings
from wsloc.fitting.fit import Progress, fit
from wsloc.fitting.job import Job
from wsloc.fitting.opening import open_job
from wsloc.fitting.report import Outcome
from wsloc.fitting.settings import FittingSettings

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
        ids = [f"{split}{number:02d}" for number in range(len(words))]
        (lists / f"{split}.txt").write_text("".join(f"{image_id}\n" for image_id in ids))
        for letter in letters:
            rows = (f"{image_id} {1 if letter in word else -1}\n" for image_id, word in zip(ids, words, strict=True))
            (lists / f"{letter}_{split}.txt").write_text("".join(rows))
        for image_id, word in zip(ids, words, strict=True):
            pixels = generator.integers(0, 60, (SIDE, SIDE, 3))
            for letter in word:
                place = letters.index(letter)
                pixels[8 * place : 8 * place + 8, :, place % 3] += 150
            Image.fromarray(pixels.astype(np.uint8)).save(folder / "JPEGImages" / f"{image_id}.jpg")


def image_of(root: Path, image_id: str) -> Path:
    return root / "VOCdevkit" / "VOC2012" / "JPEGImages" / f"{image_id}.jpg"


def job_of(
    root: Path,
    test_split: str | None = None,
    *,
    classes: tuple[str, ...] = (),
    limit: int | None = None,
    compute: ComputeSettings = ComputeSettings(device="cpu", batch_size=8),  # noqa: B008 (frozen)
    **settings: object,
) -> Job:
    """A training on ``train`` with the demo's network, or with that of the settings."""
    fitting = FittingSettings(**{"arch": "demo", "input_size": SIDE, "epochs": 3, **settings})  # type: ignore[arg-type]
    data = DataSettings(dataset="voc", root=root, classes=classes, limit=limit)
    return open_job(data, test_split, fitting, compute)


def outcome_of(job: Job, root: Path, *, resumed: bool = False) -> tuple[Outcome, list[Progress]]:
    """What the training in the folder ``net`` comes to, and what it said on the way."""
    (root / "net").mkdir(exist_ok=True)
    told: list[Progress] = []
    return fit(job, root / "net", resumed, None, told.append), told


def interrupt_scoring(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C after the last epoch."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("wsloc.fitting.fit.take_best", interrupted)
