"""A progress bar for Python: a widget in a notebook, a line of text elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from tqdm.auto import tqdm

T = TypeVar("T")


def progress_bar(items: Iterable[T], what: str, unit: str, total: int | None = None) -> Iterable[T]:
    """A bar for the argument ``progress`` of wsloc's functions; see :class:`wsloc.progress.Progress`."""
    bar: Iterable[T] = tqdm(items, desc=what, unit=unit, total=total)
    return bar
