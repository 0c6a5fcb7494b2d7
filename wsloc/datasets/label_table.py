"""Tables that people wrote: what separates their columns, whether they begin with a header, and which columns count."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from wsloc.datasets.image_files import find_images
from wsloc.datasets.match_files import by_short_name
from wsloc.datasets.structured_tables import LABEL_SEPARATORS, Rows, read_json_lines, read_parquet
from wsloc.datasets.tables import leaves
from wsloc.errors import UserError, listed
from wsloc.files.reading import is_there, read_text
from wsloc.images import IMAGE_SUFFIXES

_SEPARATORS = "\t,;"
_BETWEEN_LABELS = re.compile(f"[{LABEL_SEPARATORS}]")
_IMAGE_WORDS = (
    "image images file files filename imagefile imagefilename imgfile fname path paths filepath imagepath imgpath "
    "imagename imgname img photo photos picture pictures imageid imageids imgid photoid fileid sampleid id ids uuid "
    "uid url urls imageurl imgurl"
)
"""Without case and anything but letters and digits; of several in a table the first of these."""
_LABEL_WORDS = (
    "label labels labelname class classes classname classlabel category categories categoryname species target targets "
    "tag tags breed diagnosis disease"
)
_IMAGE_HEADERS, _LABEL_HEADERS = _IMAGE_WORDS.split(), _LABEL_WORDS.split()


@dataclass(frozen=True, slots=True)
class Columns:
    """The headers of the columns that hold images and labels; None for the usual names."""

    image: str | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True)
class _Layout:
    image: int
    label: int
    has_header: bool


def read_rows_of(path: Path, what: str, columns: int) -> Rows:
    """The rows of a table that are not empty, their cells without spaces around them.

    Columns are separated by tabs, commas or semicolons: the first of these that gives the first row enough columns. The
    suffixes ``.jsonl``, ``.ndjson`` and ``.parquet`` stand for other kinds of tables, whose keys are the header.

    Args:
        path: of the file.
        what: it holds, for the sentences.
        columns: that each row needs.

    Raises:
        UserError: if it cannot be read.
    """
    if path.suffix.lower() in (".jsonl", ".ndjson"):
        return read_json_lines(path, what)
    if path.suffix.lower() == ".parquet":
        return read_parquet(path, what)
    text = read_text(path, f"The table of {what}")
    try:
        for separator in (*_SEPARATORS, ","):
            read = csv.reader(io.StringIO(text), delimiter=separator)
            first = next((row for row in read if any(map(str.strip, row))), [])
            if len(first) >= columns:
                break
        return [[cell.strip() for cell in row] for row in (first, *read) if any(map(str.strip, row))]
    except csv.Error as error:
        raise UserError(f"The table of {what} {path} cannot be read: {error}.") from error


def is_header(row: Sequence[str]) -> bool:
    """Whether the first row of a table names its columns, the first of which holds images."""
    return _plain(row[0]) in _IMAGE_HEADERS


def is_label_header(name: str) -> bool:
    """Whether a column or field of that name usually holds labels."""
    return _plain(name) in _LABEL_HEADERS


def inside(root: Path, name: str) -> str | None:
    """A file that a table names, relative to the folder that it is in; None if it is outside.

    A backslash is a part of the name where there is such a file, and else separates folders, as on Windows.
    """
    if "\\" in name and not is_there(root / name):
        name = PureWindowsPath(name).as_posix()
    path = Path(name)
    if not path.anchor and ".." not in path.parts:
        return path.as_posix()
    if leaves(root, name):
        return None
    return Path(os.path.relpath(Path.cwd() / root / name, Path.cwd() / root)).as_posix()


def read_labels(path: Path, root: Path, columns: Columns) -> dict[str, tuple[str, ...]]:
    """The labels of each image of a table, both in its order.

    A table of two columns needs no header; of one with more the headers say which columns hold images and labels.
    Images without a suffix are found in the folder. Labels are separated by ``;`` or ``|``.

    Args:
        path: of the table.
        root: folder of the images.
        columns: their headers.

    Raises:
        UserError: if the table or a row of it is malformed, names a file outside the folder, or an id of two files.
    """
    rows = read_rows_of(path, "labels", 2)
    finder = _Finder(root)
    layout = _layout_of(path, rows, columns, finder)
    labels: dict[str, dict[str, None]] = {}
    for number, row in enumerate(rows, start=1):
        where = f"{path}, row {number}"
        if len(row) != len(rows[0]) or len(row) < 2:
            raise UserError(f"{where}: expected image,label[;label...] but found {len(row)} columns.")
        if number == 1 and layout.has_header:
            continue
        if "://" in row[layout.image]:
            raise UserError(
                f"{where}: {row[layout.image]} is an address, and runs read files: fetch images from web servers first "
                "(wsloc fetch), and copy others to a disk."
            )
        if not row[layout.image] or (file := inside(root, row[layout.image])) == ".":
            raise UserError(f"{where}: the image has no name.")
        if file is None:
            raise UserError(f"{where}: {row[layout.image]} is outside {root}.")
        names = [name.strip() for name in _BETWEEN_LABELS.split(row[layout.label]) if name.strip()]
        labels.setdefault(finder.file_of(file, where), {}).update(dict.fromkeys(names))
    if not labels:
        raise UserError(f"{path} names no image; it needs rows image,label[;label...].")
    return {file: tuple(names) for file, names in labels.items()}


class _Finder:
    """Finds images by names without a suffix; the folder is looked through if there is such a name."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files: dict[str, list[str]] | None = None

    def candidates(self, name: str) -> list[str]:
        if Path(name).suffix.lower() in IMAGE_SUFFIXES or is_there(self._root / name):
            return [name]
        if self._files is None:
            paths = find_images(self._root).images
            self._files = by_short_name(path.relative_to(self._root).as_posix() for path in paths)
        return self._files.get(name, [])

    def file_of(self, name: str, where: str) -> str:
        """The file of that name; the name itself, which will be recorded as missing, if there is none."""
        found = self.candidates(name)
        if len(found) > 1:
            raise UserError(f"{where}: {name} is the name of {listed(found, 3)}; give the one that is meant.")
        return found[0] if found else name


def _layout_of(path: Path, rows: Rows, columns: Columns, finder: _Finder) -> _Layout:
    first = rows[0] if rows else []
    image, label = (None if name is None else column_of(path, first, name) for name in (columns.image, columns.label))
    plain = [_plain(name) for name in first]
    if image is None:
        image = next((plain.index(name) for name in _IMAGE_HEADERS if name in plain), None)
    if label is None:
        found = [index for index, name in enumerate(first) if is_label_header(name) and index != image]
        label = found[0] if len(found) == 1 else None
    if len(first) <= 2 and columns == Columns() and image is None:
        # No word of the lists; a header all the same where it names no image, and is above one and no class.
        names_image = [bool(finder.candidates(row[0])) for row in rows[:2]]
        is_class = len(first) == 2 and first[1] in {row[-1] for row in rows[1:]}
        is_above_one = names_image == [False, True] and not is_class
        return _Layout(0, 1, is_above_one or (label == 1 and names_image[:1] == [False]))
    if len(first) <= 2:
        image = image if image is not None else 1 - (label or 0)
        return _Layout(image, 1 - image, has_header=True)
    if image is None or label is None:
        raise UserError(
            f"{path} has the columns {', '.join(first)}; name those of the images and the labels: `image_column` and "
            "`label_column`."
        )
    return _Layout(image, label, has_header=True)


def column_of(path: Path, header: Sequence[str], name: str) -> int:
    """The column of a table with that header, whose case does not matter where that is clear.

    Raises:
        UserError: if there is none, or several.
    """
    found = [index for index, own in enumerate(header) if own == name]
    found = found or [index for index, own in enumerate(header) if own.casefold() == name.casefold()]
    if len(found) != 1:
        what = "several columns" if found else "no column"
        raise UserError(f"{path} has {what} {name!r}; its header is {', '.join(header)}.")
    return found[0]


def _plain(header: str) -> str:
    return re.sub(r"[\W_]+", "", header.lower())
