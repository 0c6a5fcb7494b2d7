"""docs/images/cut_losses.png: items that the threshold finds and GrabCut loses, after scripts/benchmark_voc.py.

Map, seeds, and both masks with their boxes (yellow) and the true one (green); without the photographs, which are
not ours to publish.

    python scripts/figure_cut_losses.py --root data --split trainval --network densenet121 --threshold 0.15
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from benchmark_runs import weights_flags
from benchmark_voc import add_data_flags, data_flags, run, truth_of
from numpy.typing import NDArray
from PIL import Image

from wsloc import boxes
from wsloc.cli.options import parse_localize
from wsloc.config import SegmentationSettings
from wsloc.datasets import asked_classes, open_dataset
from wsloc.evaluation.judging import judge_localizations
from wsloc.pipeline import ItemResult, Localizer, localize_images, make_localizer
from wsloc.records import ImageRecord
from wsloc.runs.read_run import read_run
from wsloc.visualization import draw_boxes, overlay_heatmap, overlay_mask, overlay_seeds

FIGURE = Path(__file__).resolve().parents[1] / "docs" / "images" / "cut_losses.png"
TRUE_COLOR = (60, 220, 90)
WIDTH = 200
GAP = 4


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_flags(parser)
    parser.add_argument("--network", default="densenet121")
    parser.add_argument("--threshold", default="0.25", help="as chosen by the benchmark")
    parser.add_argument("--items", type=int, default=6)
    options = parser.parse_args()

    true = truth_of(options, "val")
    iou = {
        segmenter: judge_localizations(
            true, read_run(run(options, options.network, "val", segmenter, options.threshold)).localizations
        ).iou
        for segmenter in ("threshold", "grabcut")
    }
    lost = np.where(iou["threshold"] > 0.5, iou["threshold"] - iou["grabcut"], 0)
    worst = np.argsort(-lost, kind="stable")[: options.items]

    flags = [*data_flags(options, "val"), "--arch", options.network, "--batch-size", "1"]
    flags += weights_flags(options, options.network)
    config = parse_localize(flags)
    dataset = open_dataset(config.data)
    localizer = make_localizer(config, asked_classes(config.data, dataset))
    by_id = {image.image_id: image for image in dataset.images}

    rows = []
    pairs = true.items.pairs()
    for item in worst:
        image_id, class_name = pairs[item]
        image = by_id[image_id]
        settings = SegmentationSettings(segmenter="threshold", threshold=float(options.threshold))
        cut = item_of(localizer, image, class_name)
        thresholded = item_of(replace(localizer, cut=replace(localizer.cut, settings=settings)), image, class_name)
        size_w, size_h = true.size_wh[true.items.image_index[item]].tolist()
        rows.append(row(cut, thresholded, true.boxes_xyxy[true.item == item], (size_w, size_h)))
        print(image_id, class_name)
    save_sheet(rows, FIGURE)
    return 0


def item_of(localizer: Localizer, image: ImageRecord, class_name: str) -> ItemResult:
    """One item of an image, with all of its labels."""
    (result,) = localize_images(localizer, [image])
    return next(item for item in result.items if item.class_name == class_name)


def row(
    cut: ItemResult, thresholded: ItemResult, true_xyxy: NDArray[np.float64], size_wh: tuple[int, int]
) -> NDArray[np.uint8]:
    """Map, seeds, mask of the threshold, mask of the cut, on gray instead of the photograph."""
    true = boxes.scale(true_xyxy, size_wh, working_wh(cut)).tolist()
    return side_by_side([*map_and_seeds(cut), mask_and_boxes(thresholded, size_wh), mask_and_boxes(cut, size_wh)], true)


def map_and_seeds(item: ItemResult) -> list[NDArray[np.uint8]]:
    """On gray, of the size of the cut."""
    assert item.trace is not None
    gray = _gray(item)
    return [overlay_heatmap(gray, item.trace.saliency, alpha=1.0), overlay_seeds(gray, item.trace.trimap)]


def mask_and_boxes(item: ItemResult, size_wh: tuple[int, int]) -> NDArray[np.uint8]:
    """On gray, of the size of the cut; the image has ``size_wh``."""
    assert item.trace is not None
    own = boxes.scale(item.localizations[0].box_xyxy, size_wh, working_wh(item)).tolist()
    return draw_boxes(overlay_mask(_gray(item), item.trace.mask), own)


def working_wh(item: ItemResult) -> tuple[int, int]:
    """The size at which an item was cut."""
    assert item.trace is not None
    height, width = item.trace.mask.shape
    return width, height


def side_by_side(pictures: Sequence[NDArray[np.uint8]], true_xyxy: list[list[float]]) -> NDArray[np.uint8]:
    """A row of the figure: pictures of one size with the true boxes on them."""
    height = round(len(pictures[0]) * WIDTH / pictures[0].shape[1])
    scaled = [
        np.array(Image.fromarray(draw_boxes(picture, true_xyxy, TRUE_COLOR)).resize((WIDTH, height)))
        for picture in pictures
    ]
    gap = np.full((height, GAP, 3), 255, dtype=np.uint8)
    return np.concatenate([part for picture in scaled for part in (picture, gap)][:-1], axis=1)


def save_sheet(rows: Sequence[NDArray[np.uint8]], path: Path) -> None:
    """The rows below one another."""
    gap = np.full((GAP, rows[0].shape[1], 3), 255, dtype=np.uint8)
    sheet = np.concatenate([part for picture in rows for part in (picture, gap)][:-1])
    Image.fromarray(sheet).save(path, optimize=True)


def _gray(item: ItemResult) -> NDArray[np.uint8]:
    width, height = working_wh(item)
    return np.full((height, width, 3), 110, dtype=np.uint8)


if __name__ == "__main__":
    sys.exit(main())
