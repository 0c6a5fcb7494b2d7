"""The table of docs/benchmarks.md on ``wsloc export``: seconds and memory on made-up runs of many boxes.

python scripts/benchmark_export.py
python scripts/benchmark_export.py --boxes 100000 --only coco voc  # minutes
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from markdown_page import fill
from measured_process import Usage, measure_process
from PIL import Image
from pycocotools import mask as coco_masks

from wsloc.records import Localization
from wsloc.runs.record_lines import SCHEMA_VERSION, to_line

SIZE_WH, WORKING_HW = (500, 375), (168, 224)
CLASSES = [f"class {number:02d}" for number in range(20)]


@dataclass(frozen=True)
class Shape:
    """What a run is of.

    Attributes:
        boxes_an_image: each of another class.
        dataset: ``folder``, with a CSV file of labels, or ``coco``.
        recorded: whether the manifest names the classes, so that the data set need not be opened.
    """

    boxes_an_image: int = 2
    dataset: Literal["folder", "coco"] = "folder"
    recorded: bool = True


ROWS: dict[str, tuple[Shape, list[str]]] = {
    "coco": (Shape(), ["--format", "coco", "--media", "none"]),
    "coco, best half": (Shape(), ["--format", "coco", "--media", "none", "--top-fraction", "0.5"]),
    "coco, boxes alone": (Shape(), ["--format", "coco", "--media", "none", "--segmentation", "boxes"]),
    "coco, run lengths": (Shape(), ["--format", "coco", "--media", "none", "--segmentation", "rle"]),
    **{name: (Shape(), ["--format", name, "--media", "none"]) for name in ("cvat", "voc", "yolo", "label-studio")},
    "coco, one box an image": (Shape(1), ["--format", "coco", "--media", "none"]),
    "coco, one box an image, its CSV file opened": (
        Shape(1, recorded=False),
        ["--format", "coco", "--media", "none"],
    ),
    "coco, of a COCO data set": (Shape(dataset="coco"), ["--format", "coco", "--media", "none"]),
    "coco, of a COCO data set, its instances file opened": (
        Shape(dataset="coco", recorded=False),
        ["--format", "coco", "--media", "none"],
    ),
}
"""Of each row of the table: the run, and the flags of its export."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--boxes", type=int, default=1_000_000, help="boxes of the run")
    parser.add_argument("--only", nargs="+", choices=ROWS, default=tuple(ROWS), help="rows of the table")
    parser.add_argument("--no-table", action="store_true", help="print, but leave the page alone")
    options = parser.parse_args()
    text = "\n".join(table(options.boxes, options.only))
    print(text)
    if not options.no_table:
        fill("benchmark_export", text)
    return 0


def table(count: int, titles: Sequence[str]) -> Iterator[str]:
    yield f"{count:,} boxes on one core; {platform.machine()}, {os.cpu_count()} cores."
    yield ""
    yield "| | processor, µs a box | clock, s | peak memory, MiB | files, MiB |\n|---|---:|---:|---:|---:|"
    rows = [(shape, title, flags) for title, (shape, flags) in ROWS.items() if title in titles]
    for shape, same in itertools.groupby(rows, key=lambda row: row[0]):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_run(folder, count, shape)
            for _, title, flags in same:
                usage = measure(folder, flags)
                size = sum(path.stat().st_size for path in (folder / "out").rglob("*") if path.is_file())
                cells = (1e6 * usage.processor / count, usage.clock, usage.peak_bytes / 2**20, size / 2**20)
                yield f"| {title} | {' | '.join(f'{cell:.0f}' for cell in cells)} |"


def write_run(folder: Path, count: int, shape: Shape) -> None:
    """A run of ``count`` boxes, whose masks are ragged discs; all images but the first are missing."""
    generator = np.random.default_rng(0)
    items = [made_item(generator) for _ in range(50)]
    run, root, images = folder / "run", folder / "photos", -(-count // shape.boxes_an_image)
    run.mkdir()
    (root / file_of(0, shape)).parent.mkdir(parents=True)
    Image.new("RGB", SIZE_WH).save(root / file_of(0, shape))
    write_dataset(folder, root, images, shape)
    data = {
        "root": str(root),
        "class_names": CLASSES,
        "category_ids": list(range(1, len(CLASSES) + 1)) if shape.dataset == "coco" else None,
    }
    manifest = {"schema_version": SCHEMA_VERSION, "complete": True, **({"data": data} if shape.recorded else {})}
    (run / "manifest.json").write_text(json.dumps(manifest))
    (run / "failures.jsonl").write_text("")
    with (run / "localizations.jsonl").open("w") as records:
        for number in range(images):
            file = file_of(number, shape)
            left = count - shape.boxes_an_image * number
            for index, class_name in enumerate(classes_of(number, shape)[:left]):
                box, fraction, mask_rle = items[(number + 13 * index) % len(items)]
                probability = float(generator.random())
                record = Localization(
                    str(number + 1) if shape.dataset == "coco" else file, file, class_name, box, probability,
                    probability / 2, fraction, "gradient", "grabcut", None, 0, SIZE_WH, 1, mask_rle,
                )  # fmt: skip
                records.write(to_line(record))


def write_dataset(folder: Path, root: Path, images: int, shape: Shape) -> None:
    """The lists of a data set, and the configuration of the run that names them."""
    if shape.dataset == "folder":
        (folder / "run" / "config.yaml").write_text(f"dataset: folder\nroot: {root}\nlabels: {folder}/labels.csv\n")
        with (folder / "labels.csv").open("w") as labels:
            labels.write("image,label\n")
            for number in range(images):
                labels.write(f"{file_of(number, shape)},{';'.join(classes_of(number, shape))}\n")
        return
    (folder / "run" / "config.yaml").write_text(f"dataset: coco\nroot: {root}\nsplit: train2017\n")
    (root / "annotations").mkdir()
    # As long as COCO's own on average.
    outline = [[round(0.37 * index, 2) for index in range(50)]]
    with (root / "annotations" / "instances_train2017.json").open("w") as file:
        categories = [{"id": number, "name": name} for number, name in enumerate(CLASSES, start=1)]
        file.write(json.dumps({"categories": categories})[:-1] + ', "images": [')
        for number in range(images):
            entry = {"id": number + 1, "file_name": Path(file_of(number, shape)).name, "width": 500, "height": 375}
            file.write((",\n" if number else "") + json.dumps(entry))
        file.write('], "annotations": [')
        for number in range(images):
            for index, class_name in enumerate(classes_of(number, shape)):
                annotation = {
                    "id": number * shape.boxes_an_image + index + 1, "image_id": number + 1, "iscrowd": 0, "area": 9.5,
                    "category_id": CLASSES.index(class_name) + 1, "bbox": [10, 20, 30, 40], "segmentation": outline,
                }  # fmt: skip
                file.write((",\n" if number or index else "") + json.dumps(annotation))
        file.write("]}")


def file_of(number: int, shape: Shape) -> str:
    return f"train2017/{number:012d}.jpg" if shape.dataset == "coco" else f"part{number % 100:02d}/{number:07d}.jpg"


def classes_of(number: int, shape: Shape) -> list[str]:
    return [CLASSES[(number + 7 * index) % len(CLASSES)] for index in range(shape.boxes_an_image)]


def made_item(generator: np.random.Generator) -> tuple[tuple[float, float, float, float], float, dict[str, object]]:
    """The box, its fraction of the image, and the run lengths of a mask."""
    height, width = WORKING_HW
    y, x = np.mgrid[:height, :width]
    center_x, center_y = generator.uniform(0.3, 0.7, 2) * (width, height)
    radius = generator.uniform(0.15, 0.3) * height + 4 * np.sin(6 * np.arctan2(y - center_y, x - center_x))
    mask = np.hypot(x - center_x, y - center_y) < radius
    mask &= np.hypot(x - center_x, y - center_y) > generator.uniform(0, 8)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    zoom = SIZE_WH[0] / width, SIZE_WH[1] / height
    x0, y0 = float(columns[0] * zoom[0]), float(rows[0] * zoom[1])
    x1, y1 = float((columns[-1] + 1) * zoom[0]), float((rows[-1] + 1) * zoom[1])
    counts = coco_masks.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"].decode("ascii")
    return (
        (x0, y0, x1, y1),
        (x1 - x0) * (y1 - y0) / (SIZE_WH[0] * SIZE_WH[1]),
        {"size": [height, width], "counts": counts},
    )


def measure(folder: Path, flags: list[str]) -> Usage:
    """One export."""
    script = Path(__file__).with_name("export.py")
    words = [str(folder / "run"), *flags, "--out", str(folder / "out"), "--overwrite"]
    return measure_process([sys.executable, str(script), *words])


if __name__ == "__main__":
    sys.exit(main())
