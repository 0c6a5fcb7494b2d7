"""A classifier as the settings describe it: network, weights, preprocessing, names of its outputs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from wsloc.classifiers.architectures import build_architecture
from wsloc.classifiers.checkpoint import load_checkpoint
from wsloc.classifiers.classifier import Classifier
from wsloc.classifiers.pooled_head import PooledLinear, head_name, remove_head
from wsloc.classifiers.preprocessing import adjusted
from wsloc.classifiers.targets import UnitActivity
from wsloc.config import ClassifierSettings
from wsloc.errors import UserError, listed, one_line
from wsloc.files.reading import read_lines
from wsloc.plugins import named_by_file

_MAX_KEYS_NAMED = 3
_WRAPPERS = ("state_dict", "model", "model_state_dict")
"""Keys under which training scripts put the state dict into their checkpoint."""


def load_classifier(settings: ClassifierSettings) -> Classifier:
    """Build the network and load its weights.

    Raises:
        UserError: if the network or a file is missing, the weights belong to another network, or the
            settings contradict each other.
    """
    names = _read_names(settings.classes_file) if settings.classes_file else None
    if settings.checkpoint is not None:
        built = build_from_checkpoint(settings.checkpoint, settings.arch)
    else:
        num_outputs = len(names) if names else None
        built = build_architecture(settings.arch, pretrained=settings.weights is None, num_outputs=num_outputs)
        if settings.weights is not None:
            load_weights(built.network, settings.weights, settings.arch)
    preprocessing = adjusted(built.preprocessing, settings.mean, settings.std, settings.input_size, settings.resize)
    if settings.layer is not None:
        unit, name = UnitActivity(built.network, settings.layer, settings.unit), settings.unit_name
        return Classifier(unit, preprocessing, (name,), "softmax", _plain(f"{built.name} {name}"))
    return replace(
        built,
        preprocessing=preprocessing,
        output_names=names or built.output_names,
        activation=settings.activation or built.activation,
        name=_plain(built.name),
    )


def build_from_checkpoint(path: Path, allowed_arch: str = "") -> Classifier:
    """The network of a checkpoint that wsloc's training wrote.

    Args:
        path: of the safetensors file.
        allowed_arch: the user's own ``package.module:function`` that may be run to build it; a file alone runs nothing.

    Raises:
        UserError: if it is not such a file, or its weights do not fit its network.
    """
    state, info = load_checkpoint(path)
    # What the user named may run.
    arch = allowed_arch if info.arch == allowed_arch else named_by_file(info.arch, path)
    built = build_architecture(arch, pretrained=False, num_outputs=None)
    name = head_name(built.network, info.arch)
    remove_head(built.network, name)
    weight = state.get(f"{name}.weight", torch.zeros(0))
    try:
        setattr(built.network, name, PooledLinear(weight.shape[1], len(info.class_names)))
        built.network.load_state_dict(state)
    except (RuntimeError, IndexError) as error:
        raise UserError(
            f"The weights of the checkpoint {path} do not fit a {info.arch} with {len(info.class_names)} classes "
            f"({one_line(error)[:150]}); train it again."
        ) from error
    name = f"{info.arch}-trained"
    return Classifier(built.network, info.preprocessing, info.class_names, info.activation, name, trained_here=True)


def _plain(name: str) -> str:
    return re.sub(r"[^\w.]+", "-", name)


def load_weights(network: nn.Module, path: Path, arch: str, without: tuple[str, ...] = ()) -> None:
    """Give a network the weights of a file.

    Args:
        network: changed in place.
        path: .pth or .safetensors; nothing in it is executed.
        arch: what messages call the network.
        without: first parts of the names of those weights that are left out.

    Raises:
        UserError: if the file is missing, holds no weights or those of another network.
    """
    own = network.state_dict()
    state = {_current_name(key, own): value for key, value in _read_state(path).items()}
    state = {key: value for key, value in state.items() if key.removeprefix("module.").split(".")[0] not in without}
    # Files from before PyTorch 0.4.1 lack these counters, which evaluation does not use.
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in state if key not in own]
    reshaped = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    for title, keys in (("lacks", missing), ("has unknown", unexpected), ("has another shape for", reshaped)):
        if keys:
            raise UserError(
                f"The weights {path} do not belong to {arch}: the file {title} {listed(keys, _MAX_KEYS_NAMED)} "
                f"({len(keys)} keys); choose `arch` and `classes_file` to match."
            )
    network.load_state_dict(state, strict=False)


def _current_name(key: str, own: Mapping[str, Tensor]) -> str:
    """The network's own name for a key of an older file."""
    candidates = (
        key,
        key.removeprefix("module."),  # DataParallel puts its own name before every key
        re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])", r"\1\2", key),  # torchvision's own files of DenseNet
    )
    return next((name for name in candidates if name in own), key)


def _read_state(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise UserError(f"The weights {path} do not exist.")
    try:
        content: object = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except Exception as error:  # the unpickler may raise anything if a file is not a checkpoint
        raise UserError(
            f"The weights {path} cannot be read as a plain state dict ({one_line(error)[:120]}); "
            "save network.state_dict() with torch.save or safetensors."
        ) from error
    for key in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()
    ):
        raise UserError(f"The weights {path} hold no state dict; save network.state_dict().")
    return content


def _read_names(path: Path) -> tuple[str, ...]:
    names = tuple(read_lines(path, "The classes file"))
    if not names:
        raise UserError(f"The classes file {path} is empty; it needs one class name per line.")
    return names
