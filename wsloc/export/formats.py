"""All formats; a new one is a writer and a line here (and in ``config.ExportFormat``)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wsloc.export import coco, image_folder, voc
from wsloc.export.export_settings import Media
from wsloc.export.label_studio import IMAGES, write_label_studio
from wsloc.export.writer_context import TRAIN, VAL, Writer
from wsloc.export.yolo import write_yolo


@dataclass(frozen=True, slots=True)
class Format:
    """What is special to a format.

    Attributes:
        write: writes its files.
        image_folders: where its readers look for the images of each split that it has, in the export.
        media: what becomes of the images where nothing is asked for.
        finds_images_by_path: whether its files name images by a path, so that they may stay where they are.
        needs_images: whether its files are useless without the images beside them.
        suffix: that all images have; None for their own.
        ignores: whether it can mark a region that is to be ignored.
        has_outlines: whether it can hold the outline of a mask.
    """

    write: Writer
    image_folders: dict[str, Path]
    media: Media = "copy"
    finds_images_by_path: bool = False
    needs_images: bool = False
    suffix: str | None = None
    ignores: bool = True
    has_outlines: bool = False


FORMATS: dict[str, Format] = {
    "coco": Format(
        coco.write_coco,
        {split: Path(name) for split, name in coco.SPLIT_NAMES.items()},
        finds_images_by_path=True,
        has_outlines=True,
    ),
    "voc": Format(voc.write_voc, dict.fromkeys((TRAIN, VAL), voc.DEVKIT / "JPEGImages"), suffix=voc.SUFFIX),
    "yolo": Format(write_yolo, {split: Path("images", split) for split in (TRAIN, VAL)}, ignores=False),
    "imagefolder": Format(
        image_folder.write_image_folder,
        {split: Path(name) for split, name in image_folder.SPLIT_NAMES.items()},
        needs_images=True,
    ),
    "label-studio": Format(write_label_studio, {TRAIN: Path(IMAGES)}, media="none", finds_images_by_path=True),
    "cvat": Format(coco.write_cvat, {TRAIN: Path("images")}, media="none", finds_images_by_path=True),
}
"""By the name that ``format`` takes."""
