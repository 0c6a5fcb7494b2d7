"""YOLO: a text file of rows ``class x y width height`` for each image, and ``data.yaml``.

Ultralytics finds the text file of an image by its path, the last ``images`` exchanged for ``labels``: hence flat names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import yaml

from wsloc.errors import counted
from wsloc.exporters.formats import (
    TRAIN,
    VAL,
    Commands,
    Export,
    ExportImage,
    Format,
    WriterContext,
    images_first,
    quoted,
)
from wsloc.exporters.selection import ScoredBox

DATA = "data.yaml"
_READ_BY_ULTRALYTICS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})


def write_yolo(folder: Path, images: Iterable[ExportImage], context: WriterContext) -> tuple[str, ...]:
    """Write ``labels/SPLIT/NAME.txt`` and ``data.yaml``; center and sides as fractions of the image, to 1e-7."""
    indices = context.class_indices()
    for split in context.splits:
        (folder / "labels" / split).mkdir(parents=True)
    has_val, unread = False, 0
    for image in images:
        has_val |= image.split == VAL
        unread += Path(image.name).suffix.lower() not in _READ_BY_ULTRALYTICS
        rows = [_row(box, image.size_wh, indices[box.record.class_name]) for box in image.boxes]
        path = folder / "labels" / image.split / f"{Path(image.name).stem}.txt"
        path.write_text("".join(rows), encoding="ascii")
    (folder / DATA).write_text(_data(context.class_names, has_val), encoding="utf-8")
    warnings = [] if has_val else ["There is no split val, so data.yaml names train for it; `val_fraction` makes one."]
    if unread:
        warnings.append(
            f"{counted(unread, 'image')} of a type that Ultralytics does not read (.ppm, for example); convert."
        )
    return tuple(warnings)


def _row(box: ScoredBox, size_wh: tuple[int, int], index: int) -> str:
    width, height = size_wh
    x0, y0, x1, y1 = box.record.box_xyxy
    fractions = ((x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height)
    return f"{index} " + " ".join(f"{fraction:.7f}" for fraction in fractions) + "\n"


def _data(class_names: tuple[str, ...], has_val: bool) -> str:
    """``data.yaml``. Without ``path`` its folders are taken to be relative to itself."""
    lines = [f"train: images/{TRAIN}", f"val: images/{VAL if has_val else TRAIN}", "names:"]
    lines += [f"  {index}: {_quoted(_unlike_wordnet(name))}" for index, name in enumerate(class_names)]
    return "\n".join(lines) + "\n"


def _quoted(name: str) -> str:
    """Always in quotes: ``no`` and ``1e3`` are a truth value and a number without."""
    return yaml.safe_dump(name, default_style='"', allow_unicode=True, width=float("inf")).rstrip("\n")


def _unlike_wordnet(name: str) -> str:
    """A name that begins with a WordNet id, with the id at its end: Ultralytics would look the whole name up."""
    return re.sub(r"^(n\d{8}) (.+)$", r"\2 (\1)", name)


def _commands(export: Export) -> Commands:
    data = quoted((export.path / DATA).absolute())
    return [
        *images_first(export, Path("images")),
        ("Ultralytics", f"yolo train data={data} model=yolo11n.pt epochs=100 imgsz=640"),
    ]


YOLO = Format(write_yolo, {split: Path("images", split) for split in (TRAIN, VAL)}, _commands, ignores=False)
