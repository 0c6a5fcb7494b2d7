"""Folders and text tables of data sets: rows, file names, and problems with them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from wsloc.datasets.dataset import FileProblem
from wsloc.errors import UserError, listed
from wsloc.files.reading import read_lines

Rows = list[list[str]]
_MAX_NAMED = 3


def read_rows(path: Path, separator: str | None = None, max_columns: int = -1) -> Rows:
    """The rows of a text table, without empty lines.

    Args:
        path: of the table.
        separator: between the columns; None for spaces.
        max_columns: the last column takes the rest of the line; -1 for no limit.

    Raises:
        UserError: if it is missing or no text.
    """
    lines = read_lines(path, missing="check `root` and `split`")
    splits = max_columns - 1 if max_columns > 0 else -1
    return [[field.strip() for field in line.split(separator, splits)] for line in lines]


def read_table(path: Path, columns: int, example: str, separator: str | None = None, max_columns: int = -1) -> Rows:
    """The rows of a text table that all have so many columns; else as :func:`read_rows`.

    Raises:
        UserError: also naming a row that is too short or too long, beside the example of a right one.
    """
    rows = read_rows(path, separator, max_columns)
    for row in rows:
        if len(row) != columns:
            raise UserError(f"{path} must hold rows '{example}', not {' '.join(row)!r}.")
    return rows


def whole_number(path: Path, text: str) -> int:
    """A number of a table.

    Raises:
        UserError: if it is none.
    """
    try:
        return int(text)
    except ValueError as error:
        raise UserError(f"{path} holds {text!r} where a whole number belongs.") from error


def leaves(root: Path, file: str) -> bool:
    """Whether a file name of a table leads out of the folder that it belongs to."""
    # Absolute, since ../file is "relative to" the root "."; not resolved, since links are the user's own. By os.path,
    # which takes a third of pathlib's time: a data set may have millions of files.
    folder = os.path.normcase(os.path.abspath(root))  # noqa: PTH100
    path = os.path.normcase(os.path.normpath(os.path.join(folder, file)))  # noqa: PTH118
    return path != folder and not path.startswith(os.path.join(folder, ""))  # noqa: PTH118


def require_folder(root: Path, holds: str) -> None:
    """Refuse a folder that is missing.

    Raises:
        UserError: saying what it should hold.
    """
    if not root.is_dir():
        raise UserError(f"The folder {root} does not exist; `root` names the one that holds {holds}.")


def find_folder(root: Path, below: Sequence[str], marker: str, hint: str | None = None) -> Path:
    """The folder of a data set: the first of some below ``root``, or ``root`` itself, that holds a marker.

    Args:
        root: where to look.
        below: folders relative to it, the usual one first.
        marker: a file or folder in the one that is sought.
        hint: what to do if there is none.

    Raises:
        UserError: if there is none.
    """
    for folder in (*(root / name for name in below), root):
        if (folder / marker).exists():
            return folder
    holds = Path(below[0]).parts[0]
    require_folder(root, holds)
    hint = hint or f"`root` names the folder that holds {holds}"
    raise UserError(f"There is no {Path(below[0], marker).as_posix()} in {root}; {hint}.")


def require_inside(path: Path, root: Path, files: Iterable[str]) -> None:
    """Refuse a table that names files outside the data set.

    Raises:
        UserError: naming the first.
    """
    for file in files:
        if leaves(root, file):
            raise UserError(f"{path} names {file!r}, which is outside the data set.")


def repeated(path: Path, names: Iterable[str]) -> list[FileProblem]:
    """A sentence for each name that a list holds more than once."""
    counts = Counter(names)
    return [(path, f"{name} is listed {count} times") for name, count in counts.items() if count > 1]


def strangers(path: Path, names: Iterable[str], what: str) -> list[FileProblem]:
    """One sentence on the names that a list should not hold, or lacks; none if there are none."""
    found = list(dict.fromkeys(names))
    if not found:
        return []
    return [(path, f"{what} ({len(found)}): {listed(found, _MAX_NAMED)}")]


def one_of(folder: Path, names: Sequence[str]) -> Path | None:
    """The first of some files that is there."""
    return next((folder / name for name in names if (folder / name).is_file()), None)
