"""How library code reports progress; only the command line draws it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Progress(Protocol):
    """Passes on the items that work is done on, and may show how many have gone by."""

    def __call__(self, items: Iterable[T], what: str, unit: str, total: int | None = None) -> Iterable[T]:
        """Pass on items in their order.

        Args:
            items: what the work is done on.
            what: the work, in a word or two.
            unit: what an item is, in the singular.
            total: the number of items where ``items`` has no length.
        """


def silent(items: Iterable[T], what: str, unit: str, total: int | None = None) -> Iterable[T]:  # noqa: ARG001
    """Show nothing; the default in library code."""
    return items
