"""Whether something is linear, tested by its outputs.

An affine f obeys ``f(a + b) + f(0) = f(a) + f(b)``.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from wsloc.classifiers.scorer import Scorer, scoring_mode
from wsloc.errors import UserError
from wsloc.saliency.interception import CallInterceptor, Function, call_input
from wsloc.saliency.relu_calls import is_in_place, relu_ceiling

_MAXIMA: dict[Function, Function] = {
    F.max_pool2d: F.max_pool2d_with_indices,
    torch.max_pool2d: F.max_pool2d_with_indices,
    F.adaptive_max_pool2d: F.adaptive_max_pool2d_with_indices,
}
_SPATIAL_MAXIMA: set[Function] = {torch.amax, Tensor.amax}
_NEARLY_LINEAR = 1e-4
"""Largest departure from linearity, relative to how much the outputs vary."""
_ROUNDING = {torch.float32: 5e-6, torch.float16: 5e-3, torch.bfloat16: 4e-2}
"""Largest departure, relative to the size of the outputs, that is taken for rounding; twice what was found."""


def probes(like: Tensor) -> Tensor:
    """Four inputs ``(4, K, ...)`` to try: a + b, 0, a and b, each noise about a mean of its own in each channel.

    Noise alone would hardly move a gate behind a pooling over many positions.

    Args:
        like: ``(N, K, h, w)`` or ``(N, K, T)``, whose shape, type and device they get.
    """
    generator = torch.Generator().manual_seed(0)
    means = torch.randn((2, like.shape[1], *[1] * (like.ndim - 2)), generator=generator)
    a, b = (torch.randn((2, *like.shape[1:]), generator=generator) + means).to(like)
    return torch.stack([a + b, torch.zeros_like(a), a, b])


def is_affine(answers: Tensor, scorer: Scorer) -> bool:
    """Whether the answers ``(4, ...)`` to the :func:`probes` are those of an affine function, but for rounding."""
    both, neither, one, other = answers
    departure = (both + neither - one - other).abs().max()
    variation = (answers - neither).abs().max()
    return bool(departure <= _NEARLY_LINEAR * variation + _rounding(scorer) * answers.abs().max())


def refuse_hidden_nonlinearities(scorer: Scorer, images: Tensor) -> None:
    """Refuse a network that something else than maxima and the ReLUs that are caught keeps from being linear.

    Four forward passes of colored noise with held gates and places show it. What a network chooses in Python for a
    whole batch at once (``if x.mean() > 0``) is not seen, nor in half precision what is as weak as its rounding.

    Args:
        scorer: the network.
        images: ``(N, C, H, W)``, an example of its input; its values do not count.

    Raises:
        UserError: if there is such a thing, as ``x * (x > 0)`` or a product of features.
    """
    with scoring_mode(scorer.network), torch.no_grad(), CallInterceptor(_linear_stand_in):
        # Each fills a batch, since a network may take only batches of this size.
        answers = torch.stack([scorer.logits(probe.repeat(len(images), 1, 1, 1)) for probe in probes(images)])
    if not is_affine(answers, scorer):
        raise UserError(
            "DeconvNet and guided back-propagation are rules for ReLU and ReLU6, but this network also gates, "
            "multiplies or compares its features in a way of its own, as x * (x > 0) does; use another `method`."
        )


def _linear_stand_in(function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """ReLUs and maxima whose gates and places do not depend on the features; any other function unchanged."""
    if function in _SPATIAL_MAXIMA and _is_spatial(args, kwargs):
        return torch.mean(*args, **kwargs)
    rectifies = relu_ceiling(function, args, kwargs) is not None
    if not rectifies and function not in _MAXIMA:
        return function(*args, **kwargs)
    features = call_input(args, kwargs)
    pattern = _pattern(features.shape[1:]).to(features.device)
    if rectifies:
        gated = features * (pattern > 0)
        return features.copy_(gated) if is_in_place(function, args, kwargs) else gated
    options = {key: value for key, value in kwargs.items() if key != "input"}
    _, indices = _MAXIMA[function](pattern.expand(features.shape), *args[1:], **options)
    return features.flatten(start_dim=2).gather(2, indices.flatten(start_dim=2)).view_as(indices)


def _pattern(shape: torch.Size) -> Tensor:
    """Values in [-0.5, 0.5) without order; not drawn, since functorch's transforms forbid that."""
    numbers = torch.arange(shape.numel(), dtype=torch.float64)
    return ((numbers.square() * math.sqrt(2)).frac() - 0.5).float().reshape(shape)


def _is_spatial(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    dims = kwargs.get("dim", args[1] if len(args) > 1 else ())
    over = {dim % 4 for dim in dims} if isinstance(dims, (tuple, list)) else {dims % 4}
    return call_input(args, kwargs).ndim == 4 and bool(over) and over <= {2, 3}


def _rounding(scorer: Scorer) -> float:
    """The tolerance for the coarsest arithmetic that the network uses."""
    types = {torch.float32, scorer.precision, *(value.dtype for value in scorer.network.parameters())}
    if scorer.device.type == "cuda":
        types.add(torch.float16)  # TF32, which matrix products may use there, is as coarse.
    return max(_ROUNDING.get(dtype, 0.0) for dtype in types)
