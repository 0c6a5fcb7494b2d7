"""A classifier as the settings describe it: network, weights, preprocessing, names of its outputs."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import torch

from wsloc.classifiers.architectures import build_architecture
from wsloc.classifiers.checkpoint import load_checkpoint
from wsloc.classifiers.classifier import Classifier
from wsloc.classifiers.load_weights import load_weights
from wsloc.classifiers.pooled_head import PooledLinear, head_name, remove_head
from wsloc.classifiers.preprocessing import adjusted
from wsloc.classifiers.targets import UnitActivity
from wsloc.config import ClassifierSettings
from wsloc.errors import UserError, one_line
from wsloc.files.reading import read_lines
from wsloc.plugins import named_by_file


def load_classifier(settings: ClassifierSettings, *, fetch: bool = True) -> Classifier:
    """Build the network and load its weights.

    Args:
        settings: which network, and what its inputs and outputs are.
        fetch: whether torchvision's or timm's weights are fetched where no file gives any. Without them the network
            has random ones: enough for the names of its outputs, and for how it is built.

    Raises:
        UserError: if the network or a file is missing, the weights belong to another network, or the
            settings contradict each other.
    """
    names = _read_names(settings.classes_file) if settings.classes_file else None
    if settings.checkpoint is not None:
        built = build_from_checkpoint(settings.checkpoint, settings.arch)
    else:
        num_outputs = len(names) if names else None
        pretrained = fetch and settings.weights is None
        built = build_architecture(settings.arch, pretrained=pretrained, num_outputs=num_outputs)
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


def _read_names(path: Path) -> tuple[str, ...]:
    names = tuple(read_lines(path, "The classes file"))
    if not names:
        raise UserError(f"The classes file {path} is empty; it needs one class name per line.")
    return names
