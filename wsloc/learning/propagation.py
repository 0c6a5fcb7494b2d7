"""Propagation of maps among neighbors that look alike to a network: a random walk, as Ahn and Kwak 2018 use it.

Coarse features know what a place shows, but not where it ends; fine features know which neighbors belong together, but
not to what. The walk joins both: parts of the object that were missed are filled, and what was painted over its border
is lost to the background.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
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
    transitions = torch.empty(WINDOW**2, *vectors.shape[1:])
    for index, neighbors in enumerate(_neighbors(directions)):
        torch.sum(directions * neighbors, dim=0, out=transitions[index])
    # Beyond the edge of the grid the cosine is 0, so that no step leaves it.
    transitions = transitions.clamp(min=0) ** SHARPNESS
    # Also for a vector of zeros, which resembles nothing.
    transitions[WINDOW**2 // 2] = 1
    transitions /= transitions.sum(dim=0)
    for _ in range(STEPS):
        walked = torch.zeros_like(maps)
        for weights, neighbors in zip(transitions, _neighbors(maps), strict=True):
            walked += weights * neighbors
        maps = walked
    return maps


def _neighbors(values: Tensor) -> Iterator[Tensor]:
    """The values ``(C, H, W)`` at each place of the window in turn, 0 beyond the edge; views, not copies."""
    height, width = values.shape[1:]
    padded = F.pad(values, [WINDOW // 2] * 4)
    for index in range(WINDOW**2):
        row, column = divmod(index, WINDOW)
        yield padded[:, row : row + height, column : column + width]
