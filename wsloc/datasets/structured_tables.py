"""Tables that programs wrote: JSON lines and Parquet, as rows of text below a header."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wsloc.errors import UserError, one_line
from wsloc.files.documents import parse_json
from wsloc.files.names import is_text
from wsloc.files.reading import read_text

Rows = list[list[str]]
LABEL_SEPARATORS = ";|"
"""Each of them separates the labels in a cell; the first joins those of a list."""


def read_json_lines(path: Path, what: str) -> Rows:
    """The objects of a file with one JSON object per line, below a row of their keys.

    Args:
        path: of the file.
        what: it holds, for the sentences.

    Raises:
        UserError: if it cannot be read, or a line is no object of plain values.
    """
    objects: list[Mapping[str, Any]] = []
    for number, line in enumerate(read_text(path, f"The table of {what}").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            found = parse_json(line)
        except ValueError as error:
            raise UserError(f"{path}, line {number} is not JSON: {one_line(error)}.") from error
        if not isinstance(found, dict):
            raise UserError(f'{path}, line {number} is not a JSON object, such as {{"image": "a.jpg", ...}}.')
        objects.append(found)
    return _rows(path, objects)


def read_parquet(path: Path, what: str) -> Rows:
    """The rows of a Parquet file, below a row of the names of its columns; needs pyarrow.

    Args:
        path: of the file.
        what: it holds, for the sentences.

    Raises:
        UserError: if pyarrow is not there, or the file cannot be read or holds other than plain values.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise UserError(f"{path} needs pyarrow to be read: pip install 'wsloc[parquet]'.") from error
    if not path.is_file():
        raise UserError(f"The table of {what} {path} does not exist; check the path.")
    try:
        # A file, not a folder of partitions.
        objects = parquet.ParquetFile(path).read().to_pylist()
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise UserError(f"The table of {what} {path} cannot be read: {one_line(error)}.") from error
    return _rows(path, objects)


def _rows(path: Path, objects: Sequence[Mapping[str, Any]]) -> Rows:
    header = list(dict.fromkeys(name for one in objects for name in one))
    if not header:
        return []
    return [header, *([_cell(path, name, one.get(name)) for name in header] for one in objects)]


def _cell(path: Path, name: str, value: object) -> str:
    """A value as a cell of a table of text has it; several are joined as labels are there."""
    if isinstance(value, list):
        texts = [_cell(path, name, one) for one in value]
        if any(sign in text for text in texts for sign in LABEL_SEPARATORS):
            raise UserError(f"{path}: a value of {name} holds ; or |, which separate labels; rename it.")
        return LABEL_SEPARATORS[0].join(texts)
    if isinstance(value, dict | bytes):
        raise UserError(f"{path}: the column {name} holds {type(value).__name__}, but text or numbers are needed.")
    text = "" if value is None else str(value).strip()
    if not is_text(text):
        raise UserError(f"{path}: the column {name} holds {text[:40]!r}, which is no text that can be written.")
    return text
