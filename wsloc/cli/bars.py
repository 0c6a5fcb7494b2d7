"""Progress bars in the terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def bar(items: Iterable[T], what: str, unit: str, total: int | None = None) -> Iterable[T]:
    """A bar on standard error; see :class:`wsloc.progress.Progress`."""
    return tqdm(items, desc=what, unit=unit, total=total, dynamic_ncols=True)
