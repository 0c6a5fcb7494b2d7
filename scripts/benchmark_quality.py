"""The quality figure of docs/benchmarks.md: which label-free score ranks boxes best, chosen on train, reported on val.

Localizes all classes of VOC12-animals-920 by a preset, cuts the maps again, and writes, image by image, each box with
its score by every candidate, so that a killed benchmark resumes. Candidates see image, map, mask and probability, never
a true box. Delete the folder --runs after a change to the code that it measures.

    python scripts/benchmark_quality.py --root data --split trainval --weights-dir weights
    python scripts/benchmark_quality.py --root data --split trainval --weights-dir weights --preset best
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_best import PRESETS, run, run_flags
from benchmark_methods import read_records
from benchmark_voc import NETWORKS, add_data_flags
from markdown_page import PAGE, fill
from matplotlib.figure import Figure
from numpy.typing import NDArray
from tqdm import tqdm

from wsloc import boxes
from wsloc.cli.options import parse_localize
from wsloc.config import LocalizeConfig
from wsloc.datasets import Dataset, open_dataset, read_ground_truth
from wsloc.devices import choose_device
from wsloc.errors import ItemError
from wsloc.evaluation import Estimate, estimate
from wsloc.evaluation.kept_curve import JudgedBoxes, gain, half_difference, judge_boxes, kept_curve, overall, rank
from wsloc.evaluation.table import format_interval
from wsloc.pipeline import ItemResult, Localizer, localize_images, running
from wsloc.records import GroundTruth, Localization
from wsloc.runs.stored_maps import make_recutter
from wsloc.segmentation import agreement, grabcut, largest_components, make_seeds
from wsloc.threads import plan_threads

SHIFTED_SEEDS = ((0.975, 0.45), (0.90, 0.15))
"""Foreground and background quantiles: both fewer foreground and more background than the default, and the reverse."""
THRESHOLDS = (0.1, 0.15, 0.2, 0.3, 0.4)
SPREAD_THRESHOLDS = (0.2, 0.35, 0.5, 0.65, 0.8, 0.9)
PERSON = "person"
STABILITY = "stability under shifted seeds"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a candidate sees of a box; the map has 0 where it is undecided, mask and box are the component's."""

    rgb: NDArray[np.uint8]
    saliency: NDArray[np.float32]
    mask: NDArray[np.bool_]
    box_xyxy: tuple[int, int, int, int]
    probability: float


def contrast(found: Evidence) -> float:
    inside = found.saliency[found.mask].mean()
    outside = 0.0 if found.mask.all() else found.saliency[~found.mask].mean()
    return float(inside / (inside + outside))


def mass_over_area(found: Evidence) -> float:
    return float(found.saliency[found.mask].sum() / found.saliency.sum() - found.mask.mean())


def correlation(found: Evidence) -> float:
    if found.mask.all():
        return 0.0
    return float(np.corrcoef(found.saliency.ravel(), found.mask.ravel())[0, 1])


def most_salient_iou(found: Evidence) -> float:
    """With as many pixels, the most salient ones."""
    salient = np.zeros(found.mask.size, dtype=bool)
    salient[np.argsort(-found.saliency, axis=None, kind="stable")[: found.mask.sum()]] = True
    return mask_iou(found.mask, salient.reshape(found.mask.shape))


def thresholds_iou(found: Evidence) -> float:
    """The mean over thresholds of the map."""
    peak = found.saliency.max()
    return float(np.mean([mask_iou(found.mask, found.saliency > fraction * peak) for fraction in THRESHOLDS]))


def box_stability(found: Evidence) -> float:
    """The mean IoU with the boxes of the map at thresholds that are spread over its range."""
    peak = found.saliency.max()
    ious = []
    for fraction in SPREAD_THRESHOLDS:
        (component,) = largest_components(found.saliency > fraction * peak)
        ious.append(boxes.paired_iou(found.box_xyxy, component.box_xyxy)[0])
    return float(np.mean(ious))


def filled(found: Evidence) -> float:
    """Fraction of the box that the mask fills."""
    return float(found.mask.sum() / boxes.area(found.box_xyxy)[0])


def stability(found: Evidence) -> float:
    """The mean IoU with the boxes of GrabCut from shifted seeds."""
    ious = []
    for quantiles in SHIFTED_SEEDS:
        try:
            mask = grabcut(found.rgb, make_seeds(found.saliency, *quantiles))
        except ItemError:
            mask = np.zeros_like(found.mask)
        components = largest_components(mask)
        ious.append(boxes.paired_iou(found.box_xyxy, components[0].box_xyxy)[0] if components else 0.0)
    return float(np.mean(ious))


def mask_iou(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    return float((first & second).sum() / (first | second).sum())


CANDIDATES: dict[str, Callable[[Evidence], float]] = {
    "class probability": lambda found: found.probability,
    "area of the box": lambda found: float(boxes.area(found.box_xyxy)[0] / found.mask.size),
    "mean inside / (inside + outside)": contrast,
    "saliency inside - area of the mask": mass_over_area,
    "correlation of map and mask": correlation,
    "IoU of mask and most salient pixels": most_salient_iou,
    "IoU of mask and map, over thresholds": thresholds_iou,
    STABILITY: stability,
    "IoU of boxes, over thresholds": box_stability,
    "mask / box": filled,
    "cosine of map and mask": lambda found: agreement(found.saliency, found.mask),
}
PRODUCTS = {
    "cosine x class probability": ("cosine of map and mask", "class probability"),
    "cosine x stability": ("cosine of map and mask", STABILITY),
    "IoU of boxes x mask / box": ("IoU of boxes, over thresholds", "mask / box"),
}
OWN = "cosine of map and mask"
"""What wsloc writes as ``quality``."""
REPORTED = (OWN, "class probability")
"""What val is asked for; the others need not be computed there."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_flags(parser)
    parser.set_defaults(runs=Path("runs/benchmark-best"))
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS, help="only these")
    parser.add_argument("--preset", choices=PRESETS, default="default", help="how the boxes are made")
    options = parser.parse_args()
    judged = {
        (network, part): judge(options, network, part) for part in ("train", "val") for network in options.networks
    }
    text = "\n".join([*train_table(options, judged), "", *val_table(options, judged)])
    if options.preset == "default":
        fill("benchmark_quality", text)
        draw(options, judged, PAGE.parent / "images" / "kept_curve.png")
    else:
        fill(f"benchmark_quality_{options.preset}", text)
    print(text)
    return 0


@dataclass(frozen=True)
class Scored:
    """Boxes judged against the truth, and each candidate's score of them."""

    boxes: JudgedBoxes
    scores: dict[str, NDArray[np.float64]]

    def difference(self, name: str) -> Estimate:
        """Fraction of right boxes in the better half minus that in the other."""
        return estimate(half_difference, rank(self.boxes, self.scores[name], self.boxes.right))


def judge(options: argparse.Namespace, network: str, part: str) -> dict[str, Scored]:
    """The boxes of all classes, and those of all but person."""
    config = parse_localize(run_flags(options, network, options.preset, part))
    dataset = open_dataset(config.data)
    localizer = make_recutter(config, run(options, network, options.preset, part))
    path = options.runs / f"quality-{network}-{options.preset}-{part}.jsonl"
    # Best cuts from the values of its maps, not from the quantiles that this candidate shifts.
    candidates = [name for name in CANDIDATES if options.preset == "default" or name != STABILITY]
    records = compute(localizer, config, dataset, path, candidates if part == "train" else REPORTED)
    truth = read_ground_truth(config.data, dataset)
    assert truth is not None
    every = [item for record in records for item in record["items"]]
    return {
        "all": scored(every, truth.images),
        "without person": scored([item for item in every if item["box"]["class_name"] != PERSON], truth.images),
    }


def scored(items: list[dict[str, Any]], truth: dict[str, GroundTruth]) -> Scored:
    found = [Localization(**{**item["box"], "box_xyxy": tuple(item["box"]["box_xyxy"])}) for item in items]
    judged = judge_boxes(truth, found)
    assert judged is not None
    scores = {name: np.array([item["scores"][name] for item in items]) for name in items[0]["scores"]}
    products = {name: parts for name, parts in PRODUCTS.items() if scores.keys() >= set(parts)}
    scores |= {name: scores[first] * scores[second] for name, (first, second) in products.items()}
    return Scored(judged, scores)


def compute(
    localizer: Localizer, config: LocalizeConfig, dataset: Dataset, path: Path, candidates: Sequence[str]
) -> list[dict[str, Any]]:
    """One record per image, read from the file or computed and appended to it."""
    records = read_records(path)
    missing = dataset.images[len(records) :]
    plan = plan_threads(choose_device(config.compute.device))
    with running(plan, localizer.window) as runner, path.open("a", encoding="ascii") as file:
        for result in tqdm(localize_images(localizer, missing, runner), path.stem, total=len(missing), unit="image"):
            items = [record for item in result.items for record in records_of(item, candidates)]
            records.append({"image_id": result.image.image_id, "items": items})
            file.write(json.dumps(records[-1]) + "\n")
            file.flush()
    return records


def records_of(item: ItemResult, candidates: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The box of an item with its scores; none for a failure."""
    if item.trace is None:
        return
    box, trace = item.localizations[0], item.trace
    assert isinstance(box, Localization)
    (component,) = largest_components(trace.mask)
    saliency = np.nan_to_num(trace.saliency)
    found = Evidence(trace.image_rgb, saliency, component.mask, component.box_xyxy, box.probability)
    scores = {name: CANDIDATES[name](found) for name in candidates}
    yield {"box": asdict(replace(box, mask_rle=None)), "scores": scores}


def train_table(options: argparse.Namespace, judged: dict[tuple[str, str], dict[str, Scored]]) -> Iterator[str]:
    """All candidates on train, by their mean over the networks."""
    networks = options.networks
    differences = {
        name: [judged[network, "train"]["all"].difference(name).value for network in networks]
        for name in judged[networks[0], "train"]["all"].scores
    }
    yield (
        f"On train ({counted(judged[networks[0], 'train']['all'])}): fraction of right boxes (IoU > 0.5) in the better "
        "half minus that in the other half, in points."
    )
    yield ""
    yield f"| score | {' | '.join(networks)} | mean |"
    yield "|---|" + "---:|" * (len(networks) + 1)
    for name in sorted(differences, key=lambda name: -np.mean(differences[name])):
        cells = [f"{100 * value:.1f}" for value in (*differences[name], float(np.mean(differences[name])))]
        yield f"| {f'**{name}**' if name == OWN else name} | {' | '.join(cells)} |"


def val_table(options: argparse.Namespace, judged: dict[tuple[str, str], dict[str, Scored]]) -> Iterator[str]:
    """The chosen candidate on val, next to the probability."""
    first = judged[options.networks[0], "val"]
    yield (
        f"On val ({counted(first['all'])}; {counted(first['without person'])} without person), with 95 % bootstrap "
        "intervals over images. Gain: area under the curve of precision against fraction kept, over that of a random "
        "order."
    )
    yield ""
    yield "| network | boxes | right | better half - other half by quality | gain | by probability | gain |"
    yield "|---|---|---:|---:|---:|---:|---:|"
    for network in options.networks:
        for title, those in judged[network, "val"].items():
            cells = [format_interval(estimate(overall, rank(those.boxes, those.scores[OWN], those.boxes.right)))]
            for name in REPORTED:
                ranking = rank(those.boxes, those.scores[name], those.boxes.right)
                cells += [format_interval(estimate(half_difference, ranking)), format_interval(estimate(gain, ranking))]
            yield f"| {network} | {title} | {' | '.join(cells)} |"


def counted(those: Scored) -> str:
    return f"{len(those.boxes.localizations)} boxes on {those.boxes.images} images"


def draw(options: argparse.Namespace, judged: dict[tuple[str, str], dict[str, Scored]], path: Path) -> None:
    """Precision against fraction kept on val."""
    figure = Figure(figsize=(11, 3.6))
    axes = figure.subplots(1, len(options.networks), sharey=True, squeeze=False)
    for axis, network in zip(axes[0], options.networks, strict=True):
        those = judged[network, "val"]["all"]
        for name, label in zip(REPORTED, ("by quality", "by probability"), strict=True):
            curve = kept_curve(those.boxes, those.scores[name], those.boxes.right)
            axis.plot(100 * curve.fraction, 100 * curve.precision, label=label)
        axis.axhline(100 * those.boxes.right.mean(), color="gray", linestyle="--", label="random order")
        axis.set(title=network, xlabel="boxes kept, %", xlim=(0, 100), ylim=(0, 100))
    axes[0][0].set_ylabel("right boxes (IoU > 0.5), %")
    axes[0][0].legend(loc="lower left")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    sys.exit(main())
