"""A head that class activation maps explain exactly: global average pooling and one linear layer.

A network keeps its own code and all of its layers but the classifier, which is replaced in place. What stood between
the features and the scores (hidden layers of VGG and MobileNetV3, the class maps of SqueezeNet, the normalization of
ConvNeXt) is gone, so that a score is a weighted sum of features averaged over the image (Zhou et al. 2016).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from wsloc.classifiers.check_network import refuse_nan
from wsloc.classifiers.grid import refuse_single_cell
from wsloc.errors import UserError, one_line

_HEADS = ("fc", "classifier", "head")
AUXILIARY = ("AuxLogits", "aux1", "aux2")
"""Second heads of Inception and GoogLeNet, which only their training from scratch uses."""


class PooledLinear(nn.Linear):
    """A linear layer that averages feature maps over the image first."""

    def forward(self, features: Tensor) -> Tensor:
        """Scores ``(N, K)`` of features ``(N, C, h, w)``, or of ``(N, C)`` that are already averaged."""
        return super().forward(pooled(features))


class PooledFeatures(nn.Module):
    """Stands where the head was: the network then returns what the head would read, averaged over the image."""

    def forward(self, features: Tensor) -> Tensor:
        """Features ``(N, C)`` of ``(N, C, h, w)`` or ``(N, C)``."""
        return pooled(features)


def pooled(features: Tensor) -> Tensor:
    """Features ``(N, C)`` of ``(N, C, h, w)``, or as they are where they are averaged already."""
    return functional.adaptive_avg_pool2d(features, 1).flatten(1) if features.ndim == 4 else features


def head_name(network: nn.Module, arch: str) -> str:
    """The attribute that holds the network's classifier.

    Raises:
        UserError: if there is none.
    """
    for name in _HEADS:
        if isinstance(getattr(network, name, None), nn.Module):
            return name
    raise UserError(
        f"{arch} has no layer called {', '.join(_HEADS[:-1])} or {_HEADS[-1]} that reads pooled features, so it cannot "
        "get a linear head; use a convolutional network such as resnet50."
    )


def remove_head(network: nn.Module, name: str) -> None:
    """Let the network return pooled features ``(N, C)``; auxiliary heads and larger poolings go too."""
    setattr(network, name, PooledFeatures())
    if isinstance(getattr(network, "avgpool", None), nn.AdaptiveAvgPool2d):
        network.avgpool = nn.AdaptiveAvgPool2d(1)
    for auxiliary in AUXILIARY:
        if hasattr(network, auxiliary):
            setattr(network, auxiliary, None)
            setattr(network, "aux_logits", False)  # noqa: B010 (typed as a module otherwise)


def check_pooling(network: nn.Module, input_shape: tuple[int, int, int], arch: str) -> int:
    """The number of features C of a network without its head, once they are known to be averages of feature maps.

    Args:
        network: after :func:`remove_head`, in evaluation mode.
        input_shape: channels, height and width of an image.
        arch: what the network is called.

    Raises:
        UserError: if the network cannot take the image, holds NaN, or its head does not read averages over several
            cells of the image.
    """
    noise = torch.randn((2, *input_shape), generator=torch.Generator().manual_seed(0))
    averages: list[tuple[int, Tensor]] = []  # with the number of cells

    def keep(values: object) -> None:
        if isinstance(values, Tensor) and values.ndim == 4:
            # The positive part, too: DenseNet calls its last ReLU as a function.
            averages.extend((values.shape[2:].numel(), part.mean(dim=(2, 3))) for part in (values, values.relu()))

    hooks = [module.register_forward_hook(lambda _module, _given, output: keep(output)) for module in network.modules()]
    ends = [module for module in network.modules() if isinstance(module, PooledFeatures)]
    hooks += [end.register_forward_pre_hook(lambda _module, given: keep(given[0])) for end in ends]
    try:
        with torch.no_grad():
            features: Tensor = network(noise)
    except (RuntimeError, ValueError, TypeError) as error:
        raise UserError(
            f"{arch} cannot take an image of shape {input_shape} with a linear head: {one_line(error)[:200]}; set "
            "`input_size`, or use another `arch`."
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
    refuse_nan(network, features)
    cells = [
        count
        for count, average in averages
        if average.shape == features.shape and torch.allclose(average, features, rtol=1e-4, atol=1e-5)
    ]
    if features.ndim != 2 or not cells:
        raise UserError(
            f"The head of {arch} does not read averages of features over the image, so class activation maps would "
            "not be exact; use a convolutional network such as resnet50."
        )
    if max(cells) == 1:
        refuse_single_cell((input_shape[1], input_shape[2]))
    return features.shape[1]


def new_head(channels: int, num_classes: int, seed: int) -> PooledLinear:
    """A linear head with PyTorch's usual first weights, drawn from a seed of its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return PooledLinear(channels, num_classes)
