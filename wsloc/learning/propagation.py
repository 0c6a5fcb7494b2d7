"""Propagation of maps among neighbors that look alike to a network: a random walk, as Ahn and Kwak 2018 use it.

Coarse features know what a place shows, but not where it ends; fine features know which neighbors belong together, but
not to what. The walk joins both: parts of the object that were missed are filled, and what was painted over its border
is lost to the background.
"""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812
from torch import Tensor

WINDOW = 5
"""Side of the square of neighbors that a step reaches, in positions; odd."""
SHARPNESS = 8
"""Power of the cosine of two vectors; a higher one crosses borders less."""
STEPS = 20
"""Of the walk."""


def propagate(maps: Tensor, vectors: Tensor) -> Tensor:
    """Maps after a random walk over their grid.

    Args:
        maps: float32 ``(N, H, W)``.
        vectors: float32 ``(D, H, W)``, what the positions look like.

    Returns:
        Float32 ``(N, H, W)``, at each position a mean of values around it.
    """
    directions = F.normalize(vectors, dim=0)
    cosines = (directions.flatten(1)[:, None] * _neighbors(directions)).sum(dim=0)
    # Across the border the cosine is 0, so that no step leaves the grid.
    transitions = cosines.clamp(min=0) ** SHARPNESS
    # Also for a vector of zeros, which resembles nothing.
    transitions[WINDOW**2 // 2] = 1
    transitions = transitions / transitions.sum(dim=0)
    for _ in range(STEPS):
        maps = (transitions * _neighbors(maps)).sum(dim=1).view_as(maps)
    return maps


def _neighbors(values: Tensor) -> Tensor:
    """The values ``(C, H, W)`` around each position: ``(C, WINDOW ** 2, H * W)``, 0 beyond the border."""
    return F.unfold(values[:, None], WINDOW, padding=WINDOW // 2)
