"""The images of an epoch: their order, and reading them ahead of the steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from wsloc.errors import ItemError
from wsloc.ordered import ordered_map

Rows = NDArray[np.int64]
"""Indices of images, int64 ``(B,)``."""
Example = TypeVar("Example")


def shuffled_batches(rows: Rows, batch_size: int, seed: int, epoch: int) -> list[Rows]:
    """The images in the epoch's own order; no batch of one, which batch normalization cannot take."""
    batches = in_batches(np.random.default_rng([seed, epoch]).permutation(rows), batch_size)
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [np.concatenate(batches[-2:])]
    return batches


def in_batches(rows: Rows, batch_size: int) -> list[Rows]:
    """The images in their order; the last batch may be smaller."""
    return [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]


def read_batches(
    batches: list[Rows], read: Callable[[int], Example], pool: Executor | None, problems: dict[int, str]
) -> Iterator[list[tuple[int, Example]]]:
    """The images of each batch that can be read, with their indices.

    Args:
        batches: which images.
        read: reads one; an ``ItemError`` says why it cannot.
        pool: runs ``read`` ahead; None to read between the batches.
        problems: gets the reason of each image that cannot be read, by its index.
    """

    def attempt(row: int) -> Example | None:
        try:
            return read(row)
        except ItemError as error:
            problems[row] = str(error)
            return None

    rows = (int(row) for batch in batches for row in batch)
    examples = ordered_map(pool, attempt, rows, window=2 * max(map(len, batches), default=1))
    for batch in batches:
        yield [(int(row), example) for row in batch for example in [next(examples)] if example is not None]
