"""docs/images/best_misses.png: items that ``--preset best`` does not find, after scripts/benchmark_best.py.

Drawn at random from each kind of miss. Refined map, seeds, and mask with its box (yellow) and the true ones (green);
without the photographs, which are not ours to publish.

    python scripts/figure_best_misses.py --root data --split trainval --network mobilenet_v2
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from benchmark_best import run, run_flags
from benchmark_voc import add_data_flags, truth_of
from figure_cut_losses import FIGURE, item_of, map_and_seeds, mask_and_boxes, save_sheet, side_by_side, working_wh
from numpy.typing import NDArray

from wsloc import boxes
from wsloc.cli.options import parse_localize
from wsloc.datasets import asked_classes, open_dataset
from wsloc.evaluation.corloc import IOU_THRESHOLD
from wsloc.evaluation.histograms import box_errors
from wsloc.evaluation.judging import TrueBoxes, judge_localizations
from wsloc.pipeline import make_localizer
from wsloc.reporting.figures import TOO_LARGE
from wsloc.runs.fitted_refiner import FITTED, for_refiner
from wsloc.runs.read_run import read_run

SHOWN = {"too large": 4, "too small": 2}
_LIMIT = np.log2(TOO_LARGE)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_flags(parser)
    parser.add_argument("--network", default="mobilenet_v2")
    parser.set_defaults(runs=Path("runs/benchmark-best"))
    options = parser.parse_args()
    folder = run(options, options.network, "best")
    true = truth_of(options, "val")

    config = parse_localize([*run_flags(options, options.network, "best", "val"), "--refiner", str(folder / FITTED)])
    dataset = open_dataset(config.data)
    localizer = make_localizer(config, asked_classes(config.data, dataset))
    localizer = for_refiner(config.refinement, localizer, len(dataset.images))
    by_id = {image.image_id: image for image in dataset.images}
    rows, pairs = [], true.items.pairs()
    for kind, items in misses(true, folder).items():
        for index in np.random.default_rng(0).choice(items, SHOWN[kind], replace=False):
            image_id, class_name = pairs[index]
            item = item_of(localizer, by_id[image_id], class_name)
            size_w, size_h = true.size_wh[true.items.image_index[index]].tolist()
            of_image = boxes.scale(true.boxes_xyxy[true.item == index], (size_w, size_h), working_wh(item)).tolist()
            rows.append(side_by_side([*map_and_seeds(item), mask_and_boxes(item, (size_w, size_h))], of_image))
            print(image_id, class_name, kind)
    save_sheet(rows, FIGURE.with_name("best_misses.png"))
    return 0


def misses(true: TrueBoxes, folder: Path) -> dict[str, NDArray[np.int64]]:
    """The items that a run does not find, by what is wrong with the box."""
    found = read_run(folder).localizations
    errors = box_errors(true, found)
    missed = judge_localizations(true, found).iou[errors.item] <= IOU_THRESHOLD
    return {
        "too large": errors.item[missed & (errors.log2_area > _LIMIT)],
        "too small": errors.item[missed & (errors.log2_area < -_LIMIT)],
    }


if __name__ == "__main__":
    sys.exit(main())
