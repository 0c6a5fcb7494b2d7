"""What a format's writer is given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from wsloc.exporters.export_settings import Media, Outline
from wsloc.exporters.selection import ScoredBox

TRAIN, VAL = "train", "val"


@dataclass(frozen=True, slots=True)
class ExportImage:
    """An image that is exported.

    Attributes:
        image_id: as in the data set.
        file: as in the data set.
        name: its file in the export, without folder; where images stay in place and the format can say so, ``file``.
        split: ``train`` or ``val``.
        size_wh: width and height after EXIF transposition, which is the frame of the boxes.
        boxes: none for a picture of background.
    """

    image_id: str
    file: str
    name: str
    split: str
    size_wh: tuple[int, int]
    boxes: tuple[ScoredBox, ...]


@dataclass(frozen=True, slots=True)
class WriterContext:
    """What all images of an export share.

    Attributes:
        class_names: of the data set, in its order; then those that only the run has.
        category_ids: a number of each class: the data set's own, or from 1.
        numeric_ids: whether the data set's image ids are numbers, and are kept.
        splits: ``train``, and ``val`` where there is one.
        outline: of the boxes' masks.
        media: what becomes of the images.
        root: the data set's folder, absolute, without links.
        info: names of the run and of the versions.
    """

    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    numeric_ids: bool
    splits: tuple[str, ...]
    outline: Outline
    media: Media
    root: Path
    info: Mapping[str, object]

    def numbers(self) -> dict[str, int]:
        """The place of each class, from 0."""
        return {name: number for number, name in enumerate(self.class_names)}


Writer = Callable[[Path, Iterable[ExportImage], WriterContext], tuple[str, ...]]
"""From an empty folder and the images, which come once, to the files of a format; returns warnings. Images are put into
their folder before the writer sees them."""
