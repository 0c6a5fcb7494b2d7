"""Seeing and changing what a network computes, whether written as a module or as a function."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import Tensor
from torch.autograd.graph import Node
from torch.overrides import TorchFunctionMode

Function = Callable[..., Any]
Handler = Callable[[Function, tuple[Any, ...], dict[str, Any]], Any]
"""``handler(function, args, kwargs) -> result``: must call the function itself where it changes nothing."""


class CallInterceptor(TorchFunctionMode):
    """While it is entered, every call of a PyTorch function by this thread goes through the handler.

    Modules call functions in their turn (``nn.ReLU`` calls ``F.relu``), so one handler sees both. Calls made
    by the handler itself are not seen, nor those inside traced, scripted or compiled code.
    """

    def __init__(self, handler: Handler) -> None:
        super().__init__()
        self._handler = handler

    def __torch_function__(
        self,
        func: Function,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        return self._handler(func, args, kwargs or {})


def call_input(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """The tensor that a call works on."""
    tensor: Tensor = args[0] if args else kwargs["input"]
    return tensor


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
