"""Own images: class sub-folders, loose images with a CSV file of labels, or a glob."""

from __future__ import annotations

import csv
import glob
import io
import os
from pathlib import Path

from wsloc.datasets.dataset import Dataset
from wsloc.datasets.tables import leaves, require_folder
from wsloc.errors import UserError
from wsloc.files.reading import read_text
from wsloc.images import IMAGE_SUFFIXES
from wsloc.records import ImageRecord

_HEADER_WORDS = frozenset({"image", "images", "file", "filename", "path"})


def open_class_folders(root: Path) -> Dataset:
    """Images in sub-folders that are named after their class; loose images have no label.

    Raises:
        UserError: if the folder is missing or holds no image.
    """
    require_folder(root, "the images")
    images = []
    for path in _image_files(root):
        relative = path.relative_to(root)
        labels = relative.parts[:1] if len(relative.parts) > 1 else ()
        images.append(ImageRecord(relative.as_posix(), relative.as_posix(), path, labels))
    if not images:
        raise UserError(f"There is no image ({', '.join(sorted(IMAGE_SUFFIXES))}) in {root} or its sub-folders.")
    return Dataset("folder", root, _sorted_labels(images), tuple(images))


def open_labeled_images(root: Path, labels_csv: Path) -> Dataset:
    """Images that a CSV file names, rows ``image,label[;label...]``, paths relative to ``root``.

    A first row ``image,label`` is a header. Rows of the same image are joined. A file that does not
    exist is found out, and recorded, when it is read.

    Raises:
        UserError: if the folder or the file is missing, or a row is malformed or leaves the folder.
    """
    require_folder(root, "the images")
    labels: dict[str, dict[str, None]] = {}
    for number, row in enumerate(read_csv(labels_csv, "labels"), start=1):
        if number == 1 and is_header(row):
            continue
        if len(row) != 2:
            remedy = "; separate image and labels by a comma" if len(row) == 1 and ";" in row[0] else ""
            raise UserError(
                f"{labels_csv}, row {number}: expected image,label[;label...] but found {len(row)} columns{remedy}."
            )
        file = Path(row[0].strip()).as_posix()
        if file == ".":
            raise UserError(f"{labels_csv}, row {number}: the image has no name.")
        if leaves(root, file):
            raise UserError(f"{labels_csv}, row {number}: {file} is outside {root}.")
        names = [name.strip() for name in row[1].split(";") if name.strip()]
        labels.setdefault(file, {}).update(dict.fromkeys(names))
    if not labels:
        raise UserError(f"{labels_csv} names no image; it needs rows image,label[;label...].")
    images = [ImageRecord(file, file, root / file, tuple(names)) for file, names in labels.items()]
    return Dataset("folder", root, _sorted_labels(images), tuple(images))


def open_glob(pattern: str) -> Dataset:
    """The images that a glob such as ``photos/**/*.jpg`` matches, without labels.

    Raises:
        UserError: if it matches no image.
    """
    paths = sorted(Path(name) for name in glob.glob(pattern, recursive=True))
    paths = [path for path in paths if path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES]
    if not paths:
        raise UserError(f"`images={pattern!r}` matches no image; quote the pattern and check the folder.")
    root = Path(os.path.commonpath([path.parent for path in paths]) or ".")
    files = [path.relative_to(root).as_posix() for path in paths]
    images = tuple(ImageRecord(file, file, path) for file, path in zip(files, paths, strict=True))
    return Dataset("images", root, (), images)


def _image_files(root: Path) -> list[Path]:
    """All images below a folder, also through links to folders, each folder once."""
    files: list[Path] = []
    seen: set[Path] = set()
    for folder, subfolders, names in os.walk(root, followlinks=True):
        real = Path(folder).resolve()
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        files += [Path(folder, name) for name in names if Path(name).suffix.lower() in IMAGE_SUFFIXES]
    return sorted(path for path in files if path.is_file())


def _sorted_labels(images: list[ImageRecord]) -> tuple[str, ...]:
    return tuple(sorted({label for image in images for label in image.labels}))


def is_header(row: list[str]) -> bool:
    """Whether the first row of a CSV file names its columns."""
    return row[0].strip().lower() in _HEADER_WORDS


def read_csv(path: Path, what: str) -> list[list[str]]:
    """The rows of a CSV file that are not empty.

    Args:
        path: of the file.
        what: it holds, for the sentence.

    Raises:
        UserError: if it cannot be read.
    """
    text = read_text(path, f"The table of {what}")
    try:
        return [row for row in csv.reader(io.StringIO(text)) if row]
    except csv.Error as error:
        raise UserError(f"The table of {what} {path} cannot be read: {error}.") from error
