"""Fixtures for all tests."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

# No example has a time limit: a busy machine is not a fault.
settings.register_profile("wsloc", settings.default, deadline=None)
settings.load_profile("wsloc")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real photographs and weights; without it the test is skipped, in CI it fails."""
    value = os.environ.get("WSLOC_TEST_DATA")
    if not value:
        if os.environ.get("CI"):
            pytest.fail("WSLOC_TEST_DATA is not set, but CI must run on real photographs and weights")
        pytest.skip("WSLOC_TEST_DATA does not name a folder with VOCdevkit and weights")
    return Path(value).resolve()


TINY_MODULE = '''
from pathlib import Path

import torch
from torch import nn


class Counted(nn.Module):
    """Counts its forward passes in a file that survives the process."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 3),
        )

    def forward(self, images):
        with Path("forward-passes.txt").open("a") as file:
            file.write("x")
        return self.body(images)


def make():
    return Counted()
'''


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with ``photos/`` (40 images), ``labels.csv``, ``classes.txt`` and ``tinynet.py``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    generator = np.random.default_rng(0)
    photos = tmp_path / "photos"
    photos.mkdir()
    rows = ["image,label"]
    for number in range(40):
        height, width = generator.integers(40, 90, size=2)
        pixels = generator.normal(90, 20, (height, width, 3))
        y, x = generator.integers(0, height // 2), generator.integers(0, width // 2)
        pixels[y : y + height // 3, x : x + width // 3] += generator.uniform(40, 120, 3)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(photos / f"{number:02d}.png")
        labels = ["red", "green", "blue"][: 1 + number % 3]
        rows.append(f"{number:02d}.png,{';'.join(labels)}")
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "classes.txt").write_text("red\ngreen\nblue\n")
    (tmp_path / "tinynet.py").write_text(TINY_MODULE)
    return tmp_path


TINY_FLAGS = (
    "--dataset folder --root photos --labels labels.csv --arch tinynet:make --weights tinynet.pth "
    "--classes-file classes.txt --input-size 32 --batch-size 4 --working-size 48"
).split()


@pytest.fixture
def tiny_flags(tiny: Path) -> list[str]:
    """The command line of a run over that folder."""
    import importlib

    import torch

    module = importlib.reload(importlib.import_module("tinynet"))
    torch.save(module.make().state_dict(), tiny / "tinynet.pth")
    return list(TINY_FLAGS)


@pytest.fixture
def interrupted_at() -> Callable[[int], AbstractContextManager[None]]:
    """Within ``interrupted_at(2)``, Ctrl-C comes when part 2 of a run is to be written; those before it are there."""
    from wsloc.runs.run_folder import RunFolder

    own = RunFolder.write_part

    @contextmanager
    def until(part: int) -> Iterator[None]:
        def stopping(self: RunFolder, number: int, results: object) -> None:
            if number == part:
                raise KeyboardInterrupt
            own(self, number, results)  # type: ignore[arg-type]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(RunFolder, "write_part", stopping)
            yield

    return until
