"""``wsloc doctor`` as a user types it."""

from __future__ import annotations

import shutil
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torchvision

from wsloc import doctor
from wsloc.cli.main import main


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, and a cache of weights that is not there yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path


def test_a_machine_that_runs_the_main_job(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--arch", "squeezenet1_0"]) == 0
    said = capsys.readouterr().out
    assert f"ok      torch {torch.__version__} and torchvision {torchvision.__version__} are a pair\n" in said
    assert f"absent  VOC: not in {elsewhere}/data/VOCdevkit\n            --download fetches it there" in said
    assert f"absent  weights: squeezenet1_0 is not in {elsewhere}/hub/checkpoints\n" in said
    assert "https://download.pytorch.org/models/squeezenet1_0-" in said
    assert said.endswith("found a box in a picture of a cat\nThe main job can run.\n")
    assert list(elsewhere.iterdir()) == []


def test_what_is_there_is_found(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (elsewhere / "sets" / "VOCdevkit" / "VOC2007").mkdir(parents=True)
    weights = elsewhere / "hub" / "checkpoints" / "squeezenet1_0-b66bff10.pth"
    weights.parent.mkdir(parents=True)
    weights.touch()
    assert main(["doctor", "--arch", "squeezenet1_0", "--root", "sets"]) == 0
    said = capsys.readouterr().out
    assert f"ok      VOC: VOC2007 in {elsewhere}/sets/VOCdevkit\n" in said
    assert f"ok      weights: squeezenet1_0 in {weights}\n" in said


def test_a_torchvision_of_another_torch_is_broken(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> None:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(torchvision.ops, "nms", missing)
    assert main(["doctor", "--arch", "demo"]) == 1
    said = capsys.readouterr().out
    assert "broken  torch and torchvision: RuntimeError (operator torchvision::nms does not exist)\n" in said
    assert "pip install --force-reinstall torch torchvision, both in one command\n" in said
    assert said.endswith("1 to repair.\n")


def test_two_builds_of_opencv_and_a_full_disk(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "4.10.0" if name == "opencv-python-headless" else real(name))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2**29))
    assert main(["doctor", "--arch", "demo"]) == 1
    said = capsys.readouterr().out
    assert "broken  2 builds of OpenCV overwrite each other's files\n" in said
    assert "broken  disk for runs: 512.0 MiB free\n            make room, or give another folder\n" in said
    assert said.endswith("2 to repair.\n")


def test_without_opencv_the_rest_is_said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    assert main(["doctor", "--arch", "demo"]) == 1
    said = capsys.readouterr().out
    assert "broken  OpenCV: ModuleNotFoundError (" in said
    assert "opencv-python-headless\n" in said
    assert "disk for runs" in said


def test_a_graphics_card_and_what_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """8 of 16 GiB are free, and an image takes a tenth of one."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (8 * 2**30, 16 * 2**30))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Card")
    texts = [finding.text for finding in doctor._torch()]
    expected = "CUDA: Card, 8.0 GiB of 16.0 GiB free: batches of about 80 images (resnet50, 224 px)"
    assert texts[1] == expected


def test_an_unknown_network_is_a_users_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--arch", "resnet5O"]) == 2
    assert "did you mean resnet50?" in capsys.readouterr().err
