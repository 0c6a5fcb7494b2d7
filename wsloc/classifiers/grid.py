"""Features as a grid over the image, however a network lays them out."""

from __future__ import annotations

import math
from typing import NoReturn

import torch
from torch import Tensor

from wsloc.errors import UserError

_MAX_PREFIX_TOKENS = 16
_NEARLY = 0.02
"""Logarithm of the ratio of two aspects."""
_ADVISED_CELLS = 7
"""Along each side of the grid that the advised input size gives."""


def as_grid(features: Tensor, image_hw: tuple[int, int]) -> Tensor:
    """Features as ``(N, K, h, w)``, K channels on a grid over the image.

    Args:
        features: ``(N, K, h, w)``; or ``(N, h, w, K)``, told apart by which two sides have the image's aspect; or
            tokens ``(N, T, K)``, the first of which may be class or register tokens: those have no position and are
            left out.
        image_hw: size of the network's input.

    Raises:
        UserError: if the features have no position in the image.
    """
    height, width = image_hw
    if features.ndim == 4:
        _, first, second, third = features.shape
        # How far each reading's cells are from the image's aspect.
        off_first, off_last = (abs(math.log(h * width / (w * height))) for h, w in ((second, third), (first, second)))
        # Sides are rounded to whole cells. Where both readings fit nearly, the one of more channels is meant.
        ambiguous = 0 < off_first < _NEARLY > off_last
        channels_first = first >= third if ambiguous else off_first <= off_last
        grid = features if channels_first else features.permute(0, 3, 1, 2)
        if _fits(grid.shape[2], grid.shape[3], height, width):
            return grid
    if features.ndim == 3:
        for prefix in range(min(_MAX_PREFIX_TOKENS, features.shape[1] - 1)):
            grid_h = math.isqrt((features.shape[1] - prefix) * height // width)
            grid_w = grid_h * width // height
            if grid_h * grid_w == features.shape[1] - prefix and grid_h * width == grid_w * height:
                return torch.unflatten(features[:, prefix:].transpose(1, 2), 2, (grid_h, grid_w))
    raise UserError(
        f"The layer's features of shape {tuple(features.shape)} have no place in an image of {width} x {height} "
        "pixels; name another layer."
    )


def _fits(cells_h: int, cells_w: int, height: int, width: int) -> bool:
    """Whether a grid has an image's aspect to the cell, or is square, as where the network squashes its input."""
    to_the_cell = (cells_h - 1) * width <= (cells_w + 1) * height and (cells_w - 1) * height <= (cells_h + 1) * width
    return cells_h == cells_w or to_the_cell


def require_rows(features: Tensor, images: Tensor, layer: str) -> None:
    """Refuse features of which row i is not that of image i, as inside attention over windows.

    Raises:
        UserError: if there are more or fewer rows than images.
    """
    if len(features) != len(images):
        raise UserError(
            f"The layer {layer} gives {len(features)} rows for {len(images)} images (inside attention over windows, or "
            "with tokens first?), so that none is that of an image; name the block around it, or another layer."
        )


def refuse_single_cell(image_hw: tuple[int, int]) -> NoReturn:
    """Refuse features of one cell for a whole image of that size.

    Raises:
        UserError: always.
    """
    height, width = image_hw
    raise UserError(
        f"The features that are read have a single cell for the image of {width} x {height} pixels, so that a map "
        f"would be the same everywhere; use a larger input such as `input_size={_ADVISED_CELLS * max(image_hw)}`, or "
        "a layer below."
    )
