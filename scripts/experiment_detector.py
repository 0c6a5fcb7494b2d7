"""The table of docs/experiments.md on detectors from pseudo-boxes: settings compared within train.

Detectors learn boxes of two thirds of the images of VOC12-animals-920 train and are tested on the true boxes of the
other third, so that val has no part in the choice. What is missing between best's boxes and the true ones is told by
two kinds in between: of each class in an image only the largest true box, the others background or ignored.

    python scripts/experiment_detector.py --root data --weights-dir weights --network mobilenet_v2
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_detector import BACKBONE, DETECTOR, FIGURES
from benchmark_runs import finished, weights_flags
from benchmark_voc import CLASSES, LISTS, add_data_flags, data_flags
from experiment_learning import EXPERIMENTS
from markdown_page import fill

from wsloc.boxes import area
from wsloc.cli.options import parse_localize
from wsloc.datasets import open_dataset, read_ground_truth

EPOCHS, SIZE, SEED = "12", "192", "0"
ROWS: dict[str, tuple[str, list[str]]] = {
    "boxes of best": ("best", []),
    "scaled by 0.3 to 1.7, not 0.75 to 1.25": ("best", ["--zoom", "0.7"]),
    "a quarter ignored": ("best", ["--ignore-fraction", "0.25"]),
    "the largest true box of each class in an image": ("largest", []),
    "the same, the others ignored": ("others ignored", []),
    "all true boxes": ("truth", []),
}
"""What is learned, and further flags."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_flags(parser)
    parser.set_defaults(runs=Path("runs/experiment-detector"))
    parser.add_argument("--network", default="mobilenet_v2", help="that makes the boxes (default: mobilenet_v2)")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), help="only these (default: all)")
    options = parser.parse_args()
    text = "\n".join(table(options))
    print(text)
    fill("detector", text, EXPERIMENTS)
    return 0


def table(options: argparse.Namespace) -> Iterator[str]:
    learned, held_out = (split(options, part) for part in ("learned", "held-out"))
    images = [*data_flags(options, "train"), "--ids", str(learned)]
    yield f"| learned | {' | '.join(FIGURES)} |"
    yield "|---|" + "---:|" * len(FIGURES)
    for name in options.rows:
        kind, flags = ROWS[name]
        if kind == "best":
            network = ["--arch", options.network, *weights_flags(options, options.network)]
            own = [str(finished(options.runs / "boxes", "localize", [*images, *network, "--preset", "best"]))]
        elif kind == "truth":
            own = ["truth", *images]
        else:
            own = [str(largest(options, images, ignored=kind == "others ignored"))]
            own += ["--root", str(options.root / "VOCdevkit" / "VOC2012")]
        found = figures(options, options.runs / name, ["--boxes-from", *own, *flags], held_out)
        yield f"| {name} | {' | '.join(f'{100 * found[of]:.1f}' for of in FIGURES)} |"


def largest(options: argparse.Namespace, images: list[str], *, ignored: bool) -> Path:
    """The largest true box of each class in each image as a COCO file; the others are ignored, or left out."""
    data = parse_localize(images).data
    dataset = open_dataset(data)
    truth = read_ground_truth(data, dataset)
    assert truth is not None
    files: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for index, image in enumerate(dataset.images, start=1):
        own, seen = truth.images[image.image_id], set[str]()
        files.append({"id": index, "file_name": image.file, "width": own.size_wh[0], "height": own.size_wh[1]})
        for object_index in np.argsort(-area(own.boxes_xyxy), kind="stable"):
            name, (x0, y0, x1, y1) = own.class_names[object_index], own.boxes_xyxy[object_index].tolist()
            other = name in seen or bool(own.difficult[object_index])
            if name in CLASSES and (ignored or not other):
                box = {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0), "iscrowd": int(other)}
                found.append({"id": 1 + len(found), "image_id": index, "category_id": 1 + CLASSES.index(name), **box})
            if not other:
                seen.add(name)
    classes = [{"id": index, "name": name} for index, name in enumerate(CLASSES, start=1)]
    path: Path = options.runs / f"largest{'-others-ignored' if ignored else ''}.json"
    path.write_text(json.dumps({"images": files, "annotations": found, "categories": classes}), encoding="utf-8")
    return path


def split(options: argparse.Namespace, part: str) -> Path:
    """The ids of every third image of train, or of the others, as a file."""
    ids = (LISTS / "train.txt").read_text(encoding="ascii").split()
    path: Path = options.runs / f"{part}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    chosen = [own for index, own in enumerate(ids) if (index % 3 == 0) == (part == "held-out")]
    path.write_text("".join(f"{own}\n" for own in chosen), encoding="ascii")
    return path


def figures(options: argparse.Namespace, folder: Path, own: list[str], held_out: Path) -> dict[str, float]:
    """Average precision on the held-out images."""
    training = ["--image-size", SIZE, "--epochs", EPOCHS, "--ema-decay", "0.99", "--seed", SEED]
    training += [*DETECTOR, *weights_flags(options, BACKBONE, "--backbone")]
    trained = finished(folder, "train-detector", [*own, *training])
    where = [*data_flags(options, "train", classes=()), "--ids", str(held_out)]
    found = finished(folder / "held-out", "detect", [str(trained / "detector.safetensors"), *where])
    own_figures: dict[str, float] = json.loads((found / "metrics.json").read_text("utf-8"))["average precision"]
    return own_figures


if __name__ == "__main__":
    sys.exit(main())
