"""What the readers of images and folders note of single ones, counted and said once at the end."""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import partial


class _Counter(logging.Handler):
    """Collects the first argument of messages, the name that they begin with, by the rest of them."""

    def __init__(self) -> None:
        super().__init__()
        self.names: dict[str, dict[str, None]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        name = str(record.args[0]) if isinstance(record.args, tuple) and record.args else ""
        self.names.setdefault(record.getMessage().removeprefix(f"{name}: "), {})[name] = None


def _note_warning(show: Callable[..., None], message: Warning | str, *place: object) -> None:
    """Log what Pillow warns of with the image's name, which Pillow does not tell; show any other warning as usual."""
    # Without the reader there is no image; the help does without it.
    images = sys.modules.get("wsloc.images")
    name = images.being_read() if images else None
    if name is None:
        show(message, *place)
    else:
        logging.getLogger("wsloc.images").info("%s: %s", name, " ".join(str(message).split()).rstrip("."))


@contextlib.contextmanager
def counted_notes() -> Iterator[None]:
    """Print a line on standard error for each kind of note that wsloc logs inside the ``with`` block."""
    from wsloc.cli.flags import with_flags

    log, counter = logging.getLogger("wsloc"), _Counter()
    level = log.level
    log.setLevel(logging.INFO)
    log.addHandler(counter)
    try:
        with warnings.catch_warnings():
            # Of each image, not of the first alone.
            warnings.filterwarnings("always", module=r"PIL\.")
            warnings.showwarning = partial(_note_warning, warnings.showwarning)
            yield
    finally:
        log.removeHandler(counter)
        log.setLevel(level)
        for text, names in counter.names.items():
            such = next(iter(names))
            what = such if len(names) == 1 else f"{such} and {len(names) - 1:,} more"
            print(f"wsloc: {what}: {with_flags(text)}.", file=sys.stderr)
