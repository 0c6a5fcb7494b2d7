"""Seconds and memory of ``wsloc export`` on a made-up run of many boxes.

python scripts/benchmark_export.py --boxes 1000000
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
from pycocotools import mask as coco_masks

from wsloc.records import Localization

SIZE_WH, WORKING_HW = (500, 375), (168, 224)
CLASSES = [f"class {number:02d}" for number in range(20)]
SELECTIONS: dict[str, list[str]] = {
    "coco": ["--format", "coco", "--media", "none"],
    "coco, best half": ["--format", "coco", "--media", "none", "--top-share", "0.5"],
    "coco, boxes alone": ["--format", "coco", "--media", "none", "--segmentation", "boxes"],
    "voc": ["--format", "voc", "--media", "none"],
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--boxes", type=int, default=1_000_000, help="boxes of the run, two an image")
    parser.add_argument("--only", choices=SELECTIONS, help="one row of the table")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_run(folder, arguments.boxes)
        print(f"| {arguments.boxes:,} boxes | seconds | peak memory | files |\n|---|---:|---:|---:|")
        for title, flags in SELECTIONS.items():
            if arguments.only in (None, title):
                seconds, peak = measure(folder, flags)
                size = sum(path.stat().st_size for path in (folder / "out").rglob("*.json"))
                print(f"| {title} | {seconds:.0f} | {peak / 2**20:.0f} MiB | {size / 2**20:.0f} MiB |", flush=True)
    return 0


def write_run(folder: Path, count: int) -> None:
    """A run of ``count`` boxes, two an image, whose masks are ragged discs; the images themselves are missing."""
    generator = np.random.default_rng(0)
    items = [made_item(generator) for _ in range(50)]
    (folder / "photos").mkdir()
    (folder / "run").mkdir()
    (folder / "run" / "config.yaml").write_text(
        f"dataset: folder\nroot: {folder}/photos\nlabels: {folder}/labels.csv\n"
    )
    (folder / "run" / "manifest.json").write_text(json.dumps({"schema_version": 1, "complete": True}))
    (folder / "run" / "failures.jsonl").write_text("")
    with (folder / "labels.csv").open("w") as labels, (folder / "run" / "localizations.jsonl").open("w") as records:
        labels.write("image,label\n")
        for number in range((count + 1) // 2):
            file = f"part{number % 100:02d}/{number:07d}.jpg"
            names = (CLASSES[number % 20], CLASSES[(number + 7) % 20])
            labels.write(f"{file},{';'.join(names)}\n")
            for place, class_name in enumerate(names[: count - 2 * number]):
                box, share, mask_rle = items[(number + 13 * place) % len(items)]
                probability = float(generator.random())
                record = Localization(
                    file, file, class_name, box, probability, probability / 2, share, "gradient", "grabcut", None, 0,
                    SIZE_WH, 1, mask_rle,
                )  # fmt: skip
                records.write(json.dumps(asdict(record)) + "\n")


def made_item(generator: np.random.Generator) -> tuple[tuple[float, float, float, float], float, dict[str, object]]:
    """The box, its share of the image, and the run lengths of a mask."""
    height, width = WORKING_HW
    y, x = np.mgrid[:height, :width]
    centre_x, centre_y = generator.uniform(0.3, 0.7, 2) * (width, height)
    radius = generator.uniform(0.15, 0.3) * height + 4 * np.sin(6 * np.arctan2(y - centre_y, x - centre_x))
    mask = np.hypot(x - centre_x, y - centre_y) < radius
    mask &= np.hypot(x - centre_x, y - centre_y) > generator.uniform(0, 8)
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


def measure(folder: Path, flags: list[str]) -> tuple[float, int]:
    """Seconds of one export, and the peak of its memory in bytes."""
    script = Path(__file__).with_name("export.py")
    words = [str(folder / "run"), *flags, "--out", str(folder / "out"), "--overwrite"]
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, str(script), *words], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"the export ended with status {os.waitstatus_to_exitcode(status)}")
    return time.perf_counter() - start, usage.ru_maxrss * 1024


if __name__ == "__main__":
    sys.exit(main())
