"""Label Studio: tasks with predictions that people correct, and the labeling interface that shows them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from wsloc.exporters.formats import TRAIN, Commands, Export, ExportImage, Format, WriterContext, as_truth, quoted
from wsloc.exporters.selection import ScoredBox

TASKS, INTERFACE = "tasks.json", "interface.xml"
IMAGES = "images"
_FROM, _TO = "label", "image"


def write_label_studio(folder: Path, images: Iterable[ExportImage], context: WriterContext) -> tuple[str, ...]:
    """Write ``tasks.json`` and ``interface.xml``.

    Corner and sides are percent of the image as the browser shows it. Images are named as Label Studio serves them
    where its document root is the parent of their folder; the folder itself is then a storage of the project, which
    must be below the root. An uncertain box says so in ``meta``.
    """
    with (folder / TASKS).open("w", encoding="ascii") as file:
        file.write("[")
        for task_id, image in enumerate(images, start=1):
            file.write((",\n" if task_id > 1 else "\n") + json.dumps(_task(task_id, image, context)))
        file.write("\n]\n")
    (folder / INTERFACE).write_bytes(_interface(context.class_names).encode(errors="backslashreplace"))
    return ()


def _task(task_id: int, image: ExportImage, context: WriterContext) -> dict[str, Any]:
    regions = [_region(f"{task_id}-{index}", box) for index, box in enumerate(image.boxes, start=1)]
    prediction: dict[str, Any] = {"model_version": f"wsloc {context.info['run']}", "result": regions}
    if image.boxes:
        # Label Studio sorts tasks by it; the least certain box is what makes a task worth a look.
        prediction["score"] = min(box.score for box in image.boxes)
    folder = context.root.name if context.media == "none" else IMAGES
    url = f"/data/local-files/?d={quote(f'{folder}/{image.name}', errors='surrogateescape')}"
    return {"id": task_id, "data": {"image": url, "image_id": image.image_id}, "predictions": [prediction]}


def _region(region_id: str, box: ScoredBox) -> dict[str, Any]:
    (width, height), (x0, y0, x1, y1) = box.record.size_wh, box.record.box_xyxy
    region = {
        "id": region_id,
        "type": "rectanglelabels",
        "from_name": _FROM,
        "to_name": _TO,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "score": box.score,
        "value": {
            "x": round(100 * x0 / width, 6),
            "y": round(100 * y0 / height, 6),
            "width": round(100 * (x1 - x0) / width, 6),
            "height": round(100 * (y1 - y0) / height, 6),
            "rotation": 0,
            "rectanglelabels": [box.record.class_name],
        },
    }
    return {**region, "meta": {"text": ["uncertain"]}} if box.uncertain else region


def _interface(class_names: tuple[str, ...]) -> str:
    labels = "".join(f"    <Label value={quoteattr(name)}/>\n" for name in class_names)
    return (
        f'<View>\n  <Image name="{_TO}" value="$image"/>\n'
        f'  <RectangleLabels name="{_FROM}" toName="{_TO}">\n{labels}  </RectangleLabels>\n</View>\n'
    )


def _commands(export: Export) -> Commands:
    images = export.image_folders[TRAIN].resolve()
    return [
        (
            "Label Studio",
            "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true "
            f"LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT={quoted(images.parent)} label-studio start",
        ),
        (
            "there, in a new project",
            f"labeling interface: the code of {export.path / INTERFACE}\n"
            f"cloud storage: a source storage of local files at {images}; save it, do not sync it\n"
            f"import: {export.path / TASKS}",
        ),
        as_truth(export, "exported there as COCO with images, unzipped", "UNZIPPED/result.json"),
    ]


LABEL_STUDIO = Format(
    write_label_studio,
    {TRAIN: Path(IMAGES)},
    _commands,
    media="none",
    finds_images_by_path=True,
    needs_upright=True,
)
