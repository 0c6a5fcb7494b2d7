"""The tables of docs/experiments.md: what each constant of the learner is worth, and how many images it needs.

Maps and features of VOC12-animals-920 train are computed once per network; each row then changes constants of
``wsloc.learning`` or settings, learns anew, and boxes the maps by their threshold. Maps, rows, and draws are kept in
``--runs``, so that a killed experiment resumes; delete them after a change to the code or the rows.

    python scripts/experiment_learning.py --root data --weights-dir weights --network mobilenet_v2
    python scripts/experiment_learning.py --root data --weights-dir weights --network mobilenet_v2 --curve
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_runs import finished, weights_flags
from benchmark_voc import CLASSES, add_data_flags, data_flags, read_truth
from markdown_page import PAGE, fill
from tqdm import tqdm

from wsloc.classifiers import preprocessing
from wsloc.cli.options import parse_localize
from wsloc.config import LocalizeConfig
from wsloc.datasets import asked_classes, open_dataset
from wsloc.devices import choose_device
from wsloc.evaluation.corloc import IOU_THRESHOLD, per_class_corloc
from wsloc.evaluation.items import judged_items
from wsloc.evaluation.judging import Judged, TrueBoxes, judge_localizations, true_boxes
from wsloc.learning import hypercolumns, pixel_classifier, propagation, set_classifier
from wsloc.pipeline import Localizer, localize_images, make_localizer, running
from wsloc.pipeline.engine import LocalEngine
from wsloc.pipeline.refine_stage import RefineStage
from wsloc.records import BoxRecord, GroundTruth, ImageRecord
from wsloc.runs.fitted_refiner import for_refiner
from wsloc.runs.learn_over_set import fit_stored, store_maps
from wsloc.runs.read_run import read_run
from wsloc.runs.stored_maps import StoredMaps
from wsloc.threads import ThreadPlan, plan_threads

EXPERIMENTS = PAGE.with_name("experiments.md")
MODULES = {
    module.__name__.rpartition(".")[2]: module
    for module in (hypercolumns, pixel_classifier, preprocessing, propagation, set_classifier)
}
"""What a row may change things of, by name."""
THRESHOLD = "threshold"
ROWS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "100 positions per side and image": {"pixel_classifier.PER_IMAGE": 100},
    "general weight decay 3": {"pixel_classifier.WEIGHT_DECAY": 3.0},
    "own weight decay 0.3": {"pixel_classifier.CLASS_WEIGHT_DECAY": 0.3},
    "own weight decay 3": {"pixel_classifier.CLASS_WEIGHT_DECAY": 3.0},
    "own weight decay 30": {"pixel_classifier.CLASS_WEIGHT_DECAY": 30.0},
    "60 steps a round": {"pixel_classifier.STEPS": 60},
    "960 steps a round": {"pixel_classifier.STEPS": 960},
    "3 rounds": {"pixel_classifier.ROUNDS": 3},
    "6 rounds": {"pixel_classifier.ROUNDS": 6},
    "24 rounds": {"pixel_classifier.ROUNDS": 24},
    "labels beyond 0.6 and 0.4": {"pixel_classifier.OBJECT_ABOVE": 0.6, "pixel_classifier.BACKGROUND_BELOW": 0.4},
    "labels beyond 0.8 and 0.2": {"pixel_classifier.OBJECT_ABOVE": 0.8, "pixel_classifier.BACKGROUND_BELOW": 0.2},
    "first labels: top 10 %": {"set_classifier.FOREGROUND_QUANTILE": 0.90},
    "first labels: background below 20 %": {"set_classifier.BACKGROUND_QUANTILE": 0.20},
    "components 32 + 48 + 64": {"hypercolumns.DIMENSIONS": (32, 48, 64)},
    "no mixing with the image's own map": {"set_classifier.HALF_TRUST": 0},
    "half trust at 40 images": {"set_classifier.HALF_TRUST": 40},
    "no propagation": {"propagation.STEPS": 0},
    "10 steps of propagation": {"propagation.STEPS": 10},
    "40 steps of propagation": {"propagation.STEPS": 40},
    "sharpness 4": {"propagation.SHARPNESS": 4},
    "sharpness 16": {"propagation.SHARPNESS": 16},
    "window of 3": {"propagation.WINDOW": 3},
    "window of 7": {"propagation.WINDOW": 7},
    "boxes at 0.5": {THRESHOLD: 0.5},
    "boxes at 0.7": {THRESHOLD: 0.7},
}
SIZES, DRAWS = (10, 20, 40, 80, 160, 320), 5


@dataclass(frozen=True)
class Material:
    """A set with stored maps and features.

    Attributes:
        config: as for the main job.
        spool: the store.
        stored: the stages, with maps from the store.
        images: of the set.
        truth: their true boxes.
        plan: of threads.
    """

    config: LocalizeConfig
    spool: Path
    stored: Localizer
    images: Sequence[ImageRecord]
    truth: Mapping[str, GroundTruth]
    plan: ThreadPlan


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_flags(parser)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), help="only these (default: all)")
    parser.add_argument("--curve", action="store_true", help="the number of images instead of the constants")
    options = parser.parse_args()
    material = prepare(options)
    lines = list(curve(options, material) if options.curve else rows(options, material))
    name = f"{'curve' if options.curve else 'rows'}_{options.network}"
    print("\n".join(lines))
    if f"<!-- begin {name} -->" in EXPERIMENTS.read_text(encoding="utf-8"):
        fill(name, "\n".join(lines), EXPERIMENTS)
    return 0


def add_flags(parser: argparse.ArgumentParser) -> None:
    add_data_flags(parser)
    parser.set_defaults(runs=Path("runs/experiment-learning"))
    parser.add_argument("--network", default="mobilenet_v2", help="a torchvision name (default: mobilenet_v2)")
    parser.add_argument("--views", default="large", help="views of each image (default: large)")


def prepare(options: argparse.Namespace) -> Material:
    """Store the maps and features of train, unless they are there."""
    flags = [*data_flags(options, "train", classes=()), "--arch", options.network, "--preset", "best"]
    flags += ["--views", options.views, "--segmenter", "threshold", *weights_flags(options, options.network)]
    config = parse_localize(flags)
    dataset = open_dataset(config.data)
    images = dataset.images
    localizer = make_localizer(config, asked_classes(config.data, dataset))
    localizer = for_refiner(config.refinement, localizer, len(images))
    plan = plan_threads(choose_device(config.compute.device), config.compute.workers)
    spool = options.runs / f"{options.network}-{options.views}"
    parts = {start // 100: images[start : start + 100] for start in range(0, len(images), 100)}
    for _ in tqdm(store_maps(spool, parts, localizer, LocalEngine(plan)), "maps", len(images)):
        pass
    maps = StoredMaps(spool, localizer.maps.layers)
    stored = replace(localizer, read=replace(localizer.read, views=None), maps=maps)
    return Material(config, spool, stored, images, read_truth(options, "train", classes=()), plan)


def rows(options: argparse.Namespace, material: Material) -> Iterator[str]:
    """A table of one row per change."""
    yield f"| {options.network}, {options.views} | six classes | small classes | mean IoU |"
    yield "|---|---:|---:|---:|"
    for name in options.rows:
        folder = options.runs / f"{options.network}-{options.views}-rows"
        figures = kept(folder / f"{name}.json", partial(all_figures, material, ROWS[name]))
        yield f"| {name} | {figures['six']:.1f} | {figures['small']:.1f} | {figures['mean IoU']:.1f} |"


def curve(options: argparse.Namespace, material: Material) -> Iterator[str]:
    """A table of one row per number of images: each draw is learned from, and judged on the same images."""
    heads = ["images", "best, mean", *(f"draw {index + 1}" for index in range(DRAWS)), "each image alone, mean"]
    yield f"| {' | '.join(heads)} |"
    yield "|---:|" + "---:|" * (len(heads) - 1)
    folder = options.runs / f"{options.network}-{options.views}-curve"
    flags = [*data_flags(options, "train", classes=()), "--arch", options.network]
    default = options.runs / f"{options.network}-default"
    alone = read_run(finished(default, "localize", [*flags, *weights_flags(options, options.network)])).localizations
    for size in (*SIZES, len(material.images)):
        draws = []
        for index in range(DRAWS):
            drawn = np.random.default_rng([size, index]).permutation(len(material.images))[:size]
            part = replace(material, images=[material.images[i] for i in sorted(drawn)])
            draws.append(kept(folder / f"{size}-{index}.json", partial(draw_figures, part, index, alone)))
        learned = [own["learned"] for own in draws]
        cells = [
            f"{size}",
            f"{np.mean(learned):.1f}",
            *(f"{value:.0f}" for value in learned),
            f"{np.mean([own['alone'] for own in draws]):.1f}",
        ]
        yield f"| {' | '.join(cells)} |"


def all_figures(material: Material, changes: Mapping[str, Any]) -> dict[str, float]:
    """CorLoc and mean IoU in percent, with constants or settings changed."""
    with changed(changes):
        return figures_of(material, learned_boxes(material, 0, changes.get(THRESHOLD)))


def figures_of(material: Material, boxes: Sequence[BoxRecord]) -> dict[str, float]:
    """CorLoc and mean IoU of boxes in percent."""
    judged = judge(material, boxes)
    corloc = dict(zip(judged.items.class_names, (100 * per_class_corloc(judged)).tolist(), strict=True))
    return {
        "six": float(np.mean([corloc[name] for name in CLASSES])),
        "small": float(np.mean([value for name, value in corloc.items() if name not in CLASSES])),
        "mean IoU": 100 * float(judged.iou.mean()),
    }


def draw_figures(material: Material, seed: int, alone: Sequence[BoxRecord]) -> dict[str, float]:
    """CorLoc in percent over items of the six classes: learned from exactly these images, and of each image alone."""

    def corloc(boxes: Sequence[BoxRecord]) -> float:
        return 100 * float(np.mean(judge(material, boxes, CLASSES).iou > IOU_THRESHOLD))

    return {"learned": corloc(learned_boxes(material, seed, None)), "alone": corloc(alone)}


def learned_boxes(material: Material, seed: int, threshold: float | None) -> list[BoxRecord]:
    """The boxes of a set that is learned from."""
    localizer = learned(material, seed)
    if threshold is not None:
        settings = replace(material.config.segmentation, threshold=threshold)
        localizer = replace(localizer, cut=replace(localizer.cut, settings=settings))
    return boxes_of(localizer, material.images, material.plan)


def learned(material: Material, seed: int) -> Localizer:
    """The stages of a set that is learned from."""
    stored, stores = material.stored, [(material.spool, material.images)]
    refiner = fit_stored(stored.read, stored.maps.layers, stores, material.plan, material.config.refinement, seed)
    return replace(stored, refine=RefineStage(refiner, ""))


def boxes_of(localizer: Localizer, images: Sequence[ImageRecord], plan: ThreadPlan) -> list[BoxRecord]:
    """All boxes of some images."""
    with running(plan, localizer.window) as runner:
        results = localize_images(localizer, images, runner)
        return [box for result in results for item in result.items for box in item.localizations]


def truth_of(material: Material, classes: Sequence[str] | None = None) -> TrueBoxes:
    """The true boxes of the set's images."""
    own = {image.image_id: material.truth[image.image_id] for image in material.images}
    return true_boxes(judged_items(own, classes), own)


def judge(material: Material, boxes: Sequence[BoxRecord], classes: Sequence[str] | None = None) -> Judged:
    """Boxes against them."""
    return judge_localizations(truth_of(material, classes), boxes)


def kept(path: Path, compute: Callable[[], dict[str, float]]) -> dict[str, float]:
    """Figures that are computed once."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(compute()), encoding="utf-8")
    found: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))
    return found


@contextlib.contextmanager
def changed(changes: Mapping[str, Any]) -> Iterator[None]:
    """While entered, constants and functions of modules are others."""
    before = {}
    for name, value in changes.items():
        module, _, constant = name.partition(".")
        if constant:
            before[name] = getattr(MODULES[module], constant)
            setattr(MODULES[module], constant, value)
    try:
        yield
    finally:
        for name, value in before.items():
            module, _, constant = name.partition(".")
            setattr(MODULES[module], constant, value)


if __name__ == "__main__":
    sys.exit(main())
