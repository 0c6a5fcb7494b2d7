"""The graph that a pass leaves behind."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor
from torch.autograd.graph import Node


def operations_below(tensor: Tensor) -> Iterator[Node]:
    """Every operation that the tensor was computed by and that has a gradient, each once, from the top down."""
    seen: set[Node] = set()
    waiting = [tensor.grad_fn]
    while waiting:
        operation = waiting.pop()
        if operation is not None and operation not in seen:
            seen.add(operation)
            yield operation
            waiting += [before for before, _ in operation.next_functions]
