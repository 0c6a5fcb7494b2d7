"""The table of docs/benchmarks.md on VOC12-animals-920: networks x ways from map to box.

Runs what is missing (a killed benchmark resumes), chooses the threshold on train, reports val, and writes
the table into docs/benchmarks.md between its markers. All figures come from the run folders.

    python scripts/benchmark_voc.py --root data --split trainval --weights-dir weights
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from benchmark_runs import finished, weights_flags
from markdown_page import fill

from wsloc.cli.options import parse_localize
from wsloc.datasets import open_dataset, read_ground_truth
from wsloc.evaluation import BASELINES, estimate
from wsloc.evaluation.corloc import IOU_THRESHOLD, class_wise, image_wise, per_class_corloc
from wsloc.evaluation.items import judged_items
from wsloc.evaluation.judging import Judged, TrueBoxes, judge_baseline, judge_localizations, true_boxes
from wsloc.evaluation.object_groups import size_groups
from wsloc.evaluation.table import format_interval
from wsloc.records import GroundTruth
from wsloc.runs.read_run import read_run
from wsloc.runs.run_folder import read_manifest

REPOSITORY = Path(__file__).resolve().parents[1]
LISTS = REPOSITORY / "docs" / "voc12-animals-920"

NETWORKS = ("squeezenet1_0", "mobilenet_v2", "densenet121")
CLASSES = ("cat", "cow", "dog", "horse", "person", "sheep")
THRESHOLDS = ("0.15", "0.25", "0.35", "0.45")
SEGMENTERS = ("threshold", "graphcut-2013", "grabcut")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_flags(parser)
    options = parser.parse_args()

    true = truth_of(options, "train")
    thresholds = {}
    for network in NETWORKS:
        corloc = {}
        for value in THRESHOLDS:
            folder = run(options, network, "train", "threshold", value)
            judged = judge_localizations(true, read_run(folder).localizations)
            corloc[value] = per_class_corloc(judged).mean()
        thresholds[network] = max(corloc, key=lambda value: corloc[value])
    table = make_table(options, thresholds)
    fill("benchmark_voc", table)
    print(table)
    return 0


def add_data_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--root", type=Path, default=Path("data"), help="folder that holds VOCdevkit")
    parser.add_argument(
        "--split", help="list in ImageSets/Main that holds all ids (default: trainval)", default="trainval"
    )
    parser.add_argument("--weights-dir", type=Path, help="folder of NAME.pth files (default: torchvision's weights)")
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmark-voc"), help="folder of the run folders")


def run(options: argparse.Namespace, network: str, part: str, segmenter: str, threshold: str) -> Path:
    """The run folder of one cell, computed unless it is complete."""
    name = f"{network}-{part}-{segmenter}" + (f"-{threshold}" if segmenter == "threshold" else "")
    folder: Path = options.runs / name
    flags = [*data_flags(options, part), "--arch", network, "--segmenter", segmenter]
    if segmenter == "threshold":
        flags += ["--threshold", threshold]
    return finished(folder, "localize", [*flags, *weights_flags(options, network)])


def data_flags(options: argparse.Namespace, part: str, classes: Sequence[str] = CLASSES) -> list[str]:
    """The images of a part; no classes for all of them."""
    return [
        *("--dataset", "voc", "--year", "2012", "--root", str(options.root), "--split", options.split),
        *("--ids", str(LISTS / f"{part}.txt"), *(["--classes", *classes] if classes else [])),
    ]  # fmt: skip


def read_truth(options: argparse.Namespace, part: str, classes: Sequence[str] = CLASSES) -> dict[str, GroundTruth]:
    config = parse_localize(data_flags(options, part, classes))
    truth = read_ground_truth(config.data, open_dataset(config.data))
    assert truth is not None
    return truth.images


def truth_of(options: argparse.Namespace, part: str) -> TrueBoxes:
    truth = read_truth(options, part)
    return true_boxes(judged_items(truth, CLASSES), truth)


@dataclass(frozen=True)
class Cell:
    """One way to make boxes, and how it did on val."""

    network: str
    label: str
    judged: Judged
    seconds: tuple[str, str] = ("", "")


def make_table(options: argparse.Namespace, thresholds: dict[str, str]) -> str:
    true = truth_of(options, "val")
    cells = [Cell("none", name, judge_baseline(true, make_box)) for name, make_box in BASELINES.items()]
    for network in NETWORKS:
        for segmenter in SEGMENTERS:
            folder = run(options, network, "val", segmenter, thresholds[network])
            label = f"threshold {thresholds[network]}" if segmenter == "threshold" else segmenter
            judged = judge_localizations(true, read_run(folder).localizations)
            cells.append(Cell(network, label, judged, seconds_of(folder)))
    counts = ", ".join(
        f"{name} {count}" for name, count in zip(true.items.class_names, true.items.counts(), strict=True)
    )
    return "\n".join(
        [
            f"{len(true.items)} items in {len(true.items.image_ids)} images of val: {counts}. Percent; 95 % "
            "bootstrap intervals over images.",
            "",
            *corloc_table(true.items.class_names, cells),
            "",
            "Items found, in percent, by the fraction of the image that the largest box of the class covers:",
            "",
            *size_table(true, cells),
            "",
            "Paired differences of class-wise CorLoc on the same items, in points:",
            "",
            *difference_table(cells),
        ]
    )


def seconds_of(folder: Path) -> tuple[str, str]:
    """Seconds of work per image, for saliency and cut."""
    manifest = read_manifest(folder)
    assert manifest is not None
    timing = manifest["timing"]
    saliency, cut = (timing["stage_seconds"][stage] / max(1, timing["images"]) for stage in ("saliency", "cut"))
    return f"{saliency:.3f}", f"{cut:.3f}"


def corloc_table(class_names: Sequence[str], cells: list[Cell]) -> list[str]:
    heads = [*class_names, "CorLoc class-wise", "CorLoc image-wise", "saliency s/image", "cut s/image"]
    lines = [f"| network | boxes from | {' | '.join(heads)} |", "|---|---|" + "---:|" * len(heads)]
    for cell in cells:
        values = [f"{100 * value:.0f}" for value in per_class_corloc(cell.judged)]
        values += [format_interval(estimate(metric, cell.judged)) for metric in (class_wise, image_wise)]
        lines.append(f"| {cell.network} | {cell.label} | {' | '.join([*values, *cell.seconds])} |")
    return lines


def size_table(true: TrueBoxes, cells: list[Cell]) -> list[str]:
    groups = size_groups(true)
    heads = [f"{name} ({group.sum()} items)" for name, group in groups.items()]
    lines = [f"| network | boxes from | {' | '.join(heads)} |", "|---|---|" + "---:|" * len(groups)]
    for cell in cells:
        found = [f"{100 * np.mean(cell.judged.iou[group] > IOU_THRESHOLD):.0f}" for group in groups.values()]
        lines.append(f"| {cell.network} | {cell.label} | {' | '.join(found)} |")
    return lines


def difference_table(cells: list[Cell]) -> list[str]:
    lines = ["| network | difference | points |", "|---|---|---:|"]
    for network in NETWORKS:
        *others, grabcut = [cell for cell in cells if cell.network == network]
        for other in others:
            difference = format_interval(estimate(class_wise, grabcut.judged, other.judged))
            lines.append(f"| {network} | {grabcut.label} - {other.label} | {difference} |")
    return lines


if __name__ == "__main__":
    sys.exit(main())
