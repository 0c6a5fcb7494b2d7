"""What the image reader notes of single images, counted and said once at the end."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator


class _Counter(logging.Handler):
    """Collects the names that a message begins with, by the rest of it."""

    def __init__(self) -> None:
        super().__init__()
        self.names: dict[str, dict[str, None]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        name, _, text = record.getMessage().rpartition(": ")
        self.names.setdefault(text, {})[name] = None


@contextlib.contextmanager
def counted_notes() -> Iterator[None]:
    """Print a line on standard error for each kind of note that wsloc logs inside the ``with`` block."""
    log, counter = logging.getLogger("wsloc"), _Counter()
    level = log.level
    log.setLevel(logging.INFO)
    log.addHandler(counter)
    try:
        yield
    finally:
        log.removeHandler(counter)
        log.setLevel(level)
        for text, names in counter.names.items():
            such = next(iter(names))
            what = such if len(names) == 1 else f"{len(names):,} images, such as {such}"
            print(f"wsloc: {what}: {text}.", file=sys.stderr)
