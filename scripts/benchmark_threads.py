"""The table of docs/benchmarks.md on threads: network and pool side by side, each on its share of the cores, or one
after the other, each on all of them.

Both ways work on the same images in turn, and the ratio of their clocks is that of each round. It wants a machine that
does nothing else.

    python scripts/benchmark_threads.py --root data --split trainval --weights-dir weights
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterator, Sequence

from benchmark_runs import weights_flags
from benchmark_voc import add_data_flags, data_flags
from markdown_page import fill
from tqdm import tqdm

from wsloc.cli.options import parse_localize
from wsloc.datasets import asked_classes, open_dataset
from wsloc.pipeline import Localizer, Runner, localize_images, make_localizer
from wsloc.records import ImageRecord
from wsloc.threads import ThreadPlan, applied, available_cores, plan_threads

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
    yield (
        f"{options.images} images of val on {cores} cores, median of {options.rounds} rounds. The ratio is that of the "
        "clocks, one after the other over side by side."
    )
    yield ""
    yield "| network | segmenter | side by side, s | one after the other, s | ratio | of each round |"
    yield "|---|---|---:|---:|---:|---|"
    for network in options.networks:
        for segmenter in SEGMENTERS:
            localizer, images = opened(options, network, segmenter)
            rounds = [
                (side_by_side(localizer, images), one_after_the_other(localizer, images))
                for _ in tqdm(range(options.rounds), f"{network} {segmenter}")
            ]
            ratios = [after / beside for beside, after in rounds]
            beside, after = (statistics.median(seconds) for seconds in zip(*rounds, strict=True))
            yield (
                f"| {network} | {segmenter} | {beside:.1f} | {after:.1f} | {statistics.median(ratios):.2f} | "
                f"{min(ratios):.2f} to {max(ratios):.2f} |"
            )


def opened(options: argparse.Namespace, network: str, segmenter: str) -> tuple[Localizer, Sequence[ImageRecord]]:
    flags = ["--arch", network, *weights_flags(options, network), "--segmenter", segmenter, "--device", "cpu"]
    config = parse_localize([*data_flags(options, "val"), *flags, "--limit", str(options.images)])
    dataset = open_dataset(config.data)
    return make_localizer(config, asked_classes(config.data, dataset)), dataset.images


def side_by_side(localizer: Localizer, images: Sequence[ImageRecord]) -> float:
    """Seconds on the clock, as a run divides the cores."""
    start = time.perf_counter()
    with applied(plan_threads(localizer.model.scorer.device)) as pool:
        for _ in localize_images(localizer, images, runner=Runner(pool, localizer.window)):
            pass
    return time.perf_counter() - start


def one_after_the_other(localizer: Localizer, images: Sequence[ImageRecord]) -> float:
    """Seconds on the clock: first all maps, then all cuts."""
    cores, start = available_cores(), time.perf_counter()
    with applied(ThreadPlan(network=1, workers=cores)) as pool:
        read = list(Runner(pool, localizer.window).run(localizer.read, images))
    with applied(ThreadPlan(network=cores, workers=0)):
        maps = list(localizer.maps.compute(read, Runner()))
    with applied(ThreadPlan(network=1, workers=cores)) as pool:
        for _ in localizer.cut_maps(maps, Runner(pool, localizer.window)):
            pass
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
