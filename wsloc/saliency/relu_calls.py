"""Calls of ReLU and ReLU6, however they are written."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from wsloc.saliency.interception import Function

_RELU = {F.relu, torch.relu, Tensor.relu}
_RELU_IN_PLACE = {F.relu_, torch.relu_, Tensor.relu_}
_CLIPPED = {F.relu6, F.hardtanh}
_CLIPPED_IN_PLACE = {F.hardtanh_}


def relu_ceiling(function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> float | None:
    """Where a ReLU or ReLU6 cuts off; None for any other function."""
    if function in _RELU | _RELU_IN_PLACE:
        return math.inf
    if function in _CLIPPED | _CLIPPED_IN_PLACE and _bounds(function, args, kwargs) == (0, 6):
        return 6.0
    return None


def _bounds(function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[float, float]:
    if function is F.relu6:
        return (0, 6)
    low = args[1] if len(args) > 1 else kwargs.get("min_val", -1.0)
    high = args[2] if len(args) > 2 else kwargs.get("max_val", 1.0)
    return low, high


def is_in_place(function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether such a call also changes its input."""
    index = {F.relu: 1, F.relu6: 1, F.hardtanh: 3}.get(function)
    asked = kwargs.get("inplace", index is not None and len(args) > index and args[index])
    return function in _RELU_IN_PLACE | _CLIPPED_IN_PLACE or bool(asked)
