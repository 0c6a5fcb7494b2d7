"""The table of docs/benchmarks.md on --decode-side: what reading costs, and which boxes change.

The photographs are those of val as they are, and enlarged as a telephone's camera would have stored them. Each is read
in every way in turn, so that a busy machine slows all of them.

    python scripts/benchmark_decoding.py --root data --split trainval --weights-dir weights
"""

from __future__ import annotations

import argparse
import io
import itertools
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from benchmark_runs import weights_flags
from benchmark_voc import add_data_flags, data_flags
from markdown_page import fill
from PIL import Image
from tqdm import tqdm

from wsloc import boxes
from wsloc.cli.options import parse_localize
from wsloc.datasets import asked_classes, open_dataset
from wsloc.images import scaled_wh
from wsloc.pipeline import Failed, Localizer, Runner, make_localizer
from wsloc.pipeline.read_stage import ReadImage
from wsloc.records import BoxRecord, ImageRecord
from wsloc.threads import applied, plan_threads

SIDES = (None, 448, 224)
QUALITY = 92


@dataclass(frozen=True)
class Way:
    """One way to read the images: seconds of the processor for each, and the first box of each item."""

    seconds: list[float]
    boxes: list[BoxRecord]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_flags(parser)
    parser.add_argument("--network", default="mobilenet_v2")
    parser.add_argument("--items", type=int, default=200, help="number of items at least")
    parser.add_argument("--longer-side", type=int, default=4000, help="of the enlarged photographs, in pixels")
    options = parser.parse_args()
    text = "\n".join(table(options))
    fill("benchmark_decoding", text)
    print(text)
    return 0


def table(options: argparse.Namespace) -> Iterator[str]:
    yield f"{options.network}, input and cut at 224 px; IoU with the box of the image that was decoded whole."
    yield ""
    yield "| photographs | items | `--decode-side` | reading, times faster | mean IoU | IoU > 0.9 | IoU > 0.5 |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    for name, longer_side in (("as they are", None), (f"{options.longer_side} px", options.longer_side)):
        ways = compared(options, longer_side)
        whole = ways[None]
        for side, way in ways.items():
            if side is not None:
                pairs = [[box.box_xyxy for box in given.boxes] for given in (whole, way)]
                iou = boxes.paired_iou(*pairs)
                faster = sum(whole.seconds) / sum(way.seconds)
                shares = [f"{100 * np.mean(iou > least):.1f} %" for least in (0.9, 0.5)]
                yield f"| {name} | {len(iou)} | {side} | {faster:.2f} | {iou.mean():.3f} | {' | '.join(shares)} |"


def compared(options: argparse.Namespace, longer_side: int | None) -> dict[int | None, Way]:
    """The same images read in every way, a batch at a time."""
    localizers = {side: opened(options, side) for side in SIDES}
    ways: dict[int | None, Way] = defaultdict(lambda: Way([], []))
    config = parse_localize(data_flags(options, "val"))
    images = list(listed(open_dataset(config.data).images, options.items))
    with applied(plan_threads(localizers[None].model.scorer.device)):
        size = localizers[None].network.batch_size
        for start in tqdm(range(0, len(images), size), str(longer_side), unit="batch"):
            batch = images[start : start + size]
            contents = [replace(image, source=stored(image.path, longer_side)) for image in batch]
            read: dict[int | None, list[ReadImage | Failed]] = defaultdict(list)
            for image, (side, localizer) in itertools.product(contents, localizers.items()):
                before = time.process_time()
                read[side] += localizer.read([image])
                ways[side].seconds.append(time.process_time() - before)
            for side, localizer in localizers.items():
                ways[side].boxes.extend(first_boxes(localizer, read[side]))
    return ways


def opened(options: argparse.Namespace, side: int | None) -> Localizer:
    flags = ["--arch", options.network, *weights_flags(options, options.network)]
    flags += ["--decode-side", str(side)] if side else []
    config = parse_localize([*data_flags(options, "val"), *flags])
    return make_localizer(config, asked_classes(config.data, open_dataset(config.data)))


def listed(images: tuple[ImageRecord, ...], items: int) -> Iterator[ImageRecord]:
    """The first images that make up so many items."""
    for image in images:
        if items <= 0:
            return
        items -= len(image.labels)
        yield image


def stored(path: Path, longer_side: int | None) -> bytes:
    """A JPEG file, or its image enlarged and stored anew."""
    if longer_side is None:
        return path.read_bytes()
    buffer = io.BytesIO()
    with Image.open(path) as image:
        large = image.resize(scaled_wh(image.size, longer_side), Image.Resampling.BICUBIC)
        large.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def first_boxes(localizer: Localizer, read: list[ReadImage | Failed]) -> Iterator[BoxRecord]:
    runner = Runner()
    for result in localizer.cut_maps(localizer.maps.compute(read, runner), runner):
        for item in result.items:
            yield item.localizations[0]


if __name__ == "__main__":
    sys.exit(main())
