"""Lists of images by their web addresses, as people publish them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wsloc.datasets.label_table import Columns, column_of, is_label_header, read_rows_of
from wsloc.datasets.structured_tables import Rows
from wsloc.errors import UserError, listed
from wsloc.files.http_get import is_web_address
from wsloc.files.reading import read_lines
from wsloc.images import IMAGE_SUFFIXES


@dataclass(frozen=True, slots=True)
class ListedUrl:
    """A row of a list.

    Attributes:
        url: as it is written; not always a web address.
        labels: separated by semicolons; empty if there is none.
    """

    url: str
    labels: str


def read_url_list(path: Path, columns: Columns) -> list[ListedUrl]:
    """The rows of a table of web addresses, in its order.

    The addresses are in the column that begins with one, the labels in the other one of two, or in the one whose header
    is usual. A ``.txt`` has an address on each line.

    Args:
        path: of the table, in any form that :func:`wsloc.datasets.label_table.read_rows_of` reads.
        columns: their headers, where this does not tell.

    Raises:
        UserError: if it cannot be read, has no address, or the columns cannot be told.
    """
    if path.suffix.lower() == ".txt":
        rows, header = [[line] for line in read_lines(path, "The list of addresses")], []
    else:
        rows = read_rows_of(path, "addresses", 2)
        header = [] if not rows or any(map(_is_image, rows[0])) else rows[0]
    image = _url_column(path, rows[:2], header, columns.image)
    label = _label_column(path, rows[0], header, image, columns.label)
    for number, row in enumerate(rows, start=1):
        if len(row) != len(rows[0]):
            raise UserError(f"{path}, row {number}: expected {len(rows[0])} columns but found {len(row)}.")
    return [ListedUrl(row[image], "" if label is None else row[label]) for row in rows[len(header) > 0 :]]


def _is_image(cell: str) -> bool:
    """Whether a cell is no header: an address, of any kind, or a file."""
    return "://" in cell or Path(cell).suffix.lower() in IMAGE_SUFFIXES


def _url_column(path: Path, rows: Rows, header: Sequence[str], name: str | None) -> int:
    if name is not None:
        return column_of(path, header, name)
    found = sorted({index for row in rows for index, cell in enumerate(row) if is_web_address(cell)})
    if not found:
        raise UserError(f"{path} has no http or https address in its first rows; `image_column` names their column.")
    if found[1:]:
        which = listed([header[index] if header else f"number {index + 1}" for index in found], 5)
        raise UserError(f"{path} has addresses in the columns {which}; `image_column` names the one.")
    return found[0]


def _label_column(path: Path, first: Sequence[str], header: Sequence[str], image: int, name: str | None) -> int | None:
    if name is not None:
        return column_of(path, header, name)
    if len(first) == 2 and not header:
        return 1 - image
    found = [index for index, one in enumerate(header) if is_label_header(one) and index != image]
    if found[1:]:
        which = listed([header[index] for index in found], 5)
        raise UserError(f"{path} has labels in the columns {which}; `label_column` names the one.")
    return found[0] if found else None
