"""Own images: class sub-folders, loose images with a CSV file of labels, or a glob."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable
from pathlib import Path

from wsloc.datasets.dataset import Dataset, FileProblem
from wsloc.datasets.image_files import FoundFiles, find_images, is_hidden, sort_out
from wsloc.datasets.label_table import Columns, read_labels
from wsloc.datasets.tables import leaves, require_folder
from wsloc.errors import UserError, listed
from wsloc.images import IMAGE_SUFFIXES
from wsloc.records import ImageRecord

_SPLIT = re.compile(
    r"(train|training|trainval|val|valid|validation|dev|eval|test|testing)([-_ ]?(set|data|images?|\d))*",
    re.IGNORECASE,
)
_WORDNET = re.compile(r"n\d{8}\b")


def open_class_folders(root: Path, split: str = "") -> Dataset:
    """Images in sub-folders that are named after their class; loose images have no label.

    Args:
        root: folder that holds the class folders, or folders of splits that do.
        split: which of the latter.

    Raises:
        UserError: if the folder is missing or holds no image, or splits and none is chosen.
    """
    require_folder(root, "the images")
    if split and (leaves(root, split) or not (root / split).is_dir()):
        raise UserError(f"There is no folder {split!r} in {root}; `split` names one that holds class folders.")
    folder = root / split
    problems: list[FileProblem] = []
    found = find_images(folder, lambda error: problems.append((Path(error.filename), f"{error.strerror}")))
    if not found.images:
        such = f", only {found.counts()}" if found.others else ""
        raise UserError(
            f"There is no image ({', '.join(sorted(IMAGE_SUFFIXES))}) in {folder} or its sub-folders{such}."
        )
    if not split:
        _refuse_splits(root, found)
    found.say_others(folder)
    images = []
    for path in found.images:
        below, file = path.relative_to(folder).parts, path.relative_to(root).as_posix()
        images.append(ImageRecord(file, file, path, below[:1] if len(below) > 1 else ()))
    labels = _sorted_labels(images)
    problems += _empty_classes(folder, frozenset(labels))
    return Dataset("folder", root, labels, tuple(images), label_map_of(labels), problems=tuple(problems))


def _refuse_splits(root: Path, found: FoundFiles) -> None:
    """Else the splits would be taken for classes."""
    parts = [path.relative_to(root).parts for path in found.images]
    tops = {part[0] for part in parts if len(part) > 1}
    splits = sorted(name for name in tops if _SPLIT.fullmatch(name))
    with_classes = {part[0] for part in parts if len(part) > 2 and part[0] in splits}
    if splits and (len(splits) == len(tops) or len(with_classes) > 1):
        raise UserError(
            f"{root} holds the split folders {listed(splits, 5)}, which are no classes; choose one: "
            f"`split={splits[0]!r}`."
        )


def _empty_classes(folder: Path, classes: frozenset[str]) -> Iterable[FileProblem]:
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not is_hidden(path.name) and path.name not in classes:
            found = find_images(path)
            such = f", only {found.counts()}" if found.others and not found.images else ""
            yield path, f"holds no image of its own, so there is no class of its name{such}"


def open_labeled_images(root: Path, labels_csv: Path, columns: Columns | None = None) -> Dataset:
    """Images that a table names, rows ``image,label[;label...]``, paths relative to ``root``.

    Rows of the same image are joined. A file that does not exist is found out, and recorded, when it is read.

    Args:
        root: folder of the images.
        labels_csv: the table; see :func:`wsloc.datasets.label_table.read_labels`.
        columns: which hold images and labels, by their headers.

    Raises:
        UserError: if the folder or the file is missing, or a row is malformed or leaves the folder.
    """
    require_folder(root, "the images")
    labels = read_labels(labels_csv, root, columns or Columns())
    images = [ImageRecord(file, file, root / file, names) for file, names in labels.items()]
    class_names = _sorted_labels(images)
    return Dataset("folder", root, class_names, tuple(images), label_map_of(class_names))


def open_glob(pattern: str) -> Dataset:
    """The images that a glob such as ``photos/**/*.jpg`` matches, or all below a folder, without labels.

    Raises:
        UserError: if it matches no image.
    """
    # Not by pathlib, which raises where a name is too long.
    found = find_images(Path(pattern)) if os.path.isdir(pattern) else sort_out(matched_files(pattern))  # noqa: PTH112
    if not found.images:
        such = f", only {found.counts()}" if found.others else ""
        raise UserError(f"`images={pattern!r}` matches no image{such}; quote the pattern and check the folder.")
    found.say_others(pattern)
    root = Path(os.path.commonpath([path.parent for path in found.images]) or ".")
    files = [path.relative_to(root).as_posix() for path in found.images]
    images = tuple(ImageRecord(file, file, path) for file, path in zip(files, found.images, strict=True))
    return Dataset("images", root, (), images)


def matched_files(pattern: str) -> list[Path]:
    """The files that a glob matches; what it begins with is no pattern as far as there are folders of these names."""
    fixed = Path(pattern)
    while not os.path.exists(fixed):  # noqa: PTH110
        fixed = fixed.parent
    if not pattern or fixed.is_file():
        return [fixed] if fixed.is_file() and fixed == Path(pattern) else []
    rest = str(Path(pattern).relative_to(fixed))
    found = map(Path, glob.glob(rest, root_dir=fixed, recursive=True))
    return [fixed / path for path in found if not any(map(is_hidden, path.parts)) and (fixed / path).is_file()]


def _sorted_labels(images: list[ImageRecord]) -> tuple[str, ...]:
    return tuple(sorted({label for image in images for label in image.labels}))


def label_map_of(class_names: tuple[str, ...]) -> str | None:
    """Classes that are called by WordNet ids are found among ImageNet's."""
    return "imagenet" if class_names and all(map(_WORDNET.match, class_names)) else None
