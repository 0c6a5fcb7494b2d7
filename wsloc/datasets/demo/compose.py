"""Layers laid over a background: the picture, and what of each layer stays visible."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rgb = NDArray[np.float32]
"""``(H, W, 3)`` in [0, 1]."""
Rgba = NDArray[np.float32]
"""``(H, W, 4)`` in [0, 1], the color premultiplied by the alpha in the last channel."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A cut-out at its position.

    Attributes:
        rgba: premultiplied float32 ``(h, w, 4)`` in [0, 1]; it must fit into the background.
        left: column of the background at which the cut-out's first column lies.
        top: row of the background at which its first row lies.
    """

    rgba: Rgba
    left: int
    top: int

    @property
    def window(self) -> tuple[slice, slice]:
        """The rows and columns of the background under the cut-out."""
        height, width = self.rgba.shape[:2]
        return slice(self.top, self.top + height), slice(self.left, self.left + width)


def compose(background: Rgb, layers: Sequence[Layer]) -> Rgb:
    """The background with the layers over it, the last on top: float32 ``(H, W, 3)`` in [0, 1]."""
    scene = background.copy()
    for layer in layers:
        scene[layer.window] = layer.rgba[..., :3] + (1 - layer.rgba[..., 3:]) * scene[layer.window]
    return scene


def opaque_masks(layers: Sequence[Layer], size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """What each layer would cover alone: bool ``(L, H, W)``, true where it is more than half opaque."""
    masks = np.zeros((len(layers), *size_hw), dtype=bool)
    for mask, layer in zip(masks, layers, strict=True):
        mask[layer.window] = layer.rgba[..., 3] > 0.5
    return masks


def visible_masks(opaque: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """What of each layer no later layer hides: bool ``(L, H, W)`` from the masks of :func:`opaque_masks`."""
    covered = np.zeros_like(opaque)
    if len(opaque) > 1:
        covered[:-1] = np.logical_or.accumulate(opaque[:0:-1])[::-1]
    return opaque & ~covered
