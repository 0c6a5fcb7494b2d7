"""What an export format is: what its writer is given, and what an export is once it has been written."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsloc.exporters.export_settings import Media, Outline
from wsloc.exporters.selection import ScoredBox
from wsloc.registries import FORMATS

TRAIN, VAL = "train", "val"
MASK_PICTURES = "mask_pictures"
"""Not ``masks``: next to a ``data.yaml`` Ultralytics would take that for semantic segmentation."""
Commands = list[tuple[str, str]]
"""What to type next: a title, and a command or lines of Python."""


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
        splits: ``train``, and ``val`` if there is one.
        outline: of the boxes' masks.
        media: what is done with the images.
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

    def class_indices(self) -> dict[str, int]:
        """The index of each class."""
        return {name: index for index, name in enumerate(self.class_names)}


Writer = Callable[[Path, Iterable[ExportImage], WriterContext], tuple[str, ...]]
"""From an empty folder and the images, which come once, to the files of a format; returns warnings. Images are put into
their folder before the writer sees them."""


@dataclass(frozen=True, slots=True)
class Export:
    """An export that has been written.

    Attributes:
        path: its folder.
        run: the folder of the run.
        manifest: as written.
        image_folders: where the images of each split are.
    """

    path: Path
    run: Path
    manifest: dict[str, Any]
    image_folders: dict[str, Path]

    @property
    def has_images(self) -> bool:
        """Whether the images are in the export, not where the data set has them."""
        return bool(self.manifest["layout"]["media"] != "none")


@dataclass(frozen=True, slots=True)
class Format:
    """All that is known of a format: an entry of :data:`wsloc.registries.FORMATS`.

    Attributes:
        write: writes its files.
        image_folders: where its readers look for the images of each split that it has, in the export.
        next_commands: what the tools that read it take.
        media: what is done with the images by default.
        finds_images_by_path: whether its files name images by a path, so that they may stay where they are.
        needs_images: whether its files are useless without the images next to them.
        needs_upright: whether boxes come back displaced from images with an EXIF orientation.
        needs_stems: whether its reader tells images apart by their paths without suffix.
        suffix: that all images have; None for their own.
        ignores: whether it can mark a region that is to be ignored.
        has_outlines: whether it can hold the outline of a mask.
    """

    write: Writer
    image_folders: dict[str, Path]
    next_commands: Callable[[Export], Commands] = lambda _export: []
    media: Media = "copy"
    finds_images_by_path: bool = False
    needs_images: bool = False
    needs_upright: bool = False
    needs_stems: bool = False
    suffix: str | None = None
    ignores: bool = True
    has_outlines: bool = False


def next_commands(export: Export) -> Commands:
    """What to type next in the tools that read an export, for its format and for its mask pictures."""
    kind: Format = FORMATS[export.manifest["format"]]
    commands = kind.next_commands(export)
    if export.manifest["layout"]["mask_pictures"]:
        images, masks = quoted(export.image_folders[TRAIN]), quoted(export.path / MASK_PICTURES)
        # Images in a sub-folder of their class need no labels; a copy does.
        command = f"wsloc localize --dataset folder --root {images} --labels CSV --masks {masks}"
        commands.append(("the masks as truth", command))
    return commands


def as_truth(export: Export, tool: str, file: str) -> tuple[str, str]:
    """How to judge the run by the boxes that people have corrected.

    Args:
        export: that they corrected.
        tool: what gives the file back, and how.
        file: its name, an instances file of COCO.
    """
    return f"corrected boxes as truth, {tool}", f"wsloc evaluate {quoted(export.run)} --annotations {file}"


def images_first(export: Export, folder: Path) -> Commands:
    """What to do before the rest where the images are not in the export."""
    if export.has_images:
        return []
    return [("first", f"put the images into {export.path / folder}, named as images.csv says")]


def quoted(path: Path) -> str:
    """A path for the shell."""
    return shlex.quote(str(path))
