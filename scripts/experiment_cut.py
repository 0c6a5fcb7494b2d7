"""The tables of docs/experiments.md on GrabCut from coarse to fine: its constants on train, what it changes on val,
and ``grabcut-torch`` against ``grabcut``.

The maps of VOC12-animals-920 are stored once per network, then cut in each way on one core. What each image gives is
kept in ``--runs`` as it comes, so that a killed experiment resumes; delete it after a change to the code.

    python scripts/experiment_cut.py --root data --split trainval --weights-dir weights
    python scripts/experiment_cut.py --root data --split trainval --weights-dir weights --val
    python scripts/experiment_cut.py --root data --split trainval --weights-dir weights --tensors \\
        --networks mobilenet_v2
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from benchmark_methods import read_records
from benchmark_runs import finished, weights_flags
from benchmark_voc import CLASSES, NETWORKS, add_data_flags, data_flags
from experiment_learning import EXPERIMENTS
from markdown_page import fill
from numpy.typing import NDArray
from skimage.segmentation import random_walker
from tqdm import tqdm

from wsloc.boxes import paired_iou
from wsloc.cli.options import parse_localize
from wsloc.config import LocalizeConfig, SegmentationSettings
from wsloc.datasets import open_dataset, read_ground_truth
from wsloc.evaluation import estimate
from wsloc.evaluation.bootstrap import Statistic
from wsloc.evaluation.corloc import class_wise, mean_iou
from wsloc.evaluation.items import judged_items
from wsloc.evaluation.judging import Judged, TrueBoxes, judge_localizations, true_boxes
from wsloc.evaluation.table import format_interval, format_points
from wsloc.pipeline import Localizer, localize_images
from wsloc.pipeline.cut_stage import CutStage, PairMap
from wsloc.pipeline.results import ItemResult
from wsloc.pipeline.runner import Runner
from wsloc.pipeline.stage import Failed
from wsloc.records import Localization
from wsloc.registries import SEGMENTERS
from wsloc.runs.stored_maps import make_recutter
from wsloc.segmentation import (
    CutInput,
    Segmentation,
    fit_color_models,
    grabcut,
    grabcut_plain,
    make_seeds,
    one_by_one,
    working_map,
)
from wsloc.segmentation.batched_cut import energy, min_cut
from wsloc.segmentation.batched_grabcut import grabcut_batch, image_links, image_pulls
from wsloc.segmentation.batched_mixtures import first_components, log_likelihoods, moments
from wsloc.segmentation.seeds import BACKGROUND, FOREGROUND, is_foreground
from wsloc.threads import ThreadPlan, applied

Pixels = NDArray[np.uint8]
Cut = Callable[[Pixels, Pixels], NDArray[np.bool_]]
"""From an image and a trimap to a mask."""


def random_walk(image_rgb: Pixels, trimap: Pixels) -> NDArray[np.bool_]:
    """The random walker (Grady 2006) from the same seeds: where a walk more likely meets a foreground seed first."""
    labels = np.select([trimap == FOREGROUND, trimap == BACKGROUND], [1, 2], 0)
    return np.asarray(random_walker(image_rgb, labels, mode="cg_j", channel_axis=-1) == 1)


def on_tensors(image_rgb: Pixels, trimap: Pixels) -> NDArray[np.bool_]:
    """What ``grabcut-torch`` makes of one image."""
    return np.asarray(grabcut_batch(image_rgb[None], trimap[None], torch.device("cpu"))[0], dtype=bool)


@dataclass(frozen=True)
class Way:
    """A way to cut: the longer side of the image in pixels, and the cut."""

    size: int
    cut: Cut


GRID = ((5, 64, 224), (5, 80, 224), (5, 64, 160), (5, 80, 160))
"""Iterations, and size of the small image and of the large one."""
CHOSEN, REFERENCES = "80 px x 5, then 224 px", ("plain, 500 px x 5", "plain, 224 px x 5")
TUNED: dict[str, Way] = {
    "plain, 224 px x 5": Way(224, grabcut_plain),
    **{
        f"{coarse} px x {iterations}, then {size} px": Way(
            size, partial(grabcut, max_iterations=iterations, coarse_size=coarse)
        )
        for iterations, coarse, size in GRID
    },
    "random walker, 224 px": Way(224, random_walk),
}
ON_TENSORS = "the same on tensors"
WAYS = {**TUNED, "plain, 500 px x 5": Way(500, grabcut_plain), ON_TENSORS: Way(224, on_tensors)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_flags(parser)
    parser.set_defaults(runs=Path("runs/experiment-cut"))
    parser.add_argument("--networks", nargs="+", default=NETWORKS, help="torchvision names (default: all three)")
    others = parser.add_mutually_exclusive_group()
    others.add_argument("--val", action="store_true", help="val by the chosen constants instead of train by all")
    others.add_argument("--tensors", action="store_true", help="the chosen way by OpenCV and on tensors, on train")
    parser.add_argument("--limit", type=int, help="only so many images, for a first try; the page stays as it is")
    options = parser.parse_args()
    name, table = "cut", train_table
    if options.val or options.tensors:
        name, table = ("cut_val", val_table) if options.val else ("cut_tensors", tensors_table)
    text = "\n".join(table(options))
    print(text)
    if options.limit is None:
        fill(name, text, EXPERIMENTS)
    return 0


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a way to cut gives on one network's maps: its boxes, judged as well, and the milliseconds of each item."""

    found: Sequence[Localization]
    judged: Judged
    milliseconds: Sequence[float]


@dataclass(frozen=True, eq=False)
class OnNetworks:
    """Outcomes on the same images for several networks; its length is the number of images."""

    outcomes: Sequence[Outcome]

    def __len__(self) -> int:
        return len(self.outcomes[0].judged)

    def times(self) -> str:
        """Median and 95 % quantile of the milliseconds, as cells."""
        milliseconds = np.concatenate([outcome.milliseconds for outcome in self.outcomes])
        return " | ".join(f"{np.quantile(milliseconds, q):.0f}" for q in (0.5, 0.95))


def mean_over_networks(metric: Statistic[Judged]) -> Statistic[OnNetworks]:
    """A metric as its mean over networks, under weights of the images."""
    return lambda weights, of: np.mean([metric(weights, outcome.judged) for outcome in of.outcomes], axis=0)


CORLOC, MEAN_IOU = mean_over_networks(class_wise), mean_over_networks(mean_iou)


def train_table(options: argparse.Namespace) -> Iterator[str]:
    """All ways to cut, on train."""
    true = truth_of(options, "train")
    yield f"| cut | {' | '.join(options.networks)} | mean | mean IoU | ms, median | ms, 95 % |"
    yield "|---|" + "---:|" * (len(options.networks) + 4)
    for name in TUNED:
        found = [outcome(options, network, "train", name, true) for network in options.networks]
        all_of_them = OnNetworks(found)
        values = [estimate(CORLOC, OnNetworks([own])).value for own in found]
        values += [estimate(metric, all_of_them).value for metric in (CORLOC, MEAN_IOU)]
        yield f"| {name} | {' | '.join(f'{100 * value:.1f}' for value in values)} | {all_of_them.times()} |"


def val_table(options: argparse.Namespace) -> Iterator[str]:
    """The chosen way and those that it is compared with, on val."""
    true = truth_of(options, "val")
    yield "| network | cut | CorLoc | mean IoU | ms, median | ms, 95 % | chosen - this, CorLoc | mean IoU |"
    yield "|---|---|---:|---:|---:|---:|---:|---:|"
    found = {
        name: [outcome(options, network, "val", name, true) for network in options.networks]
        for name in (CHOSEN, *REFERENCES)
    }
    for index, network in enumerate((*options.networks, "mean")):
        part = slice(None) if network == "mean" else slice(index, index + 1)
        chosen = OnNetworks(found[CHOSEN][part])
        for name, outcomes in found.items():
            own = OnNetworks(outcomes[part])
            cells = [format_interval(estimate(metric, own)) for metric in (CORLOC, MEAN_IOU)]
            cells.append(own.times())
            if name != CHOSEN:
                cells += [format_points(estimate(metric, chosen, own)) for metric in (CORLOC, MEAN_IOU)]
            yield f"| {network} | {name} | {' | '.join(cells)} |"


def tensors_table(options: argparse.Namespace) -> Iterator[str]:
    """The chosen way by OpenCV and on tensors, on train, and how far they agree."""
    true = truth_of(options, "train")
    yield "| network | cut | items | IoU >= 0.9 | the same box | CorLoc | mean IoU | ms, median | ms, 95 % | energy |"
    yield "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|"
    for network in options.networks:
        chosen, ours = (outcome(options, network, "train", name, true) for name in (CHOSEN, ON_TENSORS))
        overlaps = agreement_of(chosen.found, ours.found)
        agreed = [f"{100 * np.mean(overlaps >= least):.1f} %" for least in (0.9, 1)]
        worst = max(excess_energies(options, network))
        for name, own, cells in (
            (CHOSEN, chosen, ["", "", ""]),
            (ON_TENSORS, ours, [str(len(overlaps)), *agreed]),
        ):
            cells += [format_interval(estimate(metric, OnNetworks([own]))) for metric in (CORLOC, MEAN_IOU)]
            cells += [OnNetworks([own]).times(), "" if own is chosen else f"{worst:+.1e}"]
            yield f"| {network} | {name} | {' | '.join(cells)} |"


def agreement_of(one: Sequence[Localization], other: Sequence[Localization]) -> NDArray[np.float64]:
    """The IoU of the two boxes of each item; 0 where only one has any."""
    first, second = ({(box.image_id, box.class_name): box.box_xyxy for box in found} for found in (one, other))
    items, none = sorted({*first, *second}), (0.0, 0.0, 0.0, 0.0)
    return paired_iou([first.get(item, none) for item in items], [second.get(item, none) for item in items])


def excess_energies(options: argparse.Namespace, network: str) -> Iterator[float]:
    """By which fraction a single cut on tensors costs more than OpenCV's with the same models, those of the seeds.

    For the items of every sixteenth image of train; both energies as :mod:`wsloc.segmentation.batched_cut` sums them.
    """
    config = config_of(options, "train")
    localizer = recutter(config, maps_of(options, network, "train"), CHOSEN)
    images = localizer.compute_maps(open_dataset(config.data).images[::16], Runner())
    for image in tqdm(images, f"{network}, energies", unit="image"):
        if isinstance(image, Failed):
            continue
        rgb = image.read.working_rgb
        for values in image.maps.values():
            saliency = working_map(values, (rgb.shape[0], rgb.shape[1]), config.segmentation.smoothing)
            trimap = make_seeds(saliency, 0.95, 0.30)
            labels = trimap.copy()
            models = fit_color_models(rgb, is_foreground(trimap))
            cv2.grabCut(rgb, labels, (0, 0, 0, 0), *models, 1, cv2.GC_EVAL_FREEZE_MODEL)
            colors, first = torch.from_numpy(rgb).movedim(-1, 0)[None].double(), torch.from_numpy(is_foreground(trimap))
            likelihoods, _ = log_likelihoods(moments(colors, first_components(colors, first[None])), colors)
            pulls, links = image_pulls(likelihoods, torch.from_numpy(trimap)[None]), image_links(colors)
            ours, theirs = min_cut(pulls, links), torch.from_numpy(is_foreground(labels))[None]
            yield float(energy(pulls, links, ours) / energy(pulls, links, theirs)) - 1


def truth_of(options: argparse.Namespace, part: str) -> TrueBoxes:
    config = config_of(options, part)
    truth = read_ground_truth(config.data, open_dataset(config.data))
    assert truth is not None
    return true_boxes(judged_items(truth.images, CLASSES), truth.images)


def config_of(options: argparse.Namespace, part: str) -> LocalizeConfig:
    return parse_localize(flags_of(options, part))


def flags_of(options: argparse.Namespace, part: str) -> list[str]:
    return [*data_flags(options, part), *([] if options.limit is None else ["--limit", str(options.limit)])]


def maps_of(options: argparse.Namespace, network: str, part: str) -> Path:
    """The run that stored a network's maps."""
    folder: Path = options.runs / (part if options.limit is None else f"{part}-{options.limit}") / network
    flags = [*flags_of(options, part), "--arch", network, *weights_flags(options, network)]
    return finished(folder / "maps", "localize", [*flags, "--segmenter", "threshold", "--save-maps"])


def outcome(options: argparse.Namespace, network: str, part: str, name: str, true: TrueBoxes) -> Outcome:
    """One way on one network's maps, image by image, unless its records are there."""
    maps = maps_of(options, network, part)
    config = config_of(options, part)
    localizer, images = recutter(config, maps, name), open_dataset(config.data).images
    assert isinstance(localizer.cut, TimedCut)
    path = maps.with_name(f"{name}.jsonl")
    records = read_records(path)
    missing = images[len(records) :]
    with applied(ThreadPlan(network=1, workers=0)), path.open("a", encoding="ascii") as file:
        for result in tqdm(localize_images(localizer, missing), f"{network}, {name}", len(missing)):
            boxes = [
                asdict(replace(box, mask_rle=None))
                for item in result.items
                for box in item.localizations
                if isinstance(box, Localization)
            ]
            records.append({"boxes": boxes, "milliseconds": localizer.cut.taken()})
            file.write(json.dumps(records[-1]) + "\n")
            file.flush()
    found = [
        Localization(**{**box, "box_xyxy": tuple(box["box_xyxy"])}) for record in records for box in record["boxes"]
    ]
    times = [milliseconds for record in records for milliseconds in record["milliseconds"]]
    return Outcome(found, judge_localizations(true, found), times)


def recutter(config: LocalizeConfig, maps: Path, name: str) -> Localizer:
    """The stages that cut stored maps in one of the ways, and time it."""
    way = WAYS[name]
    SEGMENTERS[name] = lambda settings, _device: one_by_one(partial(segment, way.cut), settings)
    settings = replace(config.segmentation, segmenter=name, working_size=way.size)
    localizer = make_recutter(replace(config, segmentation=settings), maps)
    return replace(localizer, cut=TimedCut(settings, localizer.cut.method))


def segment(cut: Cut, item: CutInput, settings: SegmentationSettings) -> Segmentation:
    """Quantile seeds, then the cut."""
    trimap = make_seeds(item.saliency, settings.foreground_quantile, settings.background_quantile)
    return Segmentation(cut(item.image_rgb, trimap), trimap)


@dataclass(frozen=True, eq=False)
class TimedCut(CutStage):
    """The stage from a map to a box, which notes what it takes.

    Attributes:
        milliseconds: of the processor for each call since they were last taken.
    """

    milliseconds: list[float] = field(default_factory=list)

    def __call__(self, pairs: Sequence[PairMap]) -> list[ItemResult | Failed]:
        """The boxes of some pairs."""
        start = time.thread_time()
        answers = super().__call__(pairs)
        self.milliseconds.append(1000 * (time.thread_time() - start))
        return answers

    def taken(self) -> list[float]:
        """The milliseconds so far, once."""
        taken = self.milliseconds.copy()
        self.milliseconds.clear()
        return taken


if __name__ == "__main__":
    sys.exit(main())
