"""A small run made by hand, with its images: each shows one bright rectangle on black where its box is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_masks

from wsloc.exporters.source import Source
from wsloc.records import Failure, Localization
from wsloc.registries import FORMATS
from wsloc.runs.record_lines import SCHEMA_VERSION, to_line

Box = tuple[float, float, float, float]
CLASSES = ("no", "1e3", "a/b <c> & 'd'", "犬 é: #1")
"""What formats stumble over: YAML's truth values and numbers, slashes, spaces, mark-up, other scripts."""
SCENE: tuple[tuple[str, tuple[int, int], str, Box], ...] = (
    ("a.jpg", (60, 40), CLASSES[0], (10, 5, 40, 30)),
    ("sub/a.png", (50, 70), CLASSES[1], (3.25, 4.5, 29.125, 60.0625)),
    ("sub/A.jpg", (64, 64), CLASSES[2], (0, 0, 64, 64)),
    ("turned.jpg", (48, 80), CLASSES[3], (4, 50, 20, 78)),
    ("images/odd näme #1.jpg", (90, 33), CLASSES[0], (70.4, 0, 90, 32.6)),
)
"""File, size and box after EXIF transposition; ``turned.jpg`` is stored lying on its side."""


def record(image_id: str, class_name: str, box: Box, size_wh: tuple[int, int], **changes: Any) -> Localization:
    """A box with a rectangular mask at 16 pixels a side."""
    fraction = (box[2] - box[0]) * (box[3] - box[1]) / (size_wh[0] * size_wh[1])
    fields: dict[str, Any] = {
        "image_id": image_id, "file": image_id, "class_name": class_name, "box_xyxy": box, "probability": 0.25,
        "quality": 0.5, "area_fraction": fraction, "method": "cam", "segmenter": "grabcut", "fallback": None,
        "component": 0, "size_wh": size_wh, "rank": None, "mask_rle": mask_rle(box, size_wh),
    }  # fmt: skip
    return Localization(**{**fields, **changes})


def mask_rle(box: Box, size_wh: tuple[int, int], side: int = 16) -> dict[str, Any]:
    """The pixels that a box covers at least in part, as the run writes them."""
    mask = np.zeros((side, side), dtype=np.uint8)
    x0, y0, x1, y1 = np.array(box) / np.tile(size_wh, 2) * side
    mask[int(y0) : int(np.ceil(y1)), int(x0) : int(np.ceil(x1))] = 1
    return {"size": [side, side], "counts": coco_masks.encode(np.asfortranarray(mask))["counts"].decode()}


def scene_records() -> list[Localization]:
    """One box for each image of the scene."""
    return [record(file, class_name, box, size_wh) for file, size_wh, class_name, box in SCENE]


def write_photos(root: Path, format_name: str = "", media: str | None = None) -> Source:
    """The images of the scene; for a format that takes none with an orientation where it lies, all upright."""
    upright = format_name in FORMATS and FORMATS[format_name].needs_upright and media != "copy"
    for file, size_wh, _, box in SCENE:
        write_photo(root / file, size_wh, box, orientation=6 if file == "turned.jpg" and not upright else 1)
    return Source(root, CLASSES)


_AS_STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""What an EXIF orientation undoes."""


def write_photo(path: Path, size_wh: tuple[int, int], box: Box, orientation: int = 1, mode: str = "RGB") -> None:
    """A bright rectangle on black, stored so that the EXIF orientation puts it upright."""
    pixels = np.zeros((size_wh[1], size_wh[0], 3), dtype=np.uint8)
    x0, y0, x1, y1 = (round(value) for value in box)
    pixels[y0:y1, x0:x1] = 250
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels).convert(mode)
    if orientation == 1:
        image.save(path, quality=95)
        return
    exif = Image.Exif()
    exif[274] = orientation
    image.transpose(_AS_STORED[orientation]).save(path, quality=95, exif=exif)


def write_run(
    path: Path, records: Sequence[Localization], failures: Sequence[Failure] = (), complete: bool = True
) -> Path:
    """A run folder."""
    path.mkdir(parents=True)
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "complete": complete,
        "commit": "0123abc",
        "dataset_fingerprint": "f00",
    }
    (path / "manifest.json").write_text(json.dumps(manifest))
    (path / "config.yaml").write_text("dataset: folder\nmethod: cam\n")
    (path / "localizations.jsonl").write_text("".join(map(to_line, records)), encoding="utf-8")
    (path / "failures.jsonl").write_text("".join(map(to_line, failures)), encoding="utf-8")
    return path


def shows(pixels: np.ndarray, box: Sequence[float]) -> bool:
    """Whether an image ``(H, W, 3)`` is bright in a box and dark around it."""
    x0, y0, x1, y1 = (round(value) for value in box)
    inside = np.zeros(pixels.shape[:2], dtype=bool)
    inside[y0:y1, x0:x1] = True
    return bool(pixels[inside].mean() > 200) and (bool(inside.all()) or bool(pixels[~inside].mean() < 50))


def tree(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }
