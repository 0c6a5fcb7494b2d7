"""The kinds of error that wsloc raises on purpose, and how their sentences are worded."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class UserError(Exception):
    """Something the user can fix: a missing folder, a wrong setting, weights of another network.

    The message is one sentence that says what is wrong and what to do. It names settings in backquotes, as Python
    spells them: `` `limit` ``, `` `resize='squash'` ``. The command line prints it to standard error with flags in
    their place and exits with status 2, without a traceback.
    """


class ItemError(Exception):
    """One image, or one (image, class) pair, that cannot be processed.

    The pipeline records it as a failure of that item and continues.
    """


class MissingMaskError(ItemError):
    """An image of which the data set has no mask, as of most images of VOC; it is not judged by masks."""


def one_line(error: BaseException) -> str:
    """What an error says, without its line breaks."""
    return " ".join(str(error).split())


def listed(names: Sequence[str], max_names: int) -> str:
    """``a, b, c``, or ``a, b, ...`` if there are more than ``max_names``."""
    return ", ".join(names[:max_names]) + (", ..." if len(names) > max_names else "")


def did_you_mean(name: object, known: Iterable[str], otherwise: str = "") -> str:
    """``did you mean NAME?`` with the known name that is nearest to a wrong one; something else where none is near."""
    close = difflib.get_close_matches(str(name), list(known), n=1)
    return f"did you mean {close[0]}?" if close else otherwise


def counted(count: int, noun: str) -> str:
    """``1 item``, ``2,500 items``: the noun is given in the singular and takes an s, or es."""
    plural = "" if count == 1 else "es" if noun.endswith(("x", "s")) else "s"
    return f"{count:,} {noun}{plural}"
