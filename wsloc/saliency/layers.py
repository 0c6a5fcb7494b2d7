"""Where in a network features are read, and putting other ones in their place.

Class activation maps want the features at the input of the global pooling. That input is found by watching the
*calls* of pooling functions: torchvision's DenseNet applies its last ReLU and its pooling as functions, and a hook on
its last module, ``norm5``, would give features that were not yet rectified.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from wsloc.classifiers.grid import as_grid
from wsloc.classifiers.scorer import Scorer, scoring_mode
from wsloc.classifiers.targets import full_name
from wsloc.errors import UserError
from wsloc.saliency.interception import CallInterceptor, Function, call_input
from wsloc.saliency.window_layout import WindowLayout

_ADAPTIVE = {F.adaptive_avg_pool2d, F.adaptive_max_pool2d}
_FIXED = {F.avg_pool2d, F.max_pool2d}
_MEANS = {torch.mean, Tensor.mean}
_OVER_CHANNELS_LAST = ((4, {1, 2}), (3, {1}))
"""Dimensions of a tensor, and those of positions ``(N, h, w, K)`` or of tokens ``(N, T, K)`` among them."""
_ATTENTION = ("Attention", "Attn", "MHSA", "GPSA")
"""Ends of the names of classes of self-attention."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A place in a network.

    Attributes:
        at: the input of a pooling call, the output of a module, or the input of a module.
        name: of the module as in ``named_modules()``; empty for a pooling call.
        call: number of the pooling call in a pass, from 0.
        after: a module that ends before this call and runs once, from where on calls are watched; empty for the
            beginning of the pass.
        skipped: how many pooling calls come before that.
        layouts: of windows, by the size of the images, as they are found; None for features that are in none.
    """

    at: Literal["pooling-input", "module-output", "module-input"]
    name: str = ""
    call: int = 0
    after: str = field(default="", compare=False)
    skipped: int = field(default=0, compare=False)
    layouts: dict[tuple[int, int], WindowLayout | None] = field(default_factory=dict, compare=False, repr=False)


def find_layer(scorer: Scorer, images: Tensor) -> Layer:
    """The last layer whose features still have positions in the image.

    In this order: the input of the global pooling, of feature maps or tokens; of the last adaptive pooling (VGG); the
    input of the last self-attention over the whole image (vision transformers: behind it only the class token is looked
    at, so the other tokens have no gradient); the output of the last convolution, unless tokens are made of it.

    Args:
        scorer: the network.
        images: ``(N, C, H, W)``, an example of its input; one forward pass or two are made.

    Raises:
        UserError: if it has none of these.
    """
    calls = _pooling_calls(scorer, images)
    for pooling in (_global(calls), [layer for call, layer in calls if call.adaptive]):
        if pooling:
            return pooling[-1]
    ran = _modules_that_ran(scorer, images)
    attention = [call for call in ran if type(call.module).__name__.endswith(_ATTENTION) and _fits(call.given, images)]
    if attention:
        return Layer("module-input", attention[-1].name)
    convolutions = [index for index, call in enumerate(ran) if isinstance(call.module, nn.Conv2d)]
    if convolutions:
        if any(_is_of_tokens(call) for call in ran[convolutions[-1] :]):
            raise UserError(
                "The network works on tokens behind its last convolution, and no pooling or attention that is known "
                "shows where they end; name a layer whose features have a place in the image with `cam_layers`, such "
                "as the last block."
            )
        return Layer("module-output", ran[convolutions[-1]].name)
    raise UserError(
        "The network has no pooling, attention or convolution that can be watched to read features at; name a "
        "`cam_layers`, and give the network neither traced nor scripted."
    )


def find_global_pooling(scorer: Scorer, images: Tensor) -> Layer | None:
    """The input of the last call that pools each channel to one value, or None; arguments as in :func:`find_layer`."""
    whole = _global(_pooling_calls(scorer, images))
    return whole[-1] if whole else None


def named_layer(scorer: Scorer, name: str) -> Layer:
    """The output of the module of that name; a wrapper's own name before it may be left out.

    Raises:
        UserError: if there is no such module, or several.
    """
    return Layer("module-output", full_name(scorer.network, name))


@contextlib.contextmanager
def replaced(network: nn.Module, layers: Sequence[Layer], replace: Callable[[int, Any], Tensor]) -> Iterator[None]:
    """While entered, each layer's tensor is replaced by ``replace(index of the layer, tensor)``."""
    hooks = []
    with contextlib.ExitStack() as stack:
        try:
            for index, layer in enumerate(layers):
                module = network.get_submodule(layer.after if layer.at == "pooling-input" else layer.name)
                if layer.at == "pooling-input":
                    interceptor = _replaced_pooling(layer.call - layer.skipped, partial(replace, index))
                    if not layer.after:
                        stack.enter_context(interceptor)
                        continue
                    hooks.append(module.register_forward_hook(_entering(stack, interceptor)))
                elif isinstance(module, torch.jit.ScriptModule):
                    continue  # It takes no hooks, so that it is never seen to run.
                elif layer.at == "module-output":
                    hooks.append(module.register_forward_hook(_output_hook(replace, index)))
                else:
                    hooks.append(module.register_forward_pre_hook(_input_hook(replace, index)))
            yield
        finally:
            for hook in hooks:
                hook.remove()


def _replaced_pooling(number: int, replace: Callable[[Any], Tensor]) -> CallInterceptor:
    """While entered, the input of the pooling call of that number is replaced."""
    seen = 0

    def handler(function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        nonlocal seen
        if _is_pooling(function, args, kwargs):
            if seen == number:
                args, kwargs = _with_input(args, kwargs, replace(call_input(args, kwargs)))
            seen += 1
        return function(*args, **kwargs)

    return CallInterceptor(handler)


def _entering(stack: contextlib.ExitStack, interceptor: CallInterceptor) -> Callable[..., None]:
    """A hook that begins to intercept: each call that is seen costs microseconds, which add up over a pass."""

    def hook(_module: nn.Module, _inputs: Any, _output: Any) -> None:
        stack.enter_context(interceptor)

    return hook


@dataclass(frozen=True, slots=True)
class _PoolingCall:
    number: int
    ended: int  # how many modules had ended before
    adaptive: bool
    to_one_value: bool
    several_cells: bool


@dataclass(frozen=True, slots=True, eq=False)
class _ModuleCall:
    name: str
    module: nn.Module
    given: Tensor | None  # without its values


def _pooling_calls(scorer: Scorer, images: Tensor) -> list[tuple[_PoolingCall, Layer]]:
    """The pooling calls of a pass, each with its place."""
    found: list[_PoolingCall] = []
    ended: list[tuple[str, int]] = []

    def watch(function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        answer = function(*args, **kwargs)
        if _is_pooling(function, args, kwargs):
            given = call_input(args, kwargs)
            last = _channels_last(function, args, kwargs)
            channels = len(given) * given.shape[-1 if last else 1]
            to_one_value = isinstance(answer, Tensor) and answer.numel() == channels
            # The mean of something else than tokens may look the same.
            to_one_value &= not last or _fits(given, images)
            several = given.numel() > channels
            found.append(_PoolingCall(len(found), len(ended), function in _ADAPTIVE, to_one_value, several))
        return answer

    def end(name: str, _module: nn.Module, _inputs: Any, _output: Any) -> None:
        ended.append((name, len(found)))

    hooks = [
        module.register_forward_hook(partial(end, name))
        for name, module in scorer.network.named_modules()
        if name and not isinstance(module, torch.jit.ScriptModule)
    ]
    try:
        with scoring_mode(scorer.network), torch.no_grad(), CallInterceptor(watch):
            scorer.logits(images)
    finally:
        for hook in hooks:
            hook.remove()
    return [(call, _pooling_input(call, ended)) for call in found]


def _pooling_input(call: _PoolingCall, ended: Sequence[tuple[str, int]]) -> Layer:
    runs = Counter(name for name, _ in ended)
    before = reversed(ended[: call.ended])
    after, skipped = next(((name, calls) for name, calls in before if runs[name] == 1), ("", 0))
    return Layer("pooling-input", call=call.number, after=after, skipped=skipped)


def _global(calls: Sequence[tuple[_PoolingCall, Layer]]) -> list[Layer]:
    """Those to one value; where what was pooled is pooled again (a new head of ConvNeXt), not the second time."""
    whole = [(call, layer) for call, layer in calls if call.to_one_value]
    return [layer for call, layer in whole if call.several_cells] or [layer for _, layer in whole]


def _is_pooling(function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    if function in _MEANS:
        return _averaged(args, kwargs) in ((4, {2, 3}), *_OVER_CHANNELS_LAST)
    return function in _ADAPTIVE | _FIXED and call_input(args, kwargs).ndim == 4


def _channels_last(function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return function in _MEANS and _averaged(args, kwargs) in _OVER_CHANNELS_LAST


def _averaged(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[int, set[int]]:
    """How many dimensions the input of a mean has, and over which of them it goes."""
    given = call_input(args, kwargs)
    dims = kwargs.get("dim", kwargs.get("axis", args[1] if len(args) > 1 else None))
    listed = dims if isinstance(dims, (tuple, list)) else () if dims is None else (dims,)
    return given.ndim, {dim % given.ndim for dim in listed} if given.ndim else set()


def _fits(given: Tensor | None, images: Tensor) -> bool:
    """Whether a tensor has a row for each image, and a place in it for each of several cells."""
    try:
        return given is not None and len(given) == len(images) and _cells(given, images) > 1
    except UserError:
        return False


def _is_of_tokens(call: _ModuleCall) -> bool:
    """Whether a module works on tokens, or on positions that come before the channels."""
    if call.given is None:
        return False
    if isinstance(call.module, nn.Linear):
        return call.given.ndim > 2
    return type(call.module).__name__.endswith(_ATTENTION) and call.given.ndim == 3


def _cells(features: Tensor, images: Tensor) -> int:
    return as_grid(features, (images.shape[2], images.shape[3])).shape[2:].numel()


def _with_input(
    args: tuple[Any, ...], kwargs: dict[str, Any], tensor: Tensor
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return ((tensor, *args[1:]), kwargs) if args else (args, {**kwargs, "input": tensor})


def _modules_that_ran(scorer: Scorer, images: Tensor) -> list[_ModuleCall]:
    ran: list[_ModuleCall] = []
    hooks = []

    def remember(name: str, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        given = inputs[0] if inputs and isinstance(inputs[0], Tensor) else None
        ran.append(_ModuleCall(name, module, None if given is None else given.to("meta")))

    try:
        for name, module in scorer.network.named_modules():
            if name and not isinstance(module, torch.jit.ScriptModule):
                hooks.append(module.register_forward_pre_hook(partial(remember, name)))
        with scoring_mode(scorer.network), torch.no_grad():
            scorer.logits(images)
    finally:
        for hook in hooks:
            hook.remove()
    return ran


def _output_hook(replace: Callable[[int, Any], Tensor], index: int) -> Callable[..., Tensor]:
    return lambda _module, _inputs, output: replace(index, output)


def _input_hook(replace: Callable[[int, Any], Tensor], index: int) -> Callable[..., tuple[Any, ...]]:
    def hook(_module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        # Self-attention is given the same tokens as query, key and value.
        new = replace(index, inputs[0])
        return tuple(new if value is inputs[0] else value for value in inputs)

    return hook
