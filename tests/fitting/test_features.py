"""Features that are computed once: right, kept, found again, resumed, and made anew when anything changes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
import torch
from PIL import Image

from wsloc.classifiers.preprocessing import whole
from wsloc.errors import UserError
from wsloc.fitting import features as module
from wsloc.fitting.backbone import open_backbone
from wsloc.fitting.features import FeatureTask, compute_features, open_features, why_unreadable
from wsloc.fitting.fitting_settings import FittingSettings
from wsloc.images import read_image
from wsloc.records import ImageRecord

T = TypeVar("T")


@pytest.fixture
def task(tmp_path: Path) -> FeatureTask:
    """Eleven images in batches of four; one file is no image."""
    generator = np.random.default_rng(0)
    records = []
    for index in range(11):
        path = tmp_path / f"{index}.png"
        Image.fromarray(generator.integers(0, 256, (20 + index, 30, 3), dtype=np.uint8)).save(path)
        records.append(ImageRecord(str(index), path.name, path, ("a",)))
    (tmp_path / "5.png").write_text("no image")
    backbone = open_backbone(FittingSettings(arch="demo", input_size=32))
    return FeatureTask(backbone, records, "mirror", 4, torch.device("cpu"), torch.float32)


class Interrupting:
    """Counts items, and stops the work before item ``stop``, as Ctrl-C would."""

    def __init__(self, stop: int | None = None) -> None:
        self.stop, self.told = stop, []

    def __call__(self, items: Iterable[T], what: str, unit: str, total: int | None = None) -> Iterator[T]:
        self.told.append((what, unit, total))
        for index, item in enumerate(items):
            if index == self.stop:
                raise KeyboardInterrupt
            yield item


def test_features_are_those_of_the_image_and_its_mirror_image(task: FeatureTask, tmp_path: Path) -> None:
    path = task.path(tmp_path / "cache")
    counting = Interrupting()
    compute_features(path, task, None, counting)
    assert counting.told == [("features", "image", 11)]
    features = open_features(path, task)
    assert features.shape == (11, 2, 128)
    pixels = whole(read_image(task.images[9].path), task.backbone.preprocessing).views[0].pixels
    with torch.no_grad():
        expected = task.backbone.network(torch.stack([pixels, pixels.flip(-1)])).numpy()
    np.testing.assert_allclose(features[9], expected, atol=1e-5)
    assert np.isnan(features[5]).all()
    assert np.isfinite(np.delete(features, 5, axis=0)).all()
    assert "5.png" in why_unreadable(task.images[5])


def test_the_second_time_nothing_is_computed(task: FeatureTask, tmp_path: Path) -> None:
    path = task.path(tmp_path)
    compute_features(path, task, None)
    before = path.read_bytes()
    again = Interrupting()
    compute_features(path, task, None, again)
    assert again.told == []
    assert path.read_bytes() == before


@pytest.mark.parametrize("cut", [0, 1, 4096])
def test_a_killed_process_loses_one_batch(task: FeatureTask, tmp_path: Path, cut: int) -> None:
    undisturbed = task.path(tmp_path / "undisturbed")
    compute_features(undisturbed, task, None)
    path = task.path(tmp_path / "killed")
    with pytest.raises(KeyboardInterrupt):
        compute_features(path, task, None, Interrupting(9))
    partial = path.with_suffix(".partial")
    os.truncate(partial, partial.stat().st_size - cut)  # as if the last write had not reached the disk
    again = Interrupting()
    compute_features(path, task, None, again)
    assert again.told == [("features", "image", 3 if cut == 0 else 7)]
    assert path.read_bytes() == undisturbed.read_bytes()


def test_the_file_changes_with_weights_images_and_transforms(task: FeatureTask, tmp_path: Path) -> None:
    first = task.path(tmp_path)
    assert task.path(tmp_path) == first
    others = [
        replace(task, views="whole"),
        replace(task, images=task.images[:-1]),
        replace(task, precision=torch.bfloat16),
        replace(task, batch_size=5),
        replace(
            task, backbone=replace(task.backbone, preprocessing=replace(task.backbone.preprocessing, mean=(0.4,) * 3))
        ),
    ]
    names = {first.name, *(other.path(tmp_path).name for other in others)}
    with torch.no_grad():
        next(task.backbone.network.parameters()).add_(1e-3)
    names.add(task.path(tmp_path).name)
    Image.new("RGB", (99, 99)).save(task.images[2].path)
    names.add(task.path(tmp_path).name)
    task.images[2].path.unlink()
    names.add(task.path(tmp_path).name)
    assert len(names) == len(others) + 4


def test_two_processes_do_not_write_one_file(task: FeatureTask, tmp_path: Path) -> None:
    path = task.path(tmp_path)

    def beside(items: Iterable[T], *_: object) -> Iterable[T]:
        with pytest.raises(UserError, match="are being computed by another process; wait for it"):
            compute_features(path, task, None)
        return items

    compute_features(path, task, None, beside)
    assert path.exists()


def test_a_full_disk_is_a_users_error(task: FeatureTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(UserError, match=r"cannot be written: No space left on device; make room and resume with"):
        compute_features(task.path(tmp_path), task, None)
