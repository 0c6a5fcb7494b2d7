"""The tables of docs/benchmarks.md on where the time goes: what each part of a job takes, and larger jobs on paper.

The parts are measured on one core, each by itself. What a GPU takes is assumed, not measured.

    python scripts/benchmark_parts.py --root DIR --weights DIR/mobilenet_v2.pth
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path

import torch
from benchmark_voc import LISTS
from markdown_page import fill
from simulate_scale import MAPS_PER_SECOND

from wsloc.cli.options import parse_localize
from wsloc.datasets import asked_classes, open_dataset
from wsloc.files.part_archive import ArchiveWriter
from wsloc.pipeline import Localizer, Runner, make_localizer
from wsloc.pipeline.map_stage import ImageMaps
from wsloc.records import ImageRecord
from wsloc.runs.kept_pictures import add_pictures
from wsloc.runs.map_store import add_maps
from wsloc.runs.record_lines import to_line

ITEMS_AN_IMAGE = 583 / 420
"""On val."""
MACHINES = (
    ("ImageNet's 1.28 M images on two cores, no GPU", 1_281_167, 1, 2, 0),
    ("the same on one H200 with 16 cores", 1_281_167, 1, 16, 1),
    ("the same on 8 of them", 1_281_167, 8, 16, 1),
    ("400 M images on 8 of them", 400_000_000, 8, 16, 1),
    ("400 M images on 64 of them", 400_000_000, 64, 16, 1),
)
"""Of each row: images, machines, cores and GPUs of each. ImageNet has one class an image; so have the 400 M."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Seconds of one core, for an item.

    Attributes:
        read: opening, decoding, both sizes.
        saliency: the network, on the core.
        cut: from map to box.
        write: the record, and its line.
        maps: keeping the map, where that is asked for.
        pictures: keeping its pictures, which at most 200 items of a run have.
    """

    read: float
    saliency: float
    cut: float
    write: float
    maps: float
    pictures: float


TITLES = {
    "read": "reading the image",
    "saliency": "saliency on the core",
    "cut": "the cut",
    "write": "writing the record",
    "maps": "`--save-maps`, if given",
    "pictures": "pictures for the report, of at most 200 items",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="folder that holds VOCdevkit")
    parser.add_argument("--weights", type=Path, required=True, help="torchvision's weights of mobilenet_v2")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    parts = measure_parts(options.root, options.weights, options.images, options.rounds)
    text = "\n".join([*parts_table(parts, options), "", *machines_table(parts)])
    print(text)
    fill("benchmark_parts", text)
    return 0


def measure_parts(root: Path, weights: Path, images: int = 64, rounds: int = 5) -> Parts:
    """Medians over the rounds, on the first images of VOC12-animals-920 val.

    Args:
        root: folder that holds VOCdevkit.
        weights: of mobilenet_v2.
        images: how many.
        rounds: how often.
    """
    torch.set_num_threads(1)
    flags = ["--dataset", "voc", "--root", str(root), "--split", "trainval", "--ids", str(LISTS / "val.txt")]
    flags += ["--limit", str(images), "--arch", "mobilenet_v2", "--weights", str(weights), "--device", "cpu"]
    config = parse_localize(flags)
    dataset = open_dataset(config.data)
    localizer = make_localizer(config, asked_classes(config.data, dataset))
    taken: dict[str, list[float]] = {field.name: [] for field in fields(Parts)}
    # The first round warms up.
    for _ in range(rounds + 1):
        for name, seconds in one_round(localizer, dataset.images).items():
            taken[name].append(seconds)
    return Parts(**{name: statistics.median(seconds[1:]) for name, seconds in taken.items()})


def one_round(localizer: Localizer, images: Sequence[ImageRecord]) -> dict[str, float]:
    """Seconds of the processor for an item, by part: each part is done for all images, then the next."""
    times = [time.process_time()]
    read = localizer.read(images)
    times.append(time.process_time())
    maps = list(localizer.maps.compute(read, Runner()))
    times.append(time.process_time())
    results = list(localizer.cut_maps(maps, Runner()))
    times.append(time.process_time())
    for result in results:
        for item in result.items:
            "".join(map(to_line, item.localizations))
    times.append(time.process_time())
    pairs = frozenset((result.image.image_id, item.class_name) for result in results for item in result.items)
    with tempfile.TemporaryDirectory() as folder, ArchiveWriter(Path(folder), 0) as part:
        for one in maps:
            assert isinstance(one, ImageMaps)
            add_maps(part, one, "float16")
        times.append(time.process_time())
        for result in results:
            add_pictures(part, result, pairs)
        times.append(time.process_time())
    names = [field.name for field in fields(Parts)]
    return {name: (after - before) / len(pairs) for name, (before, after) in zip(names, pairwise(times), strict=True)}


def parts_table(parts: Parts, options: argparse.Namespace) -> Iterator[str]:
    yield f"Measured: mobilenet_v2 and default settings on {options.images} images of val, one core of"
    yield f"{platform.machine()}; median of {options.rounds} rounds, torch {torch.__version__}."
    yield ""
    yield "| part | processor, ms an item |"
    yield "|---|---:|"
    for name, title in TITLES.items():
        yield f"| {title} | {1000 * getattr(parts, name):.2f} |"


def machines_table(parts: Parts) -> Iterator[str]:
    """Hours of larger jobs, as if their images were those of VOC."""
    on_cores = parts.read * ITEMS_AN_IMAGE + parts.cut + parts.write
    yield "On paper, from these parts, an item an image: all cores busy, images on a disk that is fast enough."
    yield f"Assumed, not measured: a GPU makes {MAPS_PER_SECOND:.0f} maps of resnet50 a second."
    yield ""
    yield "| job | items/s by the cores | items/s by the GPUs | hours | what it waits for |"
    yield "|---|---:|---:|---:|---|"
    for title, images, machines, cores, gpus in MACHINES:
        by_cores = machines * cores / (on_cores + (0 if gpus else parts.saliency))
        by_gpus = machines * gpus * MAPS_PER_SECOND
        rate, slower = min((by_cores, "cores"), (by_gpus or float("inf"), "GPUs"))
        cells = [f"{by_cores:.0f}", f"{by_gpus:.0f}" if gpus else "", f"{images / rate / 3600:.1f}", slower]
        yield f"| {title} | {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
