"""The table of docs/benchmarks.md on what learning over the set gains: ``--preset best``, ``default``, and others.

The others are ``fast``, CAM, Grad-CAM, and LayerCAM, each at the threshold that is best on train (train-96.txt in
docs/voc12-animals-920), the graph cut of 2013, and one round of self-training from the boxes of best. Runs what is
missing on VOC12-animals-920 (a killed benchmark resumes), all labels of all images, and writes the table into
docs/benchmarks.md
between its markers.

    python scripts/benchmark_best.py --root data --split trainval --weights-dir weights
    python scripts/benchmark_best.py --root data --split trainval --weights-dir weights --timing
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from benchmark_detector import BACKBONE, DETECTOR
from benchmark_methods import THRESHOLDS, Cell, chosen_threshold
from benchmark_runs import finished, weights_flags
from benchmark_voc import CLASSES, NETWORKS, REPOSITORY, add_data_flags, data_flags, read_truth
from markdown_page import fill
from numpy.typing import NDArray

from wsloc.evaluation import BASELINES, estimate
from wsloc.evaluation.corloc import IOU_THRESHOLD, class_wise, per_class_corloc
from wsloc.evaluation.items import judged_items
from wsloc.evaluation.judging import Judged, TrueBoxes, judge_baseline, judge_localizations, true_boxes
from wsloc.evaluation.object_groups import count_groups, size_groups
from wsloc.evaluation.table import format_interval
from wsloc.records import GroundTruth
from wsloc.reporting.figures import miss_kinds
from wsloc.runs.read_run import read_run

PRESETS = ("default", "best")
METHODS = ("cam", "grad-cam", "layer-cam")
TIMED_IMAGES, REPEATS = 60, 2
# As in benchmark_detector.py, on the images of val themselves, whose true boxes it does not see.
SELF_TRAINING = (
    *DETECTOR,
    *("--image-size", "192", "--epochs", "12", "--ema-decay", "0.99"),
)
Groups = dict[str, NDArray[np.bool_]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_flags(parser)
    parser.add_argument("--networks", nargs="+", default=NETWORKS, help="torchvision names (default: all three)")
    parser.add_argument("--timing", action="store_true", help="what best costs instead of what it finds")
    parser.set_defaults(runs=Path("runs/benchmark-best"))
    options = parser.parse_args()
    if options.timing:
        name, table = "benchmark_best timing", "\n".join(timing_table(options))
    else:
        truth = read_truth(options, "val", classes=())
        name, table = "benchmark_best", make_table(options, truth)
        fill("benchmark_best misses", "\n".join(misses_table(options, truth)))
    fill(name, table)
    print(table)
    return 0


def run(options: argparse.Namespace, network: str, preset: str, part: str = "val") -> Path:
    """The run folder of a network and preset, with its maps; computed unless it is complete."""
    folder: Path = options.runs / f"{network}-{preset}-{part}"
    return finished(folder, "localize", [*run_flags(options, network, preset, part), "--save-maps"])


def runs(options: argparse.Namespace, network: str) -> Iterator[tuple[str, Path]]:
    """The run folders of a network on val by name, ``default`` first."""
    default = run(options, network, "default")
    yield "default: gradient, grabcut", default
    yield "fast", run(options, network, "fast")
    for method in METHODS:
        threshold = THRESHOLDS[chosen_threshold(options, Cell(network, method, "val"))]
        flags = [*run_flags(options, network, "default", "val"), "--method", method]
        flags += ["--segmenter", "threshold", "--threshold", str(threshold)]
        yield f"{method}, threshold {threshold}", finished(options.runs / f"{network}-{method}-val", "localize", flags)
    recut = ["--maps", str(default), "--segmenter", "graphcut-2013"]
    yield "gradient, graphcut-2013", finished(options.runs / f"{network}-graphcut-val", "localize", recut)
    best = run(options, network, "best")
    yield "best", best
    own = ["--boxes-from", str(best), "--rounds", "1", *SELF_TRAINING, *weights_flags(options, BACKBONE, "--backbone")]
    yield "best, self-training", finished(options.runs / f"{network}-self-training", "self-train", own) / "round-1"


def run_flags(options: argparse.Namespace, network: str, preset: str, part: str) -> list[str]:
    flags = [*data_flags(options, part, classes=()), "--arch", network, "--preset", preset]
    return [*flags, *weights_flags(options, network)]


def make_table(options: argparse.Namespace, truth: dict[str, GroundTruth]) -> str:
    six = true_boxes(judged_items(truth, CLASSES), truth)
    everything = tuple(sorted({name for boxes in truth.values() for name in boxes.class_names}))
    whole = true_boxes(judged_items(truth, everything), truth)
    groups = groups_of(six)
    heads = [*CLASSES, "class-wise, six", "gain over default", "class-wise, all 20", *groups, "mean IoU"]
    lines = [f"| network | boxes from | {' | '.join(heads)} |", "|---|---|" + "---:|" * len(heads)]
    center = judge_baseline(six, BASELINES["center box"])
    lines.append(row("none", "center box", center, None, judge_baseline(whole, BASELINES["center box"]), groups))
    for network in options.networks:
        default = None
        for name, folder in runs(options, network):
            boxes = read_run(folder).localizations
            judged = judge_localizations(six, boxes)
            overall = judge_localizations(whole, boxes)
            lines.append(row(network, name, judged, default, overall, groups))
            default = default or judged
    head = (
        f"{len(six.items)} items of six classes, {len(whole.items)} of all, in {len(whole.items.image_ids)} images of "
    )
    return "\n".join([f"{head}val. Percent; 95 % bootstrap intervals over images.", "", *lines])


def misses_table(options: argparse.Namespace, truth: dict[str, GroundTruth]) -> Iterator[str]:
    """What became of the items of the six classes, and of people alone."""
    header = False
    for network in options.networks:
        for preset in PRESETS:
            boxes = read_run(run(options, network, preset)).localizations
            for name, classes in {"six classes": CLASSES, "person": ("person",)}.items():
                true = true_boxes(judged_items(truth, classes), truth)
                kinds = miss_kinds(judge_localizations(true, boxes), true, boxes)
                if not header:
                    header = True
                    yield f"| network | preset | items | {' | '.join(kind.name for kind in kinds)} |"
                    yield "|---|---|---|" + "---:|" * len(kinds)
                cells = " | ".join(str(kind.count) for kind in kinds)
                yield f"| {network} | {preset} | {name}: {len(true.items)} | {cells} |"


def timing_table(options: argparse.Namespace) -> Iterator[str]:
    """Seconds of whole commands, run in turn; the fastest of each counts."""
    yield f"The first {TIMED_IMAGES} images of val, whole commands from start to end, fastest of {REPEATS}; seconds."
    yield ""
    yield "| network | default | best | ratio | default, CPU | best, CPU | ratio |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    for network in options.networks:
        taken = [[timed(options, network, preset) for preset in PRESETS] for _ in range(REPEATS)]
        default, best = np.min(taken, axis=0)
        cells = [
            f"{values[0]:.0f} | {values[1]:.0f} | {values[1] / values[0]:.2f}"
            for values in zip(default, best, strict=True)
        ]
        yield f"| {network} | {' | '.join(cells)} |"


def timed(options: argparse.Namespace, network: str, preset: str) -> tuple[float, float]:
    """Seconds on the clock and of the processor that a run takes."""
    before, start = os.times(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        flags = [*run_flags(options, network, preset, "val"), "--limit", str(TIMED_IMAGES), "--out", f"{folder}/run"]
        command = [sys.executable, str(REPOSITORY / "scripts" / "localize.py"), *flags]
        if subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode > 1:
            sys.exit(f"{shlex.join(command)} failed.")
    after = os.times()
    processor = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - start, processor


def groups_of(true: TrueBoxes) -> Groups:
    sizes, counts = size_groups(true), count_groups(true)
    return {f"{name} ({group.sum()})": group for name, group in (*counts.items(), *sizes.items())}


def row(
    network: str,
    label: str,
    judged: Judged,
    before: Judged | None,
    overall: Judged,
    groups: Groups,
) -> str:
    values = [f"{100 * value:.0f}" for value in per_class_corloc(judged)]
    values.append(format_interval(estimate(class_wise, judged)))
    values.append("" if before is None else format_interval(estimate(class_wise, judged, before)))
    values.append(format_interval(estimate(class_wise, overall)))
    values += [f"{100 * np.mean(judged.iou[group] > IOU_THRESHOLD):.0f}" for group in groups.values()]
    values += [f"{100 * np.mean(judged.iou):.1f}"]
    return f"| {network} | {label} | {' | '.join(values)} |"


if __name__ == "__main__":
    sys.exit(main())
