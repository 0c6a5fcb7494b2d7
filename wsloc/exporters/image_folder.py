"""Hugging Face's ``imagefolder``: the images of a split in a folder, and ``metadata.jsonl`` next to them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from wsloc.boxes import area
from wsloc.exporters.coco import bbox_of
from wsloc.exporters.formats import TRAIN, VAL, ExportImage, Format, WriterContext

SPLIT_NAMES = {TRAIN: "train", VAL: "validation"}


def write_image_folder(folder: Path, images: Iterable[ExportImage], context: WriterContext) -> tuple[str, ...]:
    """Write ``train/metadata.jsonl``, and ``validation/metadata.jsonl`` where there is that split.

    ``objects`` holds one list per column: ``bbox`` as COCO has it (corner, width, height, 0.001 px), ``category`` from
    0, ``class_name``, ``area`` of the box, ``iscrowd`` (1 for a region to ignore), ``score``.
    """
    numbers = context.class_indices()
    with ExitStack() as stack:
        files = {}
        for split in context.splits:
            path = folder / SPLIT_NAMES[split] / "metadata.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            files[split] = stack.enter_context(path.open("w", encoding="ascii"))
        for image in images:
            files[image.split].write(json.dumps(_entry(image, numbers)) + "\n")
    return ()


def _entry(image: ExportImage, numbers: dict[str, int]) -> dict[str, Any]:
    records = [box.record for box in image.boxes]
    return {
        "file_name": image.name,
        "image_id": image.image_id,
        "width": image.size_wh[0],
        "height": image.size_wh[1],
        "objects": {
            "bbox": [bbox_of(record.box_xyxy) for record in records],
            "category": [numbers[record.class_name] for record in records],
            "class_name": [record.class_name for record in records],
            "area": [round(float(area(record.box_xyxy)[0]), 2) for record in records],
            "iscrowd": [int(box.uncertain) for box in image.boxes],
            "score": [box.score for box in image.boxes],
        },
    }


IMAGE_FOLDER = Format(
    write_image_folder,
    {split: Path(name) for split, name in SPLIT_NAMES.items()},
    lambda export: [("Hugging Face", f"datasets.load_dataset('imagefolder', data_dir={str(export.path)!r})")],
    needs_images=True,
)
