"""How far some work has come, told to whoever shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

Show = Callable[[int, str], None]
"""``show(done, note)`` shows how much is done by now; an empty note leaves the one before."""
Watch = Callable[[str, str, int], AbstractContextManager[Show]]
"""``watch(what, unit, total)`` is entered for as long as some work takes, and shows how far it has come."""


@contextmanager
def unwatched(_what: str, _unit: str, _total: int) -> Iterator[Show]:
    """Shows nothing."""
    yield lambda _done, _note: None
