"""Features of named layers, kept from the forward pass that gives the maps."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wsloc.classifiers import View, Views
from wsloc.classifiers.grid import as_grid, require_rows
from wsloc.classifiers.targets import find_module
from wsloc.errors import UserError

Found = Callable[[], dict[str, Tensor]]
_MAX_FLOAT16 = float(np.finfo(np.float16).max)


@contextlib.contextmanager
def watched_features(network: nn.Module, images: Tensor, layers: Sequence[str]) -> Iterator[Found]:
    """While entered, keeps what layers give in a forward pass of exactly these images.

    A method may make other passes, of changed versions of the images; those are not looked at.

    Args:
        network: the network.
        images: ``(N, C, H, W)``.
        layers: names of modules; the beginning of a name may be left out where the rest is unambiguous.

    Yields:
        A function that gives ``(N, K, h, w)`` by layer name; to be called after the pass.

    Raises:
        UserError: if there is no such layer; the function, if a layer did not run or gave no grid over the image.
    """
    if layers and isinstance(network, torch.jit.ScriptModule):
        raise UserError("The network is scripted, so its layers cannot be watched; give it as Python code.")
    kept: dict[str, Tensor] = {}
    watching = False

    def enter(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
        nonlocal watching
        given = inputs[0]
        same = isinstance(given, Tensor) and given.shape == images.shape
        watching = same and torch.equal(given.detach(), images.to(given.dtype))

    def keep(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if watching and isinstance(output, Tensor):
                # A copy, since a later operation may work in place.
                kept[name] = output.detach().float().clone()

        return hook

    def found() -> dict[str, Tensor]:
        if missing := [name for name in layers if name not in kept]:
            raise UserError(f"The layer {missing[0]} gives no tensor in a pass of the network; name another layer.")
        for name in layers:
            require_rows(kept[name], images, name)
        return {name: as_grid(kept[name], (images.shape[2], images.shape[3])).cpu() for name in layers}

    hooks = [network.register_forward_pre_hook(enter)] if layers else []
    hooks += [find_module(network, name).register_forward_hook(keep(name)) for name in layers]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def average_features(views: Views, features: Sequence[Tensor]) -> NDArray[np.float16]:
    """The mean of a layer's features over the views that show the whole frame at its own scale.

    Args:
        views: of the image, the whole frame first.
        features: ``(K, h, w)`` for each view.

    Returns:
        Float16 ``(K, h, w)``, mirrored views turned back.

    Raises:
        UserError: if no view shows the whole frame.
    """
    require_whole_view(views)
    whole = [
        of_view.flip(-1) if view.mirrored else of_view
        for view, of_view in zip(views.views, features, strict=True)
        if _is_whole(view, views)
    ]
    # What float16 cannot hold is its largest value.
    return torch.stack(whole).mean(dim=0).clamp(-_MAX_FLOAT16, _MAX_FLOAT16).numpy().astype(np.float16)


def require_whole_view(views: Views) -> None:
    """Refuse views of parts alone.

    Raises:
        UserError: if no view shows the whole frame at its own scale.
    """
    if not any(_is_whole(view, views) for view in views.views):
        raise UserError(
            "Features are wanted of the whole image, but no view shows it; choose other `views` than ten-crop."
        )


def _is_whole(view: View, views: Views) -> bool:
    return tuple(view.pixels.shape[1:]) == views.frame_hw
