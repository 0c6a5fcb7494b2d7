"""The tables of docs/benchmarks.md on saliency methods: methods x ways from map to mask, and the pointing game.

The maps of an item are made once and cut in every way. What is found is written image by image, so that a killed
benchmark resumes. The threshold of each method is chosen on train, everything else is val. Seconds are
measured by a run of their own (--timing), which wants a machine that does nothing else. Delete the folder --runs after
a change to the code that it measures.

    python scripts/benchmark_methods.py --root data --split trainval --weights-dir weights
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_runs import weights_flags
from benchmark_voc import CLASSES, LISTS, add_data_flags, data_flags, read_truth, truth_of
from markdown_page import fill
from tqdm import tqdm

from wsloc.cli.options import parse_localize
from wsloc.config import LocalizeConfig, SegmentationSettings
from wsloc.datasets import Dataset, asked_classes, open_dataset
from wsloc.errors import ItemError
from wsloc.evaluation import BASELINES, estimate
from wsloc.evaluation.corloc import class_wise, image_wise, per_class_corloc
from wsloc.evaluation.items import judged_items, mean_over_classes
from wsloc.evaluation.judging import TrueBoxes, judge_baseline, judge_localizations, true_boxes
from wsloc.evaluation.pointing import judge_points
from wsloc.evaluation.table import format_interval
from wsloc.ordered import ordered_map
from wsloc.pipeline import Failed, Localizer, Runner, make_localizer
from wsloc.pipeline.cut_stage import cut_maps
from wsloc.pipeline.map_stage import ImageMaps
from wsloc.records import Localization
from wsloc.segmentation import working_map
from wsloc.threads import ThreadPlan, applied, available_cores

NETWORKS = ("densenet121", "squeezenet1_0")
CHEAP = (
    *("gradient", "gradient-positive", "gradient-squared", "gradient-x-input", "deconvnet", "guided", "cam"),
    *("grad-cam", "grad-cam++", "layer-cam", "xgrad-cam", "hires-cam", "guided-grad-cam"),
)
DEAR = {
    "gradient": (),
    "grad-cam": (),
    "smoothgrad": ("--smoothgrad-samples", "12"),
    "smoothgrad-squared": ("--smoothgrad-samples", "12"),
    "integrated-gradients": ("--integrated-steps", "12"),
    "occlusion": ("--occlusion-patch", "64", "--occlusion-stride", "32"),
    "rise": ("--rise-masks", "200"),
    "score-cam": ("--score-cam-channels", "48"),
}
"""Methods of many passes, with how many are made; two cheap ones for comparison."""
THRESHOLDS = {f"threshold {percent / 100}": percent / 100 for percent in range(10, 75, 5)}
CUTS: tuple[str, ...] = ("graphcut-2013", "grabcut")
TIMED_IMAGES = 8


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_flags(parser)
    parser.set_defaults(runs=Path("runs/benchmark-methods"))
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS, help="only these")
    parser.add_argument("--no-table", action="store_true", help="compute, but leave the page alone")
    parser.add_argument(
        "--timing", action="store_true", help=f"only measure seconds, on {TIMED_IMAGES} images per method"
    )
    options = parser.parse_args()
    for network in options.networks:
        cells = [Cell(network, method, "val") for method in CHEAP]
        cells += [Cell(network, method, "val-96", flags) for method, flags in DEAR.items()]
        for cell in cells:
            compute(options, replace(cell, part="timing") if options.timing else cell)
    if not (options.no_table or options.timing):
        for network in options.networks:
            fill(f"methods {network} val", table(options, network, "val", dict.fromkeys(CHEAP, ())))
            fill(f"methods {network} val-96", table(options, network, "val-96", DEAR))
    return 0


@dataclass(frozen=True)
class Cell:
    """One method on one network over one list of items."""

    network: str
    method: str
    part: str
    flags: Sequence[str] = ()

    @property
    def for_threshold(self) -> Cell:
        """The same method on the items on which its threshold is chosen."""
        return replace(self, part={"val": "train-96", "val-96": "train-48"}[self.part])

    @property
    def file_name(self) -> str:
        return "_".join([self.network, self.method, self.part, *self.flags]).replace("--", "") + ".jsonl"


def compute(options: argparse.Namespace, cell: Cell) -> list[dict[str, Any]]:
    """One record per image, read from the cell's file or computed and appended to it."""
    path: Path = options.runs / cell.file_name
    path.parent.mkdir(parents=True, exist_ok=True)
    records = read_records(path)
    config = config_of(options, cell)
    dataset = dataset_of(config, cell.part)
    missing = dataset.images[len(records) :]
    if not missing:
        return records
    ways = ways_to_cut(options, cell, config.segmentation)
    localizer = make_localizer(config, asked_classes(config.data, dataset))
    # The pool cuts in many ways while the network computes.
    with applied(side_by_side()) as pool, path.open("a", encoding="ascii") as file:
        runner = Runner(pool, localizer.window)
        maps = timed(localizer.compute_maps(missing, runner), runner)
        found = ordered_map(pool, partial(record_of, localizer, ways), maps, localizer.window)
        for record in tqdm(found, f"{cell.network} {cell.method} {cell.part}", total=len(missing), unit="image"):
            file.write(json.dumps(record) + "\n")
            file.flush()
            records.append(record)
    return records


def side_by_side() -> ThreadPlan:
    """Half of the cores for a network on the CPU, the rest for a pool that works meanwhile."""
    cores = available_cores()
    half = max(1, cores // 2)
    return ThreadPlan(network=half, workers=cores - half)


def read_records(path: Path) -> list[dict[str, Any]]:
    """What was written so far; a last line that a kill cut off goes."""
    whole = path.read_text(encoding="ascii").rpartition("\n")[0].splitlines() if path.exists() else []
    path.write_text("".join(line + "\n" for line in whole), encoding="ascii")
    return [json.loads(line) for line in whole]


def config_of(options: argparse.Namespace, cell: Cell) -> LocalizeConfig:
    flags = [
        *data_flags(options, cell.part.split("-")[0] if cell.part != "timing" else "val"),
        "--arch",
        cell.network,
        "--method",
        cell.method,
    ]
    flags += weights_flags(options, cell.network)
    if cell.part == "timing":
        flags += ["--batch-size", str(TIMED_IMAGES)]
    return parse_localize([*flags, *cell.flags])


def dataset_of(config: LocalizeConfig, part: str) -> Dataset:
    """The images of a part; of a list of items each image with its one class."""
    dataset = open_dataset(config.data)
    if part == "val":
        return dataset
    class_of = item_list("val-96" if part == "timing" else part)
    images = [
        replace(image, labels=(class_of[image.image_id],)) for image in dataset.images if image.image_id in class_of
    ]
    return replace(dataset, images=tuple(images[:TIMED_IMAGES] if part == "timing" else images))


def item_list(part: str) -> dict[str, str]:
    """Class by image id."""
    lines = (LISTS / f"{part}.txt").read_text(encoding="ascii").splitlines()
    return {image_id: name for image_id, _, name in (line.partition(" ") for line in lines)}


def timed(stream: Iterable[ImageMaps | Failed], runner: Runner) -> Iterator[tuple[ImageMaps, float]]:
    """Images with the seconds that the network worked since the one before."""
    before = 0.0
    for image_maps in stream:
        assert isinstance(image_maps, ImageMaps)
        yield image_maps, (now := runner.seconds["saliency"]) - before
        before = now


def record_of(
    localizer: Localizer, ways: Mapping[str, SegmentationSettings], found: tuple[ImageMaps, float]
) -> dict[str, Any]:
    """What is found in one image: each item's highest point, and its box by every way to cut."""
    image_maps, seconds = found
    items: dict[str, dict[str, Any]] = {
        name: {
            "probability": probability,
            "point_xy": highest_point(image_maps, name, localizer.cut.settings),
            "boxes": {},
        }
        for name, probability in image_maps.probabilities.items()
    }
    for way, settings in ways.items():
        stage = replace(localizer.cut, settings=settings)
        (result,) = cut_maps(stage, [image_maps], Runner(), localizer.maps.why_no_map)
        for item in result.items:
            if item.localizations:
                items[item.class_name]["boxes"][way] = item.localizations[0].box_xyxy
    return {
        "image_id": image_maps.read.image.image_id,
        "passes": localizer.model.method.forward_passes,
        "saliency_seconds": seconds,
        "items": items,
    }


def ways_to_cut(
    options: argparse.Namespace, cell: Cell, settings: SegmentationSettings
) -> dict[str, SegmentationSettings]:
    """Segmentation settings by name: on train all thresholds; elsewhere the one chosen there, and the cuts."""
    if cell.part == "timing":
        return {}
    if cell.part.startswith("train"):
        return {name: replace(settings, segmenter="threshold", threshold=value) for name, value in THRESHOLDS.items()}
    threshold = chosen_threshold(options, cell)
    ways = {name: replace(settings, segmenter=name) for name in CUTS}
    return ways | {threshold: replace(settings, segmenter="threshold", threshold=THRESHOLDS[threshold])}


def highest_point(image_maps: ImageMaps, class_name: str, settings: SegmentationSettings) -> tuple[float, float] | None:
    """Of the map as the cuts see it, the center of the pixel, in pixels of the original image."""
    height, width = image_maps.read.working_rgb.shape[:2]
    try:
        saliency = working_map(image_maps.maps[class_name], (height, width), settings.smoothing)
    except ItemError:
        return None
    y, x = np.unravel_index(np.nanargmax(saliency), saliency.shape)
    original_w, original_h = image_maps.read.size_wh
    return (float(x) + 0.5) * original_w / width, (float(y) + 0.5) * original_h / height


def items_of(options: argparse.Namespace, part: str) -> TrueBoxes:
    """The items to judge, with their true boxes."""
    if part == "val":
        return truth_of(options, part)
    truth = read_truth(options, part.split("-")[0])
    items, listed = judged_items(truth, CLASSES), item_list(part)
    kept = np.array([listed.get(image_id) == name for image_id, name in items.pairs()])
    return true_boxes(items.keep(kept), truth)


def table(options: argparse.Namespace, network: str, part: str, methods: Mapping[str, Sequence[str]]) -> str:
    true = items_of(options, part)
    heads = [f"{way}, {form}" for way in ("threshold", *CUTS) for form in ("class-wise", "image-wise")]
    lines = [
        f"{network}, {len(true.items)} items in {len(true.items.image_ids)} images of {part}. Percent; "
        "95 % bootstrap intervals over images.",
        "",
        f"| method | passes | t | {' | '.join(heads)} | pointing | saliency s/image |",
        "|---|---:|---:|" + "---:|" * (len(heads) + 2),
    ]
    centers = true.size_wh[true.items.image_index] / 2
    center = {pair: (x, y) for pair, (x, y) in zip(true.items.pairs(), centers.tolist(), strict=True)}
    for name, make_box in BASELINES.items():
        judged = judge_baseline(true, make_box)
        corloc = [format_interval(estimate(metric, judged)) for metric in (class_wise, image_wise)]
        pointing = ""
        if name == "center box":
            pointing = format_interval(estimate(mean_over_classes, judge_points(true, center)))
        lines.append(f"| {name} | | | {' | '.join([*corloc, *[''] * 4])} | {pointing} | |")
    for method, flags in methods.items():
        records = compute(options, Cell(network, method, part, flags))
        threshold = chosen_threshold(options, Cell(network, method, part, flags))
        cells = []
        for way in (threshold, *CUTS):
            judged = judge_localizations(true, localizations(records, way))
            cells += [format_interval(estimate(metric, judged)) for metric in (class_wise, image_wise)]
        points = {
            (record["image_id"], name): item["point_xy"]
            for record in records
            for name, item in record["items"].items()
            if item["point_xy"]
        }
        pointing = format_interval(estimate(mean_over_classes, judge_points(true, points)))
        timed = compute(options, Cell(network, method, "timing", flags))
        seconds = np.mean([record["saliency_seconds"] for record in timed])
        lines.append(
            f"| {method} | {records[0]['passes']} | {threshold.removeprefix('threshold ')} | {' | '.join(cells)} | "
            f"{pointing} | {seconds:.2f} |"
        )
    return "\n".join(lines)


def chosen_threshold(options: argparse.Namespace, cell: Cell) -> str:
    """The threshold of the largest class-wise CorLoc on train, of equal ones the lowest."""
    train = cell.for_threshold
    true = items_of(options, train.part)
    records = compute(options, train)
    corloc = {
        way: per_class_corloc(judge_localizations(true, localizations(records, way))).mean() for way in THRESHOLDS
    }
    return max(corloc, key=lambda way: corloc[way])


def localizations(records: Sequence[Mapping[str, Any]], way: str) -> Iterator[Localization]:
    """The boxes of one way to cut, as evaluation takes them."""
    for record in records:
        for name, item in record["items"].items():
            if way in item["boxes"]:
                yield Localization(
                    image_id=record["image_id"],
                    file="",
                    class_name=name,
                    box_xyxy=tuple(item["boxes"][way]),
                    probability=item["probability"],
                    quality=0.0,
                    area_fraction=0.0,
                    method="",
                    segmenter=way,
                    fallback=None,
                    component=0,
                    size_wh=(0, 0),
                )


if __name__ == "__main__":
    sys.exit(main())
