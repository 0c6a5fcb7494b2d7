"""PASCAL VOC: one XML file per image, and the lists of ImageSets/Main."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from wsloc.boxes import to_voc
from wsloc.datasets.voc_xml import Fields, format_xml
from wsloc.exporters.formats import TRAIN, VAL, Commands, Export, ExportImage, Format, WriterContext, images_first
from wsloc.exporters.selection import ScoredBox
from wsloc.files.names import safe_name

DEVKIT = Path("VOCdevkit", "VOC2012")
"""Where torchvision's VOCDetection looks for the year 2012, whatever the images are."""
SUFFIX = ".jpg"
"""Readers put it behind a name from the lists; they tell the type of an image by its content."""
_NOT_IN_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")


def write_voc(folder: Path, images: Iterable[ExportImage], context: WriterContext) -> tuple[str, ...]:
    """Write ``Annotations/NAME.xml``; in ``ImageSets/Main`` the lists ``train``, ``trainval`` and ``CLASS_train``.

    Boxes are whole, 1-based and inclusive. Regions to ignore are ``difficult``. A class list holds the images that show
    the class, with 1, or 0 where all its objects are difficult.
    """
    annotations, lists = folder / DEVKIT / "Annotations", folder / DEVKIT / "ImageSets" / "Main"
    annotations.mkdir(parents=True)
    lists.mkdir(parents=True)
    names: dict[str, list[str]] = {split: [] for split in context.splits}
    positives: dict[tuple[str, str], list[str]] = {
        (class_name, split): [] for class_name in context.class_names for split in context.splits
    }
    for image in images:
        stem = image.name.removesuffix(SUFFIX)
        (annotations / f"{stem}.xml").write_bytes(_annotation(image))
        names[image.split].append(stem)
        for class_name in dict.fromkeys(box.record.class_name for box in image.boxes):
            certain = any(not box.uncertain for box in image.boxes if box.record.class_name == class_name)
            positives[class_name, image.split].append(f"{stem} {int(certain):2d}")
    whole = {**names, "trainval": [stem for split in context.splits for stem in names[split]]}
    for split, stems in whole.items():
        _write_list(lists / f"{split}.txt", stems)
    for class_name in context.class_names:
        of_class = {split: positives[class_name, split] for split in context.splits}
        of_class["trainval"] = [row for split in context.splits for row in of_class[split]]
        for split, rows in of_class.items():
            _write_list(lists / f"{safe_name(class_name)}_{split}.txt", rows)
    odd = [name for name in context.class_names if safe_name(name) != name]
    if not odd:
        return ()
    return (f"{len(odd)} classes have a name that no file can have; their lists have other names, {odd[0]!r} first.",)


def whole_box(box_xyxy: tuple[float, float, float, float], size_wh: tuple[int, int]) -> tuple[int, int, int, int]:
    """VOC's whole numbers of a box, inside the image; half a pixel off at most, but for boxes thinner than a pixel."""
    x0, y0, x1, y1 = box_xyxy
    return to_voc((min(x0, size_wh[0] - 1), min(y0, size_wh[1] - 1), x1, y1))


def _write_list(path: Path, rows: Iterable[str]) -> None:
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")


def _annotation(image: ExportImage) -> bytes:
    size = zip(("width", "height", "depth"), (*image.size_wh, 3), strict=True)
    return format_xml(
        [
            ("folder", DEVKIT.name),
            ("filename", _text(image.name)),
            ("source", [("database", "wsloc"), ("image", _text(image.file))]),
            ("size", list(size)),
            ("segmented", 0),
            *(("object", _object(box)) for box in image.boxes),
        ]
    )


def _object(box: ScoredBox) -> Fields:
    sides = zip(("xmin", "ymin", "xmax", "ymax"), whole_box(box.record.box_xyxy, box.record.size_wh), strict=True)
    return [
        ("name", _text(box.record.class_name)),
        ("pose", "Unspecified"),
        ("truncated", 0),
        ("difficult", int(box.uncertain)),
        ("bndbox", list(sides)),
    ]


def _text(text: str) -> str:
    return _NOT_IN_XML.sub("?", text)


def _commands(export: Export) -> Commands:
    names = [entry["name"] for entry in export.manifest["classes"]]
    devkit = str((export.path / DEVKIT).absolute())
    return [
        *images_first(export, DEVKIT / "JPEGImages"),
        ("torchvision", f"torchvision.datasets.VOCDetection({str(export.path)!r}, year='2012', image_set='train')"),
        (
            "Detectron2",
            "from detectron2.data.datasets import register_pascal_voc\n"
            f"register_pascal_voc('wsloc_train', {devkit!r}, 'train', 2012, {names!r})",
        ),
    ]


VOC = Format(write_voc, dict.fromkeys((TRAIN, VAL), DEVKIT / "JPEGImages"), _commands, suffix=SUFFIX)
