"""What the readers of images and folders note of single ones, counted and said once at the end."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator


class _Counter(logging.Handler):
    """Collects the first argument of messages, the name that they begin with, by the rest of them."""

    def __init__(self) -> None:
        super().__init__()
        self.names: dict[str, dict[str, None]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        name = str(record.args[0]) if isinstance(record.args, tuple) and record.args else ""
        self.names.setdefault(record.getMessage().removeprefix(f"{name}: "), {})[name] = None


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
            from wsloc.cli.flags import with_flags

            such = next(iter(names))
            what = such if len(names) == 1 else f"{such} and {len(names) - 1:,} more"
            print(f"wsloc: {what}: {with_flags(text)}.", file=sys.stderr)
