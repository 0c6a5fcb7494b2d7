"""Fills docs/scale.md: what large data sets cost, and a simulation of the stages that says how many cores a GPU needs.

python scripts/simulate_scale.py
python scripts/simulate_scale.py --measure --root DIR --weights mobilenet_v2.pth

The second command prints the figures of one item that stand in MEASURED. Figures of GPUs, and prices, are assumptions.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import random
import tempfile
import time
import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markdown_page import fill

PAGE = Path(__file__).resolve().parents[1] / "docs" / "scale.md"


@dataclass(frozen=True)
class Costs:
    """Of one image or one item (an image and a class), on one core."""

    read_seconds: float  # per image: decoded, network's input, working image
    cut_seconds: float  # per item
    record_bytes: float  # per item
    map_bytes: float  # per item, as --save-maps float32 stores it
    image_bytes: float  # per image, of its file
    listed_bytes: float  # of memory per image, in every process that opens the data set
    judged_bytes: float  # of memory per item, in the process that judges the run


MEASURED = Costs(read_seconds=0.008, cut_seconds=0.092, record_bytes=864, map_bytes=200_704,
                 image_bytes=93_000, listed_bytes=630, judged_bytes=1400)  # fmt: skip
"""80 photographs of VOC, mobilenet_v2, gradient and GrabCut as by default; processor time of one core of a virtual
machine that others shared, so that an idle one is faster."""
TRAINED_PER_SECOND = 2470
"""Images of ResNet-50 v1.5 that an A100 of 80 GB trains with in a second, mixed precision (NVIDIA's
DeepLearningExamples, PyTorch/Classification/ConvNets/resnet50v1.5). A newer GPU is not slower."""
MAPS_PER_SECOND = TRAINED_PER_SECOND * 3 / 2
"""A training step is a forward pass and two of its kind backward, to features and parameters; a map needs one."""
GPU_HOUR, CORE_HOUR, TERABYTE_MONTH = 2.0, 0.04, 20.0
"""Assumed prices in dollars."""
SETS = {"ImageNet": (1.28e6, 1.0), "OpenImages": (9e6, 2.0), "400 M images": (400e6, 1.0)}
"""Images, and items per image; the last two are assumptions."""
CORES = (8, 16, 32, 64, 128, 256, 384, 512)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", action="store_true", help="print the figures of one item instead")
    parser.add_argument("--root", default="data", help="folder that holds VOCdevkit")
    parser.add_argument("--weights", help="of mobilenet_v2 (default: torchvision's, downloaded)")
    parser.add_argument("--limit", default="80", help="number of photographs")
    given = parser.parse_args()
    if given.measure:
        weights = ["--weights", given.weights] if given.weights else []
        voc = ["--dataset", "voc", "--root", given.root, "--arch", "mobilenet_v2", *weights, "--limit", given.limit]
        measure(voc)
        return
    fill("costs", "\n".join(cost_table(MEASURED)), PAGE)
    fill("simulation", "\n".join(simulation_table(MEASURED)), PAGE)


def measure(flags: Sequence[str]) -> None:
    """Print the processor time of each stage, and the bytes of what a run keeps."""
    from wsloc.cli.options import parse_localize
    from wsloc.datasets import asked_classes, open_dataset
    from wsloc.pipeline import Runner, make_localizer
    from wsloc.pipeline.map_stage import ImageMaps
    from wsloc.runs.record_lines import to_line

    config = parse_localize(flags)
    dataset = open_dataset(config.data)
    localizer, runner = make_localizer(config, asked_classes(config.data, dataset)), Runner()
    seconds = [time.process_time()]
    read = list(runner.run(localizer.read, dataset.images))
    seconds.append(time.process_time())
    maps = list(localizer.maps.compute(read, runner))
    seconds.append(time.process_time())
    results = list(localizer.cut_maps(maps, runner))
    seconds.append(time.process_time())
    records = [record for result in results for item in result.items for record in item.localizations]
    map_bytes = [values.nbytes for image in maps if isinstance(image, ImageMaps) for values in image.maps.values()]
    spent = [after - before for before, after in itertools.pairwise(seconds)]
    print(f"{len(read)} images, {len(records)} items")
    print(f"read_seconds={spent[0] / len(read):.4f}, cut_seconds={spent[2] / len(records):.4f}")
    print(f"record_bytes={sum(len(to_line(record)) for record in records) / len(records):.0f}")
    print(f"map_bytes={sum(map_bytes) / len(map_bytes):.0f}")
    print(f"image_bytes={sum(image.path.stat().st_size for image in dataset.images) / len(read):.0f}")
    print("listed_bytes={:.0f}, judged_bytes={:.0f}".format(*memory([to_line(record) for record in records])))
    print(f"maps on this CPU: {spent[1] / len(map_bytes):.4f} s")


def memory(lines: Sequence[str], count: int = 20_000) -> tuple[float, float]:
    """Bytes of memory of an image in a list of labeled files, and of a box that was read back from these lines."""
    from wsloc.datasets.own_images import open_labeled_images
    from wsloc.runs.record_lines import from_fields

    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder, "labels.csv")
        rows = (f"n{row % 1000:08}/n{row % 1000:08}_{row}.JPEG,n{row % 1000:08}" for row in range(count))
        table.write_text("\n".join(["image,label", *rows]) + "\n", encoding="utf-8")
        tracemalloc.start()
        dataset = open_labeled_images(table.parent, table)
        listed = tracemalloc.get_traced_memory()[0] / len(dataset.images)
        tracemalloc.stop()
    tracemalloc.start()
    boxes = [from_fields(json.loads(lines[row % len(lines)])) for row in range(count)]
    judged = tracemalloc.get_traced_memory()[0] / len(boxes)
    tracemalloc.stop()
    return listed, judged


def cores_per_gpu(costs: Costs, per_image: float) -> float:
    """So many cores read and cut as fast as one GPU makes maps."""
    return MAPS_PER_SECOND * (costs.read_seconds / per_image + costs.cut_seconds)


def cost_table(costs: Costs) -> list[str]:
    """One column for each data set."""
    columns = [list(costs_of(costs, *SETS[name]).items()) for name in SETS]
    head = [f"| | {' | '.join(SETS)} |", f"|---|{'---:|' * len(SETS)}"]
    rows = [f"| {row[0][0]} | {' | '.join(value for _, value in row)} |" for row in zip(*columns, strict=True)]
    return head + rows


def costs_of(costs: Costs, images: float, per_image: float) -> dict[str, str]:
    """What a data set costs, by what it is called in the table."""
    items = images * per_image
    gpu_hours = items / MAPS_PER_SECOND / 3600
    core_hours = (images * costs.read_seconds + items * costs.cut_seconds) / 3600
    maps = items * costs.map_bytes / 1e12
    return {
        "images": f"{images / 1e6:g} M",
        "items": f"{items / 1e6:g} M",
        "GPU hours": f"{gpu_hours:,.1f}",
        "core hours": f"{core_hours:,.0f}",
        "cores beside one GPU, so that neither waits": f"{cores_per_gpu(costs, per_image):.0f}",
        "image files": f"{images * costs.image_bytes / 1e12:,.2f} TB",
        "records": f"{items * costs.record_bytes / 1e9:,.1f} GB",
        "maps, if they are saved": f"{maps:,.2f} TB",
        "memory of each process, for the list": f"{images * costs.listed_bytes / 1e9:,.1f} GB",
        "memory of the process that judges": f"{items * costs.judged_bytes / 1e9:,.1f} GB",
        "GPUs and cores": f"${gpu_hours * GPU_HOUR + core_hours * CORE_HOUR:,.0f}",
        "a month of the maps": f"${maps * TERABYTE_MONTH:,.0f}",
    }


def simulation_table(costs: Costs) -> list[str]:
    """One row for each number of cores beside one GPU, one item per image."""
    lines = [
        "| cores per GPU | items per second | by division | GPU busy | cores busy |",
        "|---:|---:|---:|---:|---:|",
    ]
    for cores in CORES:
        rate, gpu, busy = simulate(costs, cores)
        divided = min(MAPS_PER_SECOND, cores / (costs.read_seconds + costs.cut_seconds))
        lines.append(f"| {cores} | {rate:.0f} | {divided:.0f} | {gpu:.0%} | {busy:.0%} |")
    return lines


def simulate(costs: Costs, cores: int, items: int = 20_000, batch: int = 16) -> tuple[float, float, float]:
    """The stages as a queueing network: cores that read and cut, a GPU that takes batches, bounded places between them.

    A core cuts if there is something to cut, else it reads if there is room; times vary (gamma, half their mean).

    Returns:
        Items per second, and the fractions of the time that the GPU and the cores were busy.
    """
    draw = random.Random(0)
    room = 4 * batch + 2 * cores
    unread, reading, to_map, to_cut = items, 0, 0, 0
    free, gpu_free, done, now = cores, True, 0, 0.0
    core_seconds = gpu_seconds = 0.0
    events: list[tuple[float, str, int]] = []
    while done < items:
        while gpu_free and to_cut < room and (to_map >= batch or (to_map and not unread and not reading)):
            taken = min(batch, to_map)
            to_map, gpu_free = to_map - taken, False
            gpu_seconds += batch / MAPS_PER_SECOND
            heapq.heappush(events, (now + batch / MAPS_PER_SECOND, "map", taken))
        while free and (to_cut or (unread and reading + to_map < room)):
            free -= 1
            kind, mean = ("cut", costs.cut_seconds) if to_cut else ("read", costs.read_seconds)
            to_cut, unread, reading = to_cut - (kind == "cut"), unread - (kind == "read"), reading + (kind == "read")
            seconds = draw.gammavariate(4, mean / 4)
            core_seconds += seconds
            heapq.heappush(events, (now + seconds, kind, 1))
        now, kind, count = heapq.heappop(events)
        if kind == "map":
            gpu_free, to_cut = True, to_cut + count
        else:
            free += 1
            done += kind == "cut"
            to_map, reading = to_map + (kind == "read"), reading - (kind == "read")
    return items / now, gpu_seconds / now, core_seconds / (now * cores)


if __name__ == "__main__":
    main()
