"""A detector's file is read back, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from made_images import CLASSES, TINY
from safetensors.torch import save_file

from wsloc.detection.checkpoint import Detector, load_detector, save_detector
from wsloc.detection.models import build_detector
from wsloc.errors import UserError


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("executed",)


def test_a_detector_comes_back(tmp_path: Path) -> None:
    model = build_detector(TINY, CLASSES, seed=3).eval()
    save_detector(tmp_path / "one.safetensors", Detector(model, TINY, CLASSES))
    save_detector(tmp_path / "two.safetensors", Detector(model, TINY, CLASSES))
    assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "two.safetensors").read_bytes()
    found = load_detector(tmp_path / "one.safetensors")
    assert found.class_names == CLASSES
    assert found.settings.image_size == TINY.image_size
    assert not found.model.training
    image = torch.rand(3, 80, 90)
    with torch.inference_mode():
        (expected,), (got,) = model([image]), found.model([image])
    assert torch.equal(expected["boxes"], got["boxes"])


def test_other_files_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"weight": Evil()}, tmp_path / "evil.safetensors")
    (tmp_path / "empty.safetensors").touch()
    for name in ("evil.safetensors", "empty.safetensors", "nothing.safetensors"):
        with pytest.raises(UserError, match="is not a readable safetensors file"):
            load_detector(tmp_path / name)
    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="holds no detector"):
        load_detector(tmp_path / "other.safetensors")
    model = build_detector(TINY, CLASSES)
    save_detector(tmp_path / "three.safetensors", Detector(model, TINY, ("a", "b", "c")))
    with pytest.raises(UserError, match="weights of another detector"):
        load_detector(tmp_path / "three.safetensors")
    assert "executed" not in capsys.readouterr().out
