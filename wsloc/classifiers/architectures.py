"""Building a network by name: torchvision, timm, a user's own function, or the demo's."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator
from importlib import resources
from typing import Any

from PIL import Image
from torch import nn

from wsloc.classifiers.checkpoint import load_checkpoint
from wsloc.classifiers.classifier import Classifier
from wsloc.classifiers.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from wsloc.classifiers.small_cnn import SmallCNN
from wsloc.errors import UserError, did_you_mean
from wsloc.plugins import import_named, users_code


def build_architecture(arch: str, *, pretrained: bool, num_outputs: int | None) -> Classifier:
    """The network that ``arch`` names, on the CPU, with the preprocessing that its weights were trained with, if known.

    Args:
        arch: ``demo``, ``small_cnn`` (the demo's network without its weights), ``timm:NAME``,
            ``package.module:function``, or the name of a torchvision classifier.
        pretrained: with the weights that torchvision or timm have for it; no effect on the
            others.
        num_outputs: of a network to be built without those weights; None for its default.

    Raises:
        UserError: if there is no such network, it cannot be built, or its weights cannot be fetched.
    """
    if arch == "demo":
        return _build_demo()
    if arch == "small_cnn":
        return Classifier(SmallCNN(num_outputs or 2), Preprocessing((112, 112)), None, "softmax", arch)
    if arch.startswith("timm:"):
        return _build_timm(arch.removeprefix("timm:"), pretrained, num_outputs)
    if ":" in arch:
        return _build_own(arch)
    return _build_torchvision(arch, pretrained, num_outputs)


def _build_demo() -> Classifier:
    with resources.as_file(resources.files("wsloc") / "classifiers" / "weights" / "demo.safetensors") as path:
        state, info = load_checkpoint(path)
    network = SmallCNN(len(info.class_names), info.preprocessing.channels)
    network.load_state_dict(state)
    return Classifier(network, info.preprocessing, info.class_names, info.activation, "demo")


def weights_url(arch: str) -> str | None:
    """Where torchvision's weights of a network are fetched from; None for a network that is not torchvision's.

    Raises:
        UserError: if there is no such network.
    """
    if arch in ("demo", "small_cnn") or ":" in arch:
        return None
    return str(_torchvision_weights(arch).url)


def _torchvision_weights(arch: str) -> Any:
    """The entry of torchvision for its weights of a network, which need not be there yet."""
    import torchvision  # Takes a second, which a network of the user's or the demo's does not need.

    names = torchvision.models.list_models(module=torchvision.models)
    if arch not in names:
        hint = did_you_mean(arch, names, "give a torchvision name, timm:NAME or package.module:function.")
        raise UserError(f"There is no network {arch!r} in torchvision; {hint}")
    return torchvision.models.get_model_weights(arch).DEFAULT


def _build_torchvision(arch: str, pretrained: bool, num_outputs: int | None) -> Classifier:
    import torchvision

    entry = _torchvision_weights(arch)
    if pretrained:
        with _fetching(f"torchvision's weights of {arch}"):
            network = torchvision.models.get_model(arch, weights=entry)
    else:
        network = torchvision.models.get_model(
            arch, weights=None, **({"num_classes": num_outputs} if num_outputs else {})
        )
    preset = entry.transforms()
    mean, std = tuple(preset.mean), tuple(preset.std)
    if hasattr(network, "transform_input"):
        # GoogLeNet and Inception change ImageNet's normalization to this one inside, but only around fetched weights.
        setattr(network, "transform_input", False)  # noqa: B010 (typed as a module otherwise)
        mean, std = (0.5,) * 3, (0.5,) * 3
    preprocessing = Preprocessing(
        (preset.crop_size[0], preset.crop_size[-1]),
        mean,
        std,
        resample=Image.Resampling[preset.interpolation.name],
    )
    categories = tuple(entry.meta["categories"])
    names = categories if num_outputs in (None, len(categories)) else None
    return Classifier(network, preprocessing, names, "softmax", arch)


def _build_timm(name: str, pretrained: bool, num_outputs: int | None) -> Classifier:
    if importlib.util.find_spec("timm") is None:
        raise UserError(f"`arch='timm:{name}'` needs the package timm; install it with: pip install 'wsloc[timm]'.")
    import timm
    import torchvision

    if not timm.is_model(name):
        close = did_you_mean(name, timm.list_models())
        raise UserError(f"There is no network {name!r} in timm{f'; {close}' if close else '.'}")
    settings: dict[str, Any] = {"num_classes": num_outputs} if num_outputs else {}
    with _fetching(f"timm's weights of {name}"):
        network = timm.create_model(name, pretrained=pretrained, **settings)
    config = timm.data.resolve_model_data_config(network)
    preprocessing = Preprocessing(
        tuple(config["input_size"][-2:]),
        tuple(config["mean"]),
        tuple(config["std"]),
        resample=Image.Resampling[str(config["interpolation"]).upper()],
    )
    imagenet = tuple(torchvision.models.get_model_weights("resnet50").DEFAULT.meta["categories"])
    names = imagenet if config.get("num_classes") == len(imagenet) and num_outputs is None else None
    return Classifier(network, preprocessing, names, "softmax", f"timm:{name}")


def _build_own(arch: str) -> Classifier:
    build = import_named(arch, "network")
    with users_code("network", arch):
        network = build()
    if not isinstance(network, nn.Module):
        raise UserError(f"The network {arch} must return an nn.Module, not {type(network).__name__}.")
    gray = _first_convolution_channels(network) == 1
    preprocessing = Preprocessing((224, 224), (0.5,) if gray else IMAGENET_MEAN, (0.5,) if gray else IMAGENET_STD)
    return Classifier(network, preprocessing, None, "softmax", arch)


def _first_convolution_channels(network: nn.Module) -> int | None:
    return next((module.in_channels for module in network.modules() if isinstance(module, nn.Conv2d)), None)


@contextlib.contextmanager
def _fetching(what: str) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise UserError(f"{what} cannot be fetched ({error}); give a file with `weights`.") from error
