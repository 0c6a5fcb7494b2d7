"""Every detector is built, takes a step, and begins with the weights that it is told."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import wsloc.classifiers
from wsloc.classifiers.small_cnn import SmallCNN
from wsloc.detection.detector_settings import DetectorSettings
from wsloc.detection.models import Architecture, build_detector
from wsloc.errors import UserError
from wsloc.registries import DETECTORS


def a_step(model: nn.Module) -> dict[str, Tensor]:
    """One forward and backward pass on two images, one of them without an object."""
    model.train()
    images = [torch.rand(3, 96, 128), torch.rand(3, 128, 96)]
    empty = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64), "ignored": torch.zeros(0, 4)}
    own = {
        "boxes": torch.tensor([[10.0, 20, 70, 80]]),
        "labels": torch.tensor([2]),
        "ignored": torch.tensor([[80.0, 0, 128, 96]]),
    }
    losses: dict[str, Tensor] = model(images, [own, empty])
    torch.autograd.backward(torch.stack(list(losses.values())).sum())
    return losses


def test_every_name_has_a_detector() -> None:
    assert all(isinstance(DETECTORS[name], Architecture) for name in DETECTORS)
    with pytest.raises(UserError, match=r"^There is no detector 'fasterrcnn' .*choose fasterrcnn_mobilenet_v3_large"):
        DetectorSettings(arch="fasterrcnn")


@pytest.mark.parametrize(
    "arch",
    [
        pytest.param(arch, marks=pytest.mark.slow) if arch == "fasterrcnn_resnet50_fpn_v2" else arch
        for arch in DETECTORS
    ],
)
def test_a_step_and_a_look(arch: str) -> None:
    size = None if arch.startswith("ssdlite") else 96
    model = build_detector(DetectorSettings(arch=arch, backbone="none", image_size=size), ("cat", "dog"))
    losses = a_step(model)
    assert all(bool(torch.isfinite(value)) for value in losses.values())
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())
    with torch.inference_mode():
        (found,) = model.eval()([torch.rand(3, 100, 140)])
    assert found["boxes"].shape == (len(found["scores"]), 4)
    # RetinaNet alone has an output for the background.
    assert set(found["labels"].tolist()) <= ({0, 1, 2} if arch.startswith("retinanet") else {1, 2})


def test_the_seed_decides_the_first_weights() -> None:
    settings = DetectorSettings(arch="fasterrcnn_small_cnn", backbone="none")
    before = torch.random.get_rng_state()
    first, same, other = (build_detector(settings, ("cat",), seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(value, same[name]) for name, value in first.items())
    assert any(not torch.equal(value, other[name]) for name, value in first.items())


def test_the_demo_classifier_is_the_default_of_the_small_one() -> None:
    model = build_detector(DetectorSettings(arch="fasterrcnn_small_cnn"), ("cat",))
    state = load_file(Path(wsloc.classifiers.__path__[0]) / "weights" / "demo.safetensors")
    body = model.backbone.body.state_dict()  # type: ignore[union-attr]
    assert all(torch.equal(value, state[f"features.{name}"]) for name, value in body.items())


@pytest.mark.parametrize(
    ("arch", "backbone", "part"),
    [
        ("fasterrcnn_mobilenet_v3_large_320_fpn", "mobilenet_v3_large", "features.1.block.0.0.weight"),
        ("ssdlite320_mobilenet_v3_large", "mobilenet_v3_large", "features.1.block.0.0.weight"),
        ("fasterrcnn_mobilenet_v2_fpn", "mobilenet_v2", "features.1.conv.0.0.weight"),
        ("fasterrcnn_mobilenet_v2_320_fpn", "mobilenet_v2", "features.1.conv.0.0.weight"),
        ("fasterrcnn_densenet121_fpn", "densenet121", "features.conv0.weight"),
    ],
)
def test_weights_from_a_file_of_a_classifier_with_other_classes(
    tmp_path: Path, arch: str, backbone: str, part: str
) -> None:
    classifier = torchvision.models.get_model(backbone, weights=None, num_classes=7)
    save_file(classifier.state_dict(), tmp_path / "own.safetensors")
    torch.save(classifier.state_dict(), tmp_path / "own.pth")
    weight = classifier.state_dict()[part]
    for name in ("own.safetensors", "own.pth"):
        model = build_detector(DetectorSettings(arch=arch, backbone=str(tmp_path / name)), ("cat",))
        same = [value for value in model.parameters() if value.shape == weight.shape and torch.equal(value, weight)]
        assert len(same) == 1
        frozen = DETECTORS[arch].frozen
        assert same[0].requires_grad == (not frozen)
        assert any(isinstance(module, nn.BatchNorm2d) for module in model.modules()) == (not frozen)


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("executed",)


def test_bad_weights_are_sentences(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refusal(path: str) -> str:
        with pytest.raises(UserError) as caught:
            build_detector(DetectorSettings(arch="fasterrcnn_small_cnn", backbone=path), ("cat",))
        return str(caught.value)

    assert "nothing.pth do not exist" in refusal(str(tmp_path / "nothing.pth"))
    torch.save({"features.0.weight": Evil()}, tmp_path / "evil.pth")
    assert "cannot be read" in refusal(str(tmp_path / "evil.pth"))
    assert "executed" not in capsys.readouterr().out
    save_file({"some.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    assert "do not belong" in refusal(str(tmp_path / "other.safetensors"))
    wide = SmallCNN(3).state_dict()
    wide["features.0.weight"] = torch.zeros(99, 3, 3, 3)
    save_file(wide, tmp_path / "wide.safetensors")
    assert "another shape" in refusal(str(tmp_path / "wide.safetensors"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arch", "file"),
    [
        ("fasterrcnn_densenet121_fpn", "densenet121.pth"),
        ("fasterrcnn_mobilenet_v2_fpn", "mobilenet_v2.pth"),
        ("fasterrcnn_mobilenet_v2_320_fpn", "mobilenet_v2.pth"),
    ],
)
def test_real_weights(shared: Path, arch: str, file: str) -> None:
    """Frozen statistics and first layers; features of a photograph are those of the classifier."""
    path = shared / "weights" / file
    model = build_detector(DetectorSettings(arch=arch, backbone=str(path), image_size=128), ("cat",)).eval()
    classifier = torchvision.models.get_model(path.stem, weights=None)
    classifier.load_state_dict(torch.load(path, weights_only=True))
    pixels = torch.rand(1, 3, 96, 96)
    with torch.inference_mode():
        expected = classifier.eval().features(pixels)
        found = list(model.backbone.body(pixels).values())[-1]  # type: ignore[union-attr, operator]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    trained = {name for name, value in model.backbone.named_parameters() if value.requires_grad}  # type: ignore[union-attr]
    frozen = DETECTORS[arch].frozen
    assert trained
    assert not any(name.removeprefix("body.").startswith(frozen) for name in trained if name.startswith("body."))
