"""Ctrl-C and SIGTERM: the first ends a verb as an error would, the second ends the process at once."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

_SIGNALS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}


class Stopped(KeyboardInterrupt):
    """A signal asked the process to stop.

    Attributes:
        signal: its number.
    """

    def __init__(self, number: int) -> None:
        self.signal = signal.Signals(number)
        super().__init__(self.signal.name)


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Within it, the first of the signals raises :class:`Stopped` in the main thread."""
    asked: list[Stopped] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        if asked:
            # Whatever is half-done has a temporary name, so there is nothing that must be waited for.
            os.write(2, b"\nwsloc: stopped at once.\n")
            os._exit(128 + number)
        asked.append(Stopped(number))
        raise asked[0]

    _ignore_at_exit()
    # What is ignored, as by nohup, stays so; and only the main thread may choose.
    in_main = threading.current_thread() is threading.main_thread()
    before = {each: signal.getsignal(each) for each in _SIGNALS} if in_main else {}
    ours = {each: handler for each, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    try:
        for each in ours:
            signal.signal(each, stop)
        yield
    except Exception as error:
        # An import, for one, may fail in another way when it is interrupted.
        if asked:
            raise asked[0] from error
        raise
    finally:
        for each, handler in ours.items():
            signal.signal(each, handler)


@functools.cache
def _ignore_at_exit() -> None:
    """While Python tears itself down all is done, and a signal would only turn success into failure."""
    for each in _SIGNALS:
        atexit.register(signal.signal, each, signal.SIG_IGN)


@contextlib.contextmanager
def if_stopped(note: Callable[[], str]) -> Iterator[None]:
    """If the block is interrupted, note what is there by then and what is missing."""
    try:
        yield
    except KeyboardInterrupt as stop:
        stop.add_note(note())
        raise


def said(stop: KeyboardInterrupt, otherwise: str) -> tuple[str, int]:
    """One sentence without its full stop, and the exit status that shells know.

    Args:
        stop: what ended the verb; its last note, that of the outermost place, says what is missing.
        otherwise: that note, where there is none.
    """
    number = stop.signal if isinstance(stop, Stopped) else signal.SIGINT
    note = getattr(stop, "__notes__", [otherwise])[-1]
    return f"{_SIGNALS[number]}; {note}", 128 + number
