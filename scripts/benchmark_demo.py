"""The demo's table of docs/benchmarks.md: the right class next to a wrong one, an untrained network and the baselines.

python scripts/benchmark_demo.py
"""

from __future__ import annotations

import sys
from dataclasses import replace

import torch
from markdown_page import fill
from tqdm import tqdm

from wsloc.classifiers.small_cnn import SmallCNN
from wsloc.cli.options import parse_localize
from wsloc.datasets import Dataset, asked_classes, open_dataset, read_ground_truth
from wsloc.evaluation import BASELINES, METRICS, estimate
from wsloc.evaluation.items import judged_items
from wsloc.evaluation.judging import Judged, judge_baseline, judge_localizations, true_boxes
from wsloc.evaluation.table import format_interval
from wsloc.pipeline import Localizer, localize_images, make_localizer, running
from wsloc.records import BoxRecord
from wsloc.threads import plan_threads

SHOWN = ("CorLoc class-wise", "CorLoc image-wise")


def main() -> int:
    config = parse_localize(["--dataset", "demo"])
    dataset = open_dataset(config.data)
    asked = asked_classes(config.data, dataset)
    localizer = make_localizer(config, asked)
    truth = read_ground_truth(config.data, dataset)
    assert truth is not None
    true = true_boxes(judged_items(truth.images), truth.images)
    torch.manual_seed(0)
    network = SmallCNN(len(dataset.class_names))
    untrained = make_localizer(config, asked, replace(localizer.model.classifier, network=network))

    rows: list[tuple[str, Judged]] = []
    for title, boxes in (
        ("map of the right class", boxes_of(localizer, dataset)),
        ("map of a wrong class", boxes_of_wrong_class(localizer, dataset)),
        ("untrained network", boxes_of(untrained, dataset)),
    ):
        rows.append((title, judge_localizations(true, boxes)))
    rows += [(name, judge_baseline(true, make_box)) for name, make_box in BASELINES.items()]

    lines = [
        f"{len(true.items)} items in {len(true.items.image_ids)} images of the test split. Percent; 95 % bootstrap "
        "intervals over images.",
        "",
        f"| boxes from | {' | '.join(SHOWN)} |",
        "|---|---:|---:|",
    ]
    for title, judged in rows:
        metrics = [format_interval(estimate(METRICS[name], judged)) for name in SHOWN]
        lines.append(f"| {title} | {' | '.join(metrics)} |")
    table = "\n".join(lines)
    fill("benchmark_demo", table)
    print(table)
    return 0


def boxes_of(localizer: Localizer, dataset: Dataset) -> list[BoxRecord]:
    with running(plan_threads(localizer.model.scorer.device), localizer.window) as runner:
        results = tqdm(localize_images(localizer, dataset.images, runner), total=len(dataset.images), unit="image")
        return [found for result in results for item in result.items for found in item.localizations]


def boxes_of_wrong_class(localizer: Localizer, dataset: Dataset) -> list[BoxRecord]:
    """The boxes of the class that follows each label in the list of classes, handed in under the label's name."""
    names = dataset.class_names
    following = dict(zip(names, (*names[1:], names[0]), strict=True))
    preceding = {wrong: right for right, wrong in following.items()}
    swapped = replace(
        dataset,
        images=tuple(
            replace(image, labels=tuple(following[label] for label in image.labels)) for image in dataset.images
        ),
    )
    return [replace(found, class_name=preceding[found.class_name]) for found in boxes_of(localizer, swapped)]


if __name__ == "__main__":
    sys.exit(main())
