"""Features that are computed once: right, kept, found again, gone on with, and made anew when anything changes."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from wsloc.classifiers.preprocessing import whole
from wsloc.errors import UserError
from wsloc.fitting import features as module
from wsloc.fitting.backbone import open_backbone
from wsloc.fitting.features import FeatureJob, compute_features, open_features, why_unreadable
from wsloc.fitting.settings import FittingSettings
from wsloc.images import read_image
from wsloc.records import ImageRecord


@pytest.fixture
def job(tmp_path: Path) -> FeatureJob:
    """Eleven images in batches of four; one file is no image."""
    generator = np.random.default_rng(0)
    records = []
    for number in range(11):
        path = tmp_path / f"{number}.png"
        Image.fromarray(generator.integers(0, 256, (20 + number, 30, 3), dtype=np.uint8)).save(path)
        records.append(ImageRecord(str(number), path.name, path, ("a",)))
    (tmp_path / "5.png").write_text("no image")
    backbone = open_backbone(FittingSettings(arch="demo", input_size=32))
    return FeatureJob(backbone, records, "mirror", 4, torch.device("cpu"), torch.float32)


def test_features_are_those_of_the_image_and_its_mirror_image(job: FeatureJob, tmp_path: Path) -> None:
    path = job.path(tmp_path / "cache")
    assert list(compute_features(path, job, None)) == [0, 4, 8, 11]
    features = open_features(path, job)
    assert features.shape == (11, 2, 128)
    pixels = whole(read_image(job.images[9].path), job.backbone.preprocessing).views[0].pixels
    with torch.no_grad():
        expected = job.backbone.network(torch.stack([pixels, pixels.flip(-1)])).numpy()
    np.testing.assert_allclose(features[9], expected, atol=1e-5)
    assert np.isnan(features[5]).all()
    assert np.isfinite(np.delete(features, 5, axis=0)).all()
    assert "5.png" in why_unreadable(job.images[5])


def test_the_second_time_nothing_is_computed(job: FeatureJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = job.path(tmp_path)
    list(compute_features(path, job, None))
    before = path.read_bytes()
    monkeypatch.setattr(module, "_features", None)
    assert list(compute_features(path, job, None)) == []
    assert path.read_bytes() == before


@pytest.mark.parametrize("cut", [0, 1, 4096])
def test_a_killed_process_loses_one_batch(
    job: FeatureJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: int
) -> None:
    undisturbed = job.path(tmp_path / "undisturbed")
    list(compute_features(undisturbed, job, None))
    path = job.path(tmp_path / "killed")
    begun = compute_features(path, job, None)
    assert [next(begun), next(begun), next(begun)] == [0, 4, 8]
    begun.close()
    partial = path.with_suffix(".partial")
    os.truncate(partial, partial.stat().st_size - cut)  # as if the last write had not reached the disk
    read = []
    read_image_itself = module.read_image
    monkeypatch.setattr(module, "read_image", lambda file: read.append(file) or read_image_itself(file))
    again = list(compute_features(path, job, None))
    assert again[0] == (8 if cut == 0 else 4)
    assert len(read) == (3 if cut == 0 else 7)
    assert path.read_bytes() == undisturbed.read_bytes()


def test_the_file_changes_with_weights_images_and_transforms(job: FeatureJob, tmp_path: Path) -> None:
    first = job.path(tmp_path)
    assert job.path(tmp_path) == first
    others = [
        replace(job, views="whole"),
        replace(job, images=job.images[:-1]),
        replace(job, precision=torch.bfloat16),
        replace(job, batch_size=5),
        replace(
            job, backbone=replace(job.backbone, preprocessing=replace(job.backbone.preprocessing, mean=(0.4,) * 3))
        ),
    ]
    names = {first.name, *(other.path(tmp_path).name for other in others)}
    with torch.no_grad():
        next(job.backbone.network.parameters()).add_(1e-3)
    names.add(job.path(tmp_path).name)
    Image.new("RGB", (99, 99)).save(job.images[2].path)
    names.add(job.path(tmp_path).name)
    job.images[2].path.unlink()
    names.add(job.path(tmp_path).name)
    assert len(names) == len(others) + 4


def test_two_processes_do_not_write_one_file(job: FeatureJob, tmp_path: Path) -> None:
    path = job.path(tmp_path)
    begun = compute_features(path, job, None)
    next(begun)
    with pytest.raises(UserError, match="are being computed by another process; wait for it"):
        next(compute_features(path, job, None))
    begun.close()


def test_a_full_disk_is_a_users_error(job: FeatureJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(UserError, match=r"cannot be written: No space left on device; make room and go on with"):
        list(compute_features(job.path(tmp_path), job, None))
