"""What a detector begins with: the layers of a classifier, the first of them fixed."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import torchvision
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from wsloc.classifiers.load_weights import load_weights
from wsloc.classifiers.small_cnn import SmallCNN
from wsloc.detection.detector_settings import DetectorSettings
from wsloc.errors import UserError, one_line

DEMO = "demo"
"""The demo's classifier, which torchvision does not have."""
_HEADS = ("classifier", "fc", "head")
"""What classifiers call their last layers, which a detector has no use for."""


def pretrained(settings: DetectorSettings, name: str) -> nn.Module | None:
    """The classifier whose layers the detector begins with; None for untrained ones.

    Args:
        settings: say which weights.
        name: of the classifier, torchvision's or :data:`DEMO`.

    Raises:
        UserError: if the weights are missing or belong to another one.
    """
    if settings.backbone == "none":
        return None
    network: nn.Module
    if settings.backbone == "default" and name != DEMO:
        entry = torchvision.models.get_model_weights(name).DEFAULT
        try:
            network = torchvision.models.get_model(name, weights=entry)
        except (OSError, RuntimeError) as error:
            raise UserError(
                f"torchvision's weights of {name} cannot be fetched ({one_line(error)}); give a file with "
                "`backbone`, or `backbone='none'`."
            ) from error
        return network
    network = SmallCNN(1) if name == DEMO else torchvision.models.get_model(name, weights=None)
    for head in _HEADS:
        if hasattr(network, head):
            setattr(network, head, nn.Identity())
    if settings.backbone != "default":
        load_weights(network, Path(settings.backbone), f"{settings.arch}'s backbone", without=_HEADS)
        return network
    with resources.as_file(resources.files("wsloc") / "classifiers" / "weights" / "demo.safetensors") as path:
        load_weights(network, path, name, without=_HEADS)
    return network


def freeze(part: nn.Module, prefixes: tuple[str, ...]) -> None:
    """Fix the first layers, and the statistics of all: a detector's batches are too small for its own.

    Args:
        part: changed in place.
        prefixes: of the names of the parameters to fix.
    """
    for name, parameter in part.named_parameters():
        if name.startswith(prefixes):
            parameter.requires_grad_(False)
    for module in list(part.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, _frozen(child))


def _frozen(norm: nn.BatchNorm2d) -> nn.Module:
    fixed: nn.Module = FrozenBatchNorm2d(norm.num_features, eps=norm.eps)
    fixed.load_state_dict({name: value for name, value in norm.state_dict().items() if name != "num_batches_tracked"})
    return fixed
