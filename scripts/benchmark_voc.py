"""The table of docs/benchmarks.md on VOC12-animals-920: networks x ways from map to box.

Runs what is missing (a killed benchmark goes on), chooses the threshold on train, reports val, and writes
the table into docs/benchmarks.md between its markers. All figures come from the run folders.

    python scripts/benchmark_voc.py --root data --split trainval --weights-dir weights
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from markdown_page import fill

from wsloc import boxes
from wsloc.cli.main import run_verb
from wsloc.cli.options import parse_localize
from wsloc.datasets import open_dataset, read_ground_truth
from wsloc.evaluation import BASELINES, Estimate, estimate
from wsloc.evaluation.corloc import IOU_THRESHOLD, class_wise, image_wise, per_class_corloc
from wsloc.evaluation.judging import Items, Judged, judge_baseline, judge_localizations, judged_items
from wsloc.evaluation.table import format_interval
from wsloc.records import GroundTruth
from wsloc.runs import read_localizations, read_manifest

REPOSITORY = Path(__file__).resolve().parents[1]
LISTS = REPOSITORY / "docs" / "voc12-animals-920"

NETWORKS = ("squeezenet1_0", "mobilenet_v2", "densenet121")
CLASSES = ("cat", "cow", "dog", "horse", "person", "sheep")
THRESHOLDS = ("0.15", "0.25", "0.35", "0.45")
SIZE_EDGES = (0.15, 0.4)
SEGMENTERS = ("threshold", "graphcut-2013", "grabcut")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_flags(parser)
    options = parser.parse_args()

    thresholds = {}
    for network in NETWORKS:
        runs = {value: run(options, network, "train", "threshold", value) for value in THRESHOLDS}
        thresholds[network] = max(runs, key=lambda value: corloc_of(options, "train", runs[value]).value)
        for segmenter in SEGMENTERS:
            run(options, network, "val", segmenter, thresholds[network])
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
    manifest = read_manifest(folder)
    if manifest and manifest["complete"]:
        return folder
    flags = [*data_flags(options, part), "--arch", network, "--segmenter", segmenter, "--out", str(folder)]
    if segmenter == "threshold":
        flags += ["--threshold", threshold]
    if options.weights_dir:
        flags += ["--weights", str(options.weights_dir / f"{network}.pth")]
    if run_verb("localize", [*flags, "--resume"] if manifest else flags) > 1:
        sys.exit(f"The run {folder} failed.")
    return folder


def data_flags(options: argparse.Namespace, part: str) -> list[str]:
    return [
        *("--dataset", "voc", "--year", "2012", "--root", str(options.root), "--split", options.split),
        *("--ids", str(LISTS / f"{part}.txt"), "--classes", *CLASSES),
    ]  # fmt: skip


def truth_of(options: argparse.Namespace, part: str) -> tuple[Items, dict[str, GroundTruth]]:
    config = parse_localize(data_flags(options, part))
    dataset = open_dataset(config.data)
    truth = read_ground_truth(config.data, dataset)
    assert truth is not None
    return judged_items(truth.images, CLASSES), truth.images


def corloc_of(options: argparse.Namespace, part: str, folder: Path) -> Estimate:
    items, truth = truth_of(options, part)
    return estimate(class_wise, judge_localizations(items, truth, read_localizations(folder)))


def make_table(options: argparse.Namespace, thresholds: dict[str, str]) -> str:
    items, truth = truth_of(options, "val")
    counts = items.present.sum(axis=0)
    lines = [
        f"{int(items.present.sum())} items in {len(items.image_ids)} images of val: "
        + ", ".join(f"{name} {count}" for name, count in zip(items.class_names, counts, strict=True))
        + ". Percent; 95 % bootstrap intervals over images.",
        "",
        "| network | boxes from | " + " | ".join(items.class_names) + " | CorLoc class-wise | CorLoc image-wise "
        "| saliency s/image | cut s/image |",
        "|---|---|" + "---:|" * (len(CLASSES) + 4),
    ]
    for name, make_box in BASELINES.items():
        lines.append(row("none", name, judge_baseline(items, truth, make_box), "", ""))
    differences = []
    for network in NETWORKS:
        judged = {}
        for segmenter in SEGMENTERS:
            folder = run(options, network, "val", segmenter, thresholds[network])
            judged[segmenter] = judge_localizations(items, truth, read_localizations(folder))
            manifest = read_manifest(folder)
            assert manifest is not None
            seconds = manifest["timing"]["stage_seconds"]
            images = max(1, manifest["timing"]["images"])
            label = f"threshold {thresholds[network]}" if segmenter == "threshold" else segmenter
            times = [f"{seconds[stage] / images:.3f}" for stage in ("saliency", "cut")]
            lines.append(row(network, label, judged[segmenter], *times))
        for other in ("threshold", "graphcut-2013"):
            difference = estimate(class_wise, judged["grabcut"], judged[other])
            differences.append(f"| {network} | grabcut - {other} | {format_interval(difference)} |")
    return "\n".join(
        [
            *lines,
            "",
            "Paired differences of class-wise CorLoc on the same items, in points:",
            "",
            "| network | difference | points |",
            "|---|---|---:|",
            *differences,
        ]
    )


def size_table(
    options: argparse.Namespace, thresholds: dict[str, str], items: Items, truth: dict[str, GroundTruth]
) -> list[str]:
    """Share of items found by how much of the image the class's largest box covers."""
    share = np.full(items.present.shape, np.nan)
    for n, k in zip(*np.nonzero(items.present), strict=True):
        image = truth[items.image_ids[n]]
        own = image.boxes_xyxy[[name == items.class_names[k] for name in image.class_names]]
        share[n, k] = boxes.area(own).max() / (image.size_wh[0] * image.size_wh[1])
    small, large = SIZE_EDGES
    groups = [share < small, (share >= small) & (share < large), share >= large]
    names = (f"below {100 * small:.0f} %", f"to {100 * large:.0f} %", "above")
    heads = [f"{name} ({group.sum()})" for name, group in zip(names, groups, strict=True)]
    lines = [
        "Items found, in percent, by the share of the image that the largest box of the class covers:",
        "",
        f"| network | boxes from | {' | '.join(heads)} |",
        "|---|---|" + "---:|" * len(groups),
    ]
    ways = [("none", name, judge_baseline(items, truth, make_box)) for name, make_box in BASELINES.items()]
    for network in NETWORKS:
        for segmenter in SEGMENTERS:
            folder = run(options, network, "val", segmenter, thresholds[network])
            ways.append((network, segmenter, judge_localizations(items, truth, read_localizations(folder))))
    for network, label, judged in ways:
        found = [f"{100 * np.mean(judged.iou[group] > IOU_THRESHOLD):.0f}" for group in groups]
        lines.append(f"| {network} | {label} | " + " | ".join(found) + " |")
    return lines


def row(network: str, label: str, judged: Judged, saliency_seconds: str, cut_seconds: str) -> str:
    cells = [f"{100 * value:.0f}" for value in per_class_corloc(judged)]
    cells += [format_interval(estimate(class_wise, judged)), format_interval(estimate(image_wise, judged))]
    return f"| {network} | {label} | " + " | ".join([*cells, saliency_seconds, cut_seconds]) + " |"


if __name__ == "__main__":
    sys.exit(main())
