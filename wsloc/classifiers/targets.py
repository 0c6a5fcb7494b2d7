"""Targets other than classes: a unit inside a network, or any scalar of its output.

Both wrap the network in a module that returns one row of scores per image, so that every saliency method and the
class-model visualization take them as they take a classifier.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from wsloc.classifiers.grid import as_grid, require_rows
from wsloc.errors import UserError, did_you_mean


class ScalarTargets(nn.Module):
    """A network whose scores are what some functions make of its output.

    The output may be anything: a caption's logits, an answer's, the boxes of a detector.
    """

    def __init__(self, network: nn.Module, targets: Sequence[Callable[[Any], Tensor]]) -> None:
        """Wrap a network.

        Args:
            network: takes images ``(N, C, H, W)``.
            targets: each from the network's output for N images to differentiable scores ``(N,)``.
        """
        super().__init__()
        self.network = network
        self.targets = tuple(targets)

    def forward(self, images: Tensor) -> Tensor:
        """Scores ``(N, len(targets))`` of images ``(N, C, H, W)``."""
        output = self.network(images)
        return torch.stack([target(output) for target in self.targets], dim=1)


class UnitActivity(nn.Module):
    """A network whose one score is the activity of a unit of one of its layers."""

    def __init__(self, network: nn.Module, layer: str, unit: Sequence[int]) -> None:
        """Wrap a network.

        Args:
            network: takes images ``(N, C, H, W)``.
            layer: a module's name as in ``named_modules()``; it must run once per pass, and return ``(N, K, h, w)``,
                ``(N, h, w, K)``, tokens ``(N, T, K)``, or ``(N, K)``.
            unit: ``(k,)`` for the mean activity of channel k over all positions (of tokens, class tokens included);
                ``(k, row, column)`` for the neuron at one position of a grid, ``(k, token)`` at one of tokens.

        Raises:
            UserError: if the network has no such layer.
        """
        super().__init__()
        find_module(network, layer)
        self.network = network
        self.layer = layer
        self.unit = tuple(unit)

    def forward(self, images: Tensor) -> Tensor:
        """Activity ``(N, 1)`` of the unit for images ``(N, C, H, W)``.

        Raises:
            UserError: if the layer has no such unit.
        """
        seen: list[Any] = []

        def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
            # A copy, since the network may change the layer's output in place.
            seen.append(output.clone() if isinstance(output, Tensor) else output)

        hook = find_module(self.network, self.layer).register_forward_hook(keep)
        try:
            self.network(images)
        finally:
            hook.remove()
        if len(seen) != 1 or not isinstance(seen[0], Tensor) or seen[0].ndim not in (2, 3, 4):
            raise UserError(
                f"The layer {self.layer} must run once per pass and return one tensor; name another `layer`."
            )
        require_rows(seen[0], images, self.layer)
        return self._of_unit(seen[0], (images.shape[2], images.shape[3]))[:, None]

    def _of_unit(self, activity: Tensor, image_hw: tuple[int, int]) -> Tensor:
        if activity.ndim == 3:  # tokens (N, T, K)
            activity = activity.transpose(1, 2)
        elif activity.ndim == 4:  # those of some transformers are (N, h, w, K)
            activity = as_grid(activity, image_hw)
        channel, *position = self.unit
        sizes = list(activity.shape[1:])
        full = position and len(position) == len(sizes) - 1
        if not (full or not position) or any(index >= size for index, size in zip(self.unit, sizes, strict=False)):
            raise UserError(
                f"The layer {self.layer} has units of {' x '.join(map(str, sizes))} (channels, then positions), so "
                f"unit {' '.join(map(str, self.unit))} is none of them."
            )
        if position:
            for index in (channel, *position):
                activity = activity[:, index]
            return activity
        return activity[:, channel].flatten(start_dim=1).mean(dim=1) if len(sizes) > 1 else activity[:, channel]


def find_module(network: nn.Module, name: str) -> nn.Module:
    """The module of that name as in ``named_modules()``; a wrapper's own name before it may be left out.

    Raises:
        UserError: if there is no such module, or several.
    """
    return network.get_submodule(full_name(network, name))


def full_name(network: nn.Module, name: str) -> str:
    """The whole name of a module of which the end is given; raises as :func:`find_module`."""
    names = [own for own, _ in network.named_modules() if own]
    fitting: list[str] = [own for own in names if own == name] or [own for own in names if own.endswith("." + name)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise UserError(f"The layer {name!r} may be any of {', '.join(fitting[:3])}; give the whole name.")
    outermost = ", ".join(own for own in names if "." not in own)
    raise UserError(f"The network has no layer {name!r}; {did_you_mean(name, names, f'it has {outermost}.')}")
