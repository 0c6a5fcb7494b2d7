"""Whether the cells of a layer's features lie in the order of the image.

Tokens may have an order of their own (Hiera's go by mask units), and a matrix of attention has the shape of a grid. So
one half of an image of noise is exchanged, and it is seen whether the cells of that half are those that change.
"""

from __future__ import annotations

import torch
from torch import Tensor

from wsloc.errors import UserError

_TELLING = 1.5
"""How many times as much as the others the cells that change most must change; else all of them see the whole image."""
_IN_PLACE = 0.65
"""Of the cells of both halves, how many must change more, or less, than the median cell of the other half. By chance it
is one half; of timm's networks with random weights, those in order have 0.72 or more, most of them 1."""


def probes(example: Tensor) -> Tensor:
    """Three images of noise ``(3, C, H, W)``: one, the same with another right half, and with another lower half.

    Args:
        example: ``(1, C, H, W)``, for its size, type and device.
    """
    noise = torch.randn((2, *example.shape[1:]), generator=torch.Generator().manual_seed(0))
    one, other = noise.to(example)
    height, width = one.shape[1:]
    right, lower = one.clone(), one.clone()
    right[:, :, width // 2 :] = other[:, :, width // 2 :]
    lower[:, height // 2 :] = other[:, height // 2 :]
    return torch.stack([one, right, lower])


def are_located(grids: Tensor) -> bool:
    """Whether the cells that change are those of the half of the image that does.

    Of fewer than four cells along a side it cannot be told; they are taken for located.

    Args:
        grids: ``(3, K, h, w)``, the features of :func:`probes`.
    """
    return all(_follow(changes) for changes in _changes(grids))


def require_order(grids: Tensor, layer: str) -> None:
    """Refuse cells that change elsewhere than the image; not those that each see all of it, or none.

    Args:
        grids: ``(3, K, h, w)``, the features of :func:`probes`.
        layer: their layer's name; empty for the input of a pooling.

    Raises:
        UserError: it names the layer.
    """
    if any(_differ(changes) and not _follow(changes) for changes in _changes(grids)):
        raise UserError(
            f"The features of the layer {layer or 'before the pooling'} change elsewhere than the image (tokens in an "
            "order of their own, or a matrix of attention?); name a later layer, or the block around it."
        )


def _changes(grids: Tensor) -> tuple[Tensor, Tensor]:
    """How much each cell changes with the right half, ``(h, w)``, and with the lower half, ``(w, h)``."""
    to_right, downwards = (grids[1:] - grids[0]).float().norm(dim=1)
    return to_right, downwards.T


def _differ(changes: Tensor) -> bool:
    """Whether some cells change much more than others."""
    ranked = changes.flatten().sort().values
    count = len(ranked) // 2
    return bool(ranked[-count:].mean() > _TELLING * ranked[:count].mean())


def _follow(changes: Tensor) -> bool:
    """Whether the right half of the cells changes more than the left."""
    half = changes.shape[1] // 2
    if half < 2:
        return True
    other, exchanged = changes[:, :half], changes[:, -half:]
    as_expected = torch.cat([exchanged > other.median(), other < exchanged.median()])
    return float(as_expected.float().mean()) >= _IN_PLACE
