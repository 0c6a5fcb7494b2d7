"""The table of docs/benchmarks.md on the evaluation: processor time of the metrics on one core, without the bootstrap.

On 100 000 boxes of 50 000 made-up images.

    python scripts/benchmark_evaluation.py
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from markdown_page import fill

from wsloc.evaluation.coco_ap import coco_ap
from wsloc.evaluation.histograms import box_errors, iou_histogram
from wsloc.evaluation.items import judged_items
from wsloc.evaluation.judging import true_boxes
from wsloc.evaluation.kept_curve import judge_boxes, kept_curve
from wsloc.evaluation.summary import RUN, judge_with_baselines
from wsloc.evaluation.voc_ap import voc_ap
from wsloc.records import Box, GroundTruth, Localization

WIDTH, HEIGHT = 500, 375
MOST_OBJECTS = 4
Result = TypeVar("Result")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--boxes", type=int, default=100_000)
    parser.add_argument("--classes", type=int, default=80)
    options = parser.parse_args()

    def certainty(box: Box) -> float:
        return box.score_by("probability")

    truth, localizations = make_run(options.images, options.boxes, options.classes)
    seconds: dict[str, float] = {}

    def timed(name: str, work: Callable[[], Result]) -> Result:
        began = time.process_time()
        result = work()
        seconds[name] = time.process_time() - began
        return result

    judged = timed("judging boxes and baselines", lambda: judge_with_baselines(localizations, truth))
    assert judged is not None
    timed("IoU histogram", lambda: iou_histogram(judged[RUN]))
    true = true_boxes(judged_items(truth), truth)
    timed("size and aspect errors", lambda: box_errors(true, localizations))
    boxes = timed("judging each box", lambda: judge_boxes(truth, localizations))
    assert boxes is not None
    scores = np.array([record.quality for record in localizations])
    timed("precision of the boxes kept", lambda: kept_curve(boxes, scores, boxes.right))
    timed("VOC average precision", lambda: voc_ap(truth, localizations, lambda record: record.score_by("probability")))
    together = sum(seconds.values())
    timed(
        "COCO average precision", lambda: coco_ap(truth, localizations, lambda record: record.score_by("probability"))
    )
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    table = "\n".join(
        [
            f"{len(localizations)} boxes, {len(truth)} images, {options.classes} classes; at most {memory:.2f} GiB.",
            "",
            "| step | seconds | fraction of all but COCO's |",
            "|---|---:|---:|",
            *(f"| {name} | {value:.2f} | {value / together:.2f} |" for name, value in seconds.items()),
            f"| all but COCO's | {together:.2f} | 1.00 |",
        ]
    )
    fill("benchmark_evaluation", table)
    print(table)
    return 0


def make_run(images: int, boxes: int, classes: int) -> tuple[dict[str, GroundTruth], list[Localization]]:
    """Images of one to four objects, a tenth of them difficult, and boxes near some of the objects."""
    generator = np.random.default_rng(0)
    names = np.array([f"class {number}" for number in range(classes)])
    truth = {}
    for number in range(images):
        count = int(generator.integers(1, MOST_OBJECTS + 1))
        corners = np.sort(generator.uniform(0, 1, (count, 2, 2)), axis=1).reshape(count, 4)
        image_id = f"{number:06d}"
        truth[image_id] = GroundTruth(
            image_id,
            corners * [WIDTH, HEIGHT, WIDTH, HEIGHT],
            tuple(generator.choice(names, count).tolist()),
            generator.random(count) < 0.1,
            (WIDTH, HEIGHT),
        )
    found: dict[tuple[str, str], Localization] = {}
    ids = list(truth)
    while len(found) < boxes:
        image = truth[ids[int(generator.integers(images))]]
        target = int(generator.integers(len(image.class_names)))
        name = image.class_names[target] if generator.random() < 0.7 else str(generator.choice(names))
        box = np.clip(image.boxes_xyxy[target] + generator.normal(0, 30, 4), 0, [WIDTH, HEIGHT, WIDTH, HEIGHT])
        x0, y0, x1, y1 = (float(side) for side in (*np.minimum(box[:2], box[2:]), *np.maximum(box[:2], box[2:])))
        found[image.image_id, name] = Localization(
            image_id=image.image_id,
            file=f"{image.image_id}.jpg",
            class_name=name,
            box_xyxy=(x0, y0, x1, y1),
            probability=float(generator.random()),
            quality=float(generator.random()),
            area_fraction=(x1 - x0) * (y1 - y0) / (WIDTH * HEIGHT),
            method="gradient",
            segmenter="grabcut",
            fallback=None,
            component=0,
            size_wh=(WIDTH, HEIGHT),
        )
    return truth, list(found.values())


if __name__ == "__main__":
    sys.exit(main())
