"""Backbones: weights from a file without its head, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision

from wsloc.classifiers.architectures import build_architecture
from wsloc.classifiers.pooled_head import check_pooling, head_name, remove_head
from wsloc.errors import UserError
from wsloc.fitting.backbone import open_backbone
from wsloc.fitting.fitting_settings import FittingSettings


@pytest.mark.parametrize("outputs", [1000, 7])
def test_the_head_of_the_file_does_not_count(tmp_path: Path, outputs: int) -> None:
    torch.manual_seed(0)
    network = torchvision.models.squeezenet1_1(num_classes=outputs).eval()
    torch.save({f"module.{key}": value for key, value in network.state_dict().items()}, tmp_path / "net.pth")
    backbone = open_backbone(FittingSettings(arch="squeezenet1_1", weights=tmp_path / "net.pth", input_size=64))
    assert (backbone.head, backbone.channels, backbone.has_weights) == ("classifier", 512, True)
    images = torch.randn((2, 3, 64, 64))
    with torch.no_grad():
        expected = network.features(images).mean(dim=(2, 3))
        assert torch.allclose(backbone.network(images), expected, atol=1e-5)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save(torchvision.models.squeezenet1_0().state_dict(), tmp_path / "net.pth")
    with pytest.raises(UserError, match=r"The weights .*net\.pth do not belong to squeezenet1_1"):
        open_backbone(FittingSettings(arch="squeezenet1_1", weights=tmp_path / "net.pth"))


@pytest.mark.parametrize("arch", ["mobilenet_v2", "squeezenet1_1", "small_cnn"])
def test_an_input_of_a_single_cell_is_not_laid_to_the_network(arch: str) -> None:
    """At these sides the last layer has one cell."""
    side = {"mobilenet_v2": 32, "squeezenet1_1": 17, "small_cnn": 16}[arch]
    network = build_architecture(arch, pretrained=False, num_outputs=2).network.eval()
    remove_head(network, head_name(network, arch))
    sentence = rf"have a single cell for the image of {side} x {side} pixels.*`input_size={7 * side}`"
    with pytest.raises(UserError, match=sentence):
        check_pooling(network, (3, side, side), arch)
    assert check_pooling(network, (3, 4 * side, 4 * side), arch) > 1


def test_weights_that_hold_nan_are_not_laid_to_the_head(tmp_path: Path) -> None:
    network = torchvision.models.squeezenet1_1()
    torch.nn.init.constant_(network.features[0].bias, float("nan"))
    torch.save(network.state_dict(), tmp_path / "net.pth")
    with pytest.raises(UserError, match=r"hold NaN or infinity in features\.0\.bias \(64 of 64 values\)"):
        open_backbone(FittingSettings(arch="squeezenet1_1", weights=tmp_path / "net.pth", input_size=64))


def test_a_network_without_weights_cannot_stay_as_it_is() -> None:
    with pytest.raises(UserError, match="small_cnn has no trained weights to keep; add `fine_tune=True`"):
        open_backbone(FittingSettings(arch="small_cnn"))
    assert not open_backbone(FittingSettings(arch="small_cnn", fine_tune=True)).has_weights


def test_the_demo_is_stored_under_the_name_of_its_network() -> None:
    backbone = open_backbone(FittingSettings(arch="demo"))
    assert (backbone.arch, backbone.channels, backbone.has_weights) == ("small_cnn", 128, True)
    assert backbone.preprocessing.input_size_hw == (112, 112)
