"""Where the features of a layer inside attention over windows lie in the image.

Such a layer gives rows of windows, not of images, and the code around it has shifted, padded and ordered them in a way
of its own. That way is not guessed but asked for: some positions of the layer are marked, and it is seen at which cells
of the image the marks arrive.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Arrive = Callable[[Tensor], Tensor]
"""From the marked ones of all positions of two images, bool ``(2 P,)``, to the cells that they reach, ``(2, h, w)``."""


@dataclass(frozen=True, slots=True, eq=False)
class WindowLayout:
    """The order of a layer's positions; every cell of the image has one, a position of padding has no cell.

    Attributes:
        channels_dim: the dimension of the channels among those of the layer's features; all others are positions.
        source: int64 ``(h, w)``, the position of each cell among those of its own image.
    """

    channels_dim: int
    source: Tensor

    def to_grid(self, features: Tensor, images: int) -> Tensor:
        """The features of so many images, in windows, as ``(N, K, h, w)``."""
        rows = features.movedim(self.channels_dim, -1).reshape(images, -1, features.shape[self.channels_dim])
        return rows[:, self.source].movedim(-1, 1)

    def to_windows(self, grid: Tensor, features: Tensor) -> Tensor:
        """The features in windows, with those of a grid ``(N, K, h, w)`` in their places; padding stays."""
        last = features.movedim(self.channels_dim, -1)
        rows = last.reshape(len(grid), -1, last.shape[-1]).clone()
        rows[:, self.source] = grid.movedim(1, -1)
        return rows.reshape(last.shape).movedim(-1, self.channels_dim)


def source_of_cells(positions: int, arrive: Arrive) -> Tensor | None:
    """The position that each cell of an image comes from, found by as many pairs of marks as a number has bits.

    Args:
        positions: of both images, 2 P.
        arrive: tells where marks arrive.

    Returns:
        Int64 ``(h, w)``, from 0 to P - 1; None where a cell comes from no position or from several, where two cells
        come from one, or where the positions of the second image do not follow those of the first in the same order.
    """
    numbers = torch.arange(positions)
    source: Tensor | int = 0
    for bit in range(max(positions - 1, 1).bit_length()):
        marked = (numbers >> bit & 1).bool()
        ones, zeros = arrive(marked), arrive(~marked)
        if not (ones ^ zeros).all():
            return None
        source = source + (ones.long() << bit)
    assert isinstance(source, Tensor)
    first, second = source
    in_order = positions % 2 == 0 and torch.equal(second, first + positions // 2)
    return first if in_order and first.unique().numel() == first.numel() else None
