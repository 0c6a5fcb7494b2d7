"""The table of docs/benchmarks.md on threads: network and pool side by side, each on half of the cores, or in turn,
each on all of them.

Both ways work on the same images one after the other, and the ratio of their clocks is that of each round. It wants a
machine that does nothing else, without OMP_NUM_THREADS.

    python scripts/benchmark_threads.py --root data --split trainval --weights-dir weights
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterator, Sequence

from benchmark_methods import side_by_side
from benchmark_runs import weights_flags
from benchmark_voc import add_data_flags, data_flags
from markdown_page import fill
from tqdm import tqdm

from wsloc.cli.options import parse_localize
from wsloc.datasets import asked_classes, open_dataset
from wsloc.pipeline import Localizer, localize_images, make_localizer, running
from wsloc.records import ImageRecord
from wsloc.threads import ThreadPlan, available_cores

NETWORKS = ("squeezenet1_0", "mobilenet_v2", "densenet121")
SEGMENTERS = ("grabcut", "grabcut-plain")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_flags(parser)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS, help="only these")
    parser.add_argument("--images", type=int, default=64, help="number of images")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    text = "\n".join(table(options))
    fill("benchmark_threads", text)
    print(text)
    return 0


def table(options: argparse.Namespace) -> Iterator[str]:
    cores = available_cores()
    plans = side_by_side(), ThreadPlan(network=cores, workers=cores, in_turn=True)
    yield (
        f"{options.images} images of val on {cores} cores, median of {options.rounds} rounds. The ratio is that of the "
        "clocks, in turn over side by side."
    )
    yield ""
    yield "| network | segmenter | side by side, s | in turn, s | ratio | of each round |"
    yield "|---|---|---:|---:|---:|---|"
    for network in options.networks:
        for segmenter in SEGMENTERS:
            localizer, images = opened(options, network, segmenter)
            rounds = [
                [seconds(localizer, images, plan) for plan in plans]
                for _ in tqdm(range(options.rounds), f"{network} {segmenter}")
            ]
            ratios = [in_turn / beside for beside, in_turn in rounds]
            beside, in_turn = map(statistics.median, zip(*rounds, strict=True))
            yield (
                f"| {network} | {segmenter} | {beside:.1f} | {in_turn:.1f} | {statistics.median(ratios):.2f} | "
                f"{min(ratios):.2f} to {max(ratios):.2f} |"
            )


def opened(options: argparse.Namespace, network: str, segmenter: str) -> tuple[Localizer, Sequence[ImageRecord]]:
    flags = ["--arch", network, *weights_flags(options, network), "--segmenter", segmenter, "--device", "cpu"]
    config = parse_localize([*data_flags(options, "val"), *flags, "--limit", str(options.images)])
    dataset = open_dataset(config.data)
    return make_localizer(config, asked_classes(config.data, dataset)), dataset.images


def seconds(localizer: Localizer, images: Sequence[ImageRecord], plan: ThreadPlan) -> float:
    """On the clock, from the first image to the last."""
    start = time.perf_counter()
    with running(plan, localizer.window) as runner:
        for _ in localize_images(localizer, images, runner):
            pass
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
