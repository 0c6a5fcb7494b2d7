"""docs/images/cut_losses.png: items that the threshold finds and GrabCut loses, after scripts/benchmark_voc.py.

Map, seeds, and both masks with their boxes (yellow) and the true one (green); without the photographs, which are
not ours to publish.

    python scripts/figure_cut_losses.py --root data --split trainval --network densenet121 --threshold 0.15
"""

from __future__ import annotations

import argparse
import sys
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
        image = replace(by_id[image_id], labels=(class_name,))
        settings = SegmentationSettings(segmenter="threshold", threshold=float(options.threshold))
        cut = item_of(localizer, image)
        thresholded = item_of(replace(localizer, cut=replace(localizer.cut, settings=settings)), image)
        size_w, size_h = true.size_wh[true.items.image_index[item]].tolist()
        rows.append(row(cut, thresholded, true.boxes_xyxy[true.item == item], (size_w, size_h)))
        print(image.image_id, class_name)
    height = sum(len(picture) for picture in rows) + GAP * (len(rows) - 1)
    sheet = np.full((height, rows[0].shape[1], 3), 255, dtype=np.uint8)
    top = 0
    for picture in rows:
        sheet[top : top + len(picture)] = picture
        top += len(picture) + GAP
    Image.fromarray(sheet).save(FIGURE, optimize=True)
    return 0


def item_of(localizer: Localizer, image: ImageRecord) -> ItemResult:
    (result,) = localize_images(localizer, [image])
    return result.items[0]


def row(
    cut: ItemResult, thresholded: ItemResult, true_xyxy: NDArray[np.float64], size_wh: tuple[int, int]
) -> NDArray[np.uint8]:
    """Map, seeds, mask of the threshold, mask of the cut, on gray instead of the photograph."""
    assert cut.trace is not None
    assert thresholded.trace is not None
    height, width = cut.trace.mask.shape
    gray = np.full((height, width, 3), 110, dtype=np.uint8)
    true = boxes.scale(true_xyxy, size_wh, (width, height)).tolist()
    pictures = [overlay_heatmap(gray, cut.trace.saliency, alpha=1.0), overlay_seeds(gray, cut.trace.trimap)]
    for item in (thresholded, cut):
        assert item.trace is not None
        own = boxes.scale(item.localizations[0].box_xyxy, size_wh, (width, height)).tolist()
        pictures.append(draw_boxes(overlay_mask(gray, item.trace.mask), own))
    scaled = [
        np.array(Image.fromarray(draw_boxes(picture, true, TRUE_COLOR)).resize((WIDTH, round(height * WIDTH / width))))
        for picture in pictures
    ]
    gap = np.full((len(scaled[0]), GAP, 3), 255, dtype=np.uint8)
    return np.concatenate([part for picture in scaled for part in (picture, gap)][:-1], axis=1)


if __name__ == "__main__":
    sys.exit(main())
