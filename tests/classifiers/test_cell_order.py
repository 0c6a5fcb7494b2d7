"""Features in another order than the image are told from those in its order."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from wsloc.classifiers.cell_order import are_located, probes, require_order
from wsloc.errors import UserError


def test_the_probes_differ_in_one_half_each() -> None:
    one, right, lower = probes(torch.zeros(1, 2, 5, 4))
    assert (one != right).any(dim=0).tolist() == [[False, False, True, True]] * 5
    assert (one != lower).any(dim=0).tolist() == [[False] * 4] * 2 + [[True] * 4] * 3


def _cells(side: int = 4) -> Tensor:
    """The mean of each cell of 2 x 2 pixels, ``(3, 8, side, side)``."""
    return nn.functional.avg_pool2d(probes(torch.zeros(1, 8, 2 * side, 2 * side)), 2)


CHANGES: dict[str, tuple[Callable[[Tensor], Tensor], bool, bool]] = {
    "in order": (lambda cells: cells, True, True),
    "rows for columns": (lambda cells: cells.transpose(2, 3), False, False),
    "mirrored": (lambda cells: cells.flip(3), False, False),
    "upside down": (lambda cells: cells.flip(2), False, False),
    "by windows of 2 x 2": (lambda cells: nn.functional.pixel_unshuffle(cells, 2).reshape(cells.shape), False, False),
    "the same for every image": (torch.zeros_like, False, True),
    "too few to tell": (lambda cells: cells[:, :, :3, :3].flip(3), True, True),
    "each sees the whole image": (
        lambda cells: cells.flip(3) + 50 * cells.mean(dim=(2, 3), keepdim=True),
        False,
        True,
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_told(name: str) -> None:
    change, located, accepted = CHANGES[name]
    grids = change(_cells())
    assert are_located(grids) is located
    with contextlib.nullcontext() if accepted else pytest.raises(UserError, match="change elsewhere than the image"):
        require_order(grids, "any")


@given(st.permutations(range(64)))
def test_a_shuffled_order_is_refused(order: list[int]) -> None:
    shuffled = _cells(8).flatten(2)[:, :, order].unflatten(2, (8, 8))
    in_its_half = sum((place % 8 < 4) == (cell % 8 < 4) for place, cell in enumerate(order))
    if in_its_half <= 32:
        with pytest.raises(UserError, match=r"of the layer blocks\.1 change elsewhere than the image"):
            require_order(shuffled, "blocks.1")
