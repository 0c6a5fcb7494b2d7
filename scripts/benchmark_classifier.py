"""The table of docs/benchmarks.md on classifiers that were trained on VOC's image-level labels.

Trains a linear head on each frozen ImageNet network with train's labels, tests it on val, and localizes val with both:
before (ImageNet's outputs through the label map) and after (the checkpoint alone). Runs what is missing (a killed
benchmark resumes) and writes the table into docs/benchmarks.md between its markers. All figures come from the folders.

    python scripts/benchmark_classifier.py --root data --weights-dir weights
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark_runs import finished, weights_flags
from markdown_page import fill

from wsloc.cli.options import parse_localize
from wsloc.datasets import open_dataset, read_ground_truth
from wsloc.evaluation import BASELINES, Estimate, estimate
from wsloc.evaluation.corloc import class_wise, image_wise
from wsloc.evaluation.items import judged_items
from wsloc.evaluation.judging import Judged, TrueBoxes, judge_baseline, judge_localizations, true_boxes
from wsloc.evaluation.table import format_interval
from wsloc.records import BoxRecord, GroundTruth
from wsloc.runs.read_run import read_run

NETWORKS = ("squeezenet1_0", "mobilenet_v2", "densenet121")
LARGE = ("cat", "cow", "dog", "horse", "person", "sheep")
STAGES = ("before", "after")


@dataclass(frozen=True)
class Truths:
    """The items of val: those of all classes, of the six large ones, and of person alone."""

    every: TrueBoxes
    large: TrueBoxes
    person: TrueBoxes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("data"), help="folder that holds VOCdevkit")
    parser.add_argument("--weights-dir", type=Path, help="folder of NAME.pth files (default: torchvision's weights)")
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmark-classifier"), help="folder of all results")
    parser.add_argument("--methods", nargs="+", default=["gradient", "cam"], help="default: gradient cam")
    options = parser.parse_args()

    for network in NETWORKS:
        trained(options, network)
    truths = read_truths(options)
    table = make_table(options, truths)
    fill("benchmark_classifier", table)
    print(table)
    return 0


def data_flags(options: argparse.Namespace, split: str) -> list[str]:
    return ["--dataset", "voc", "--year", "2012", "--root", str(options.root), "--split", split]


def network_flags(options: argparse.Namespace, network: str) -> list[str]:
    return ["--arch", network, *weights_flags(options, network)]


def trained(options: argparse.Namespace, network: str) -> Path:
    flags = [*data_flags(options, "train"), "--test-split", "val", *network_flags(options, network)]
    return finished(options.runs / f"{network}-classifier", "train-classifier", flags)


def boxes(options: argparse.Namespace, network: str, stage: str, method: str) -> tuple[BoxRecord, ...]:
    flags = [*data_flags(options, "val"), "--method", method]
    if stage == "before":
        flags += network_flags(options, network)
    else:
        flags += ["--checkpoint", str(trained(options, network) / "classifier.safetensors")]
    folder = finished(options.runs / f"{network}-{stage}-{method}", "localize", flags)
    return tuple(read_run(folder).localizations)


def read_truths(options: argparse.Namespace) -> Truths:
    config = parse_localize(data_flags(options, "val"))
    truth = read_ground_truth(config.data, open_dataset(config.data))
    assert truth is not None

    def of(names: tuple[str, ...] | None) -> TrueBoxes:
        images: dict[str, GroundTruth] = truth.images
        return true_boxes(judged_items(images, names), images)

    return Truths(of(None), of(LARGE), of(("person",)))


def make_table(options: argparse.Namespace, truths: Truths) -> str:
    lines = [*mean_ap_table(options), "", *corloc_table(options, truths), ""]
    lines += ["Paired differences on the same items, after - before, in points:", ""]
    lines += difference_table(options, truths)
    return "\n".join(lines)


def mean_ap_table(options: argparse.Namespace) -> Iterator[str]:
    metrics = {
        network: json.loads((trained(options, network) / "metrics.json").read_text(encoding="utf-8"))
        for network in NETWORKS
    }
    images = next(iter(metrics.values()))["test"]["images"]
    yield f"Image classification on {images} images of val; percent, with 95 % bootstrap intervals over images:"
    yield ""
    yield (
        "| network | epochs | mAP | mAP of the six | best class right | "
        + " | ".join(f"AP {name}" for name in LARGE)
        + " |"
    )
    yield "|---|---:|---:|---:|---:|" + "---:|" * len(LARGE)
    for network in NETWORKS:
        of_test = metrics[network]["test"]
        own = class_aps(trained(options, network) / "classes.csv")
        mean_ap, right = (format_interval(of_json(of_test[name])) for name in ("mAP", "top1_accuracy"))
        of_six = f"{100 * sum(own[name] for name in LARGE) / len(LARGE):.1f}"
        cells = [str(metrics[network]["best_epoch"]), mean_ap, of_six, right]
        cells += [f"{100 * own[name]:.1f}" for name in LARGE]
        yield f"| {network} | {' | '.join(cells)} |"


def of_json(value: dict[str, Any]) -> Estimate:
    return Estimate(value["value"], value["low"], value["high"])


def class_aps(path: Path) -> dict[str, float]:
    head, *rows = (line.split(",") for line in path.read_text(encoding="utf-8").splitlines())
    column = head.index("test_ap")
    return {row[0]: float(row[column]) for row in rows if row[column]}


def corloc_table(options: argparse.Namespace, truths: Truths) -> Iterator[str]:
    large, every, person = (len(true.items) for true in (truths.large, truths.every, truths.person))
    yield (
        f"Boxes on val: {large} items of the six large classes, {every} of all {len(truths.every.items.class_names)}, "
        f"{person} of person:"
    )
    yield ""
    yield "| network | method | classifier | class-wise, six classes | class-wise, all | image-wise, all | person |"
    yield "|---|---|---|---:|---:|---:|---:|"
    for name, make_box in BASELINES.items():
        judged = [judge_baseline(true, make_box) for true in (truths.large, truths.every, truths.person)]
        yield f"| none | {name} | | {' | '.join(figures_of(*judged))} |"
    for network in NETWORKS:
        for method in options.methods:
            for stage in STAGES:
                cells = figures_of(*judged_three(truths, boxes(options, network, stage, method)))
                yield f"| {network} | {method} | {named(stage)} | {' | '.join(cells)} |"


def named(stage: str) -> str:
    return {"before": "ImageNet and label map", "after": "trained"}[stage]


def judged_three(truths: Truths, found: tuple[BoxRecord, ...]) -> tuple[Judged, Judged, Judged]:
    large, every, person = (judge_localizations(true, found) for true in (truths.large, truths.every, truths.person))
    return large, every, person


def figures_of(large: Judged, every: Judged, person: Judged) -> list[str]:
    parts = ((class_wise, large), (class_wise, every), (image_wise, every), (class_wise, person))
    return [format_interval(estimate(metric, judged)) for metric, judged in parts]


def difference_table(options: argparse.Namespace, truths: Truths) -> Iterator[str]:
    yield "| network | method | class-wise, six classes | class-wise, all | image-wise, all | person |"
    yield "|---|---|---:|---:|---:|---:|"
    for network in NETWORKS:
        for method in options.methods:
            before, after = (judged_three(truths, boxes(options, network, stage, method)) for stage in STAGES)
            pairs = ((class_wise, 0), (class_wise, 1), (image_wise, 1), (class_wise, 2))
            cells = [format_interval(estimate(metric, after[part], before[part])) for metric, part in pairs]
            yield f"| {network} | {method} | {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
