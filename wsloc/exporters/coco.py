"""COCO's instances JSON, one file per split, written as the images come.

Also what CVAT imports: the same without outlines, for it takes ``bbox`` for a box only where ``segmentation`` is empty.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from wsloc.errors import counted, listed
from wsloc.exporters import outlines
from wsloc.exporters.export_settings import Outline
from wsloc.exporters.formats import TRAIN, VAL, Commands, Export, ExportImage, Format, WriterContext, as_truth, quoted
from wsloc.exporters.selection import ScoredBox
from wsloc.records import SCORES, Localization

SPLIT_NAMES = {TRAIN: "train2017", VAL: "val2017"}
"""COCO's own, because loaders look for these names."""
ANNOTATIONS = "annotations"
CVAT_NAME = "default"
_TORCHVISION_CLASSES = 91
"""Outputs of the detectors that torchvision's reference script trains with ``--dataset coco``."""


def write_coco(folder: Path, images: Iterable[ExportImage], context: WriterContext) -> tuple[str, ...]:
    """Write ``annotations/instances_train2017.json``, and ``instances_val2017.json`` where there is that split.

    Annotation ids start at 1 in each file. Boxes are written to 0.001 px, polygons to 0.01 px. Regions to ignore are
    crowds (``iscrowd`` 1), all others not.
    """
    warnings = _write(folder, images, context, SPLIT_NAMES)
    below = [name for name, key in zip(context.class_names, context.category_ids, strict=True) if key < 1]
    if not below:
        return warnings
    what = "The data set numbers these classes below 1, where torchvision's detectors have the background"
    return (*warnings, f"{what}: {listed(below, 3)}.")


def write_cvat(folder: Path, images: Iterable[ExportImage], context: WriterContext) -> tuple[str, ...]:
    """Write ``annotations/instances_default.json`` with ``segmentation: []``."""
    return _write(folder, images, replace(context, outline="none"), {TRAIN: CVAT_NAME})


def bbox_of(box_xyxy: tuple[float, float, float, float]) -> list[float]:
    """Corner, width and height, to 0.001 px; the far corner is rounded like the near one, and so stays in the image."""
    x0, y0, x1, y1 = (round(value, 3) for value in box_xyxy)
    return [x0, y0, round(x1 - x0, 3), round(y1 - y0, 3)]


def outline_of(box: ScoredBox, kind: Outline) -> tuple[str, float, bool]:
    """``segmentation`` as JSON, ``area`` in square pixels, and whether a mask is missing that should have given them.

    The area is the mask's, whatever the outline is. A box without a mask is its own outline.
    """
    record = box.record
    mask = outlines.mask_of(record)
    x0, y0, x1, y1 = (round(value, 2) for value in record.box_xyxy)
    area = round((x1 - x0) * (y1 - y0) if mask is None else outlines.area_of(mask, record.size_wh), 2)
    if kind == "none":
        return "[]", area, False
    if kind == "boxes" or mask is None:
        return json.dumps([[x0, y0, x1, y0, x1, y1, x0, y1]]), area, kind != "boxes"
    if kind == "rle":
        return json.dumps(outlines.run_lengths_of(mask, record.size_wh)), area, False
    return outlines.polygons_of(mask, record.size_wh), area, False


def _write(
    folder: Path, images: Iterable[ExportImage], context: WriterContext, names: dict[str, str]
) -> tuple[str, ...]:
    annotations = folder / ANNOTATIONS
    annotations.mkdir(parents=True)
    with ExitStack() as stack:
        files = {
            split: _Instances(annotations / f"instances_{names[split]}.json", context, stack)
            for split in context.splits
        }
        for number, image in enumerate(images, start=1):
            files[image.split].add(image, int(image.image_id) if context.numeric_ids else number)
        for file in files.values():
            file.end()
    without_mask = sum(file.without_mask for file in files.values())
    return (f"{counted(without_mask, 'box')} without a mask; the box serves as outline.",) if without_mask else ()


class _Instances:
    """One file that grows. Its annotations wait in a file of their own until the last image is written."""

    def __init__(self, path: Path, context: WriterContext, stack: ExitStack) -> None:
        self._spool_path = path.with_suffix(".annotations")
        self._file: TextIO = stack.enter_context(path.open("w", encoding="ascii"))
        self._spool: TextIO = stack.enter_context(self._spool_path.open("w+", encoding="ascii"))
        self._context = context
        self._category_of = dict(zip(context.class_names, context.category_ids, strict=True))
        self._images = self._annotations = self.without_mask = 0
        categories = [{"id": key, "name": name, "supercategory": ""} for name, key in self._category_of.items()]
        head = json.dumps({"info": dict(context.info), "licenses": [], "categories": categories})
        self._file.write(head[:-1] + ', "images": [')

    def add(self, image: ExportImage, image_id: int) -> None:
        entry = {"id": image_id, "file_name": image.name, "width": image.size_wh[0], "height": image.size_wh[1]}
        self._file.write((",\n" if self._images else "\n") + json.dumps(entry))
        self._images += 1
        for box in image.boxes:
            annotation = self._annotation(box, image_id)
            self._spool.write((",\n" if self._annotations > 1 else "\n") + annotation)

    def _annotation(self, box: ScoredBox, image_id: int) -> str:
        record = box.record
        segmentation, area, without_mask = outline_of(box, self._context.outline)
        self.without_mask += without_mask
        self._annotations += 1
        entry = {
            "id": self._annotations,
            "image_id": image_id,
            "category_id": self._category_of[record.class_name],
            "bbox": bbox_of(record.box_xyxy),
            "area": area,
            "iscrowd": int(box.uncertain),
            "segmentation": None,
            "score": box.score,
            **{name: record.score_by(name) for name in SCORES},
            "method": record.method,
            "segmenter": record.segmenter if isinstance(record, Localization) else "none",
            "fallback": record.fallback,
        }
        # No text can hold this key: quotes are escaped there.
        return json.dumps(entry).replace('"segmentation": null', f'"segmentation": {segmentation}')

    def end(self) -> None:
        self._file.write('\n], "annotations": [')
        self._spool.seek(0)
        shutil.copyfileobj(self._spool, self._file)
        self._file.write("\n]}\n")
        self._spool_path.unlink()


def _coco_commands(export: Export) -> Commands:
    files = {
        split: export.path / ANNOTATIONS / f"instances_{SPLIT_NAMES[split]}.json" for split in export.image_folders
    }
    images = export.image_folders
    register = "\n".join(
        f"register_coco_instances('wsloc_{split}', {{}}, {str(file.absolute())!r}, {str(images[split].absolute())!r})"
        for split, file in files.items()
    )
    return [
        _torchvision_command(export, files[TRAIN]),
        ("Detectron2", f"from detectron2.data.datasets import register_coco_instances\n{register}"),
        as_truth(export, "from a tool that reads and writes COCO", "CORRECTED.json"),
    ]


def _torchvision_command(export: Export, file: Path) -> tuple[str, str]:
    """Its reference script where it can read the export, else the data set alone."""
    numbers = [entry["id"] for entry in export.manifest["classes"] if entry["id"] is not None]
    largest = max(numbers, default=0)
    if not export.has_images:
        missing = "its reference script needs the images next to it: `media='copy'`"
    elif VAL not in export.image_folders:
        missing = "its reference script needs a split val: `val_fraction=0.1`"
    elif min(numbers, default=1) < 1:
        missing = "its reference script takes the number 0 for the background, and the data set gives it to a class"
    elif largest >= _TORCHVISION_CLASSES:
        missing = f"its reference script has {_TORCHVISION_CLASSES} classes, and the largest number here is {largest}"
    else:
        return (
            "torchvision, in vision/references/detection",
            "python train.py --dataset coco --model fasterrcnn_resnet50_fpn_v2 --weights-backbone "
            "ResNet50_Weights.IMAGENET1K_V2 --batch-size 2 --lr 0.0025 --data-path " + quoted(export.path.absolute()),
        )
    command = f"torchvision.datasets.CocoDetection({str(export.image_folders[TRAIN])!r}, {str(file)!r})"
    return f"torchvision ({missing})", command


def _cvat_commands(export: Export) -> Commands:
    file = export.path / ANNOTATIONS / f"instances_{CVAT_NAME}.json"
    return [
        ("CVAT", f"a task with the images of {export.image_folders[TRAIN]}; upload {file} as COCO 1.0"),
        as_truth(export, "exported there as COCO 1.0, unzipped", f"UNZIPPED/{ANNOTATIONS}/{file.name}"),
    ]


COCO = Format(
    write_coco,
    {split: Path(name) for split, name in SPLIT_NAMES.items()},
    _coco_commands,
    finds_images_by_path=True,
    has_outlines=True,
)
CVAT = Format(
    write_cvat,
    {TRAIN: Path("images")},
    _cvat_commands,
    media="none",
    finds_images_by_path=True,
    needs_upright=True,
    needs_stems=True,
)
