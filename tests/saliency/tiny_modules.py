"""Modules that several tests put networks together from."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn


class Calls(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, values: Tensor) -> Tensor:
        return self.function(values)


class Wrapper(nn.Module):
    """Another module, under a name of its own, as DataParallel has it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.module = network

    def forward(self, images: Tensor) -> Tensor:
        return self.module(images)
