"""What the library logs: notes counted and said once at the end, and all of it in the log file of a run."""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import shlex
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from wsloc import __version__
from wsloc.errors import UserError
from wsloc.plugins import named_error

LOG = "log.txt"
"""In a run folder: what was logged, with times."""
_log = logging.getLogger(__name__)
_package = logging.getLogger("wsloc")
_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class _LogFile(logging.FileHandler):
    """The log file; where it cannot be written, as on a full disk, neither can the results, which say so."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Say nothing here."""

    def close(self) -> None:
        """Close it, whether or not its last lines can be written."""
        with contextlib.suppress(OSError):
            super().close()


class _RunLog(logging.handlers.MemoryHandler):
    """Keeps what is logged until there is a run folder, then writes it there."""

    def __init__(self) -> None:
        super().__init__(capacity=1, flushLevel=logging.CRITICAL + 1)

    def write_to(self, path: Path) -> None:
        try:
            file = _LogFile(path, encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise UserError(
                f"{path} cannot be written: {error.strerror}; make room, or give another folder."
            ) from error
        file.setFormatter(logging.Formatter(_FORMAT))
        self.setTarget(file)
        self.flush()


class _Counter(logging.Handler):
    """Collects the first argument of notes, the name that they begin with, by the rest of them.

    Notes are what the library logs as INFO.
    """

    def __init__(self) -> None:
        super().__init__()
        self.names: dict[str, dict[str, None]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno == logging.INFO and record.name != __name__:
            name = str(record.args[0]) if isinstance(record.args, tuple) and record.args else ""
            self.names.setdefault(record.getMessage().removeprefix(f"{name}: "), {})[name] = None


def _note_warning(show: Callable[..., None], message: Warning | str, *place: object) -> None:
    """Log what Pillow warns of with the image's name, which Pillow does not tell; show any other warning as usual."""
    # Without the reader there is no image; the help does without it.
    images = sys.modules.get("wsloc.images")
    name = images.being_read() if images else None
    text = " ".join(str(message).split()).rstrip(".")
    if name is None:
        _log.warning("%s", text)
        show(message, *place)
    else:
        logging.getLogger("wsloc.images").info("%s: %s", name, text)


@contextlib.contextmanager
def noted(command: Sequence[str], level: str = "info") -> Iterator[None]:
    """Print a line on standard error for each kind of note that wsloc logs inside the ``with`` block.

    Args:
        command: what was typed, for the log file.
        level: of what the log file gets, ``info`` or ``debug``; :func:`log_into` says where it is.
    """
    counter, run_log = _Counter(), _RunLog()
    before = _package.level
    _package.setLevel(level.upper())
    _package.addHandler(counter)
    _package.addHandler(run_log)
    _log.info("%s, version %s", shlex.join(command), __version__)
    try:
        with warnings.catch_warnings():
            # Of each image, not of the first alone.
            warnings.filterwarnings("always", module=r"PIL\.")
            warnings.showwarning = partial(_note_warning, warnings.showwarning)
            yield
        _log.info("done")
    except BaseException as error:
        _log.error("ended by %s", named_error(error))
        raise
    finally:
        _package.removeHandler(counter)
        _package.removeHandler(run_log)
        _package.setLevel(before)
        if run_log.target is not None:
            run_log.target.close()
        _print_notes(counter)


def log_into(folder: Path) -> None:
    """Write what was logged so far, and what will be, into a file of a run folder."""
    for handler in _package.handlers:
        if isinstance(handler, _RunLog):
            handler.write_to(folder / LOG)


def _print_notes(counter: _Counter) -> None:
    from wsloc.cli.flags import with_flags

    for text, names in counter.names.items():
        such = next(iter(names))
        what = such if len(names) == 1 else f"{such} and {len(names) - 1:,} more"
        print(f"wsloc: {what}: {with_flags(text)}.", file=sys.stderr)
