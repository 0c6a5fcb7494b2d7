"""The table of docs/experiments.md on a second look at small objects, on train.

Boxes that cover less than 15 % of their image are cut out with 2.5 times their size around them; the crop goes through
network, refiner, and threshold again, and its box replaces the first one, always or where the two agree.

    python scripts/experiment_zoom.py --root data --weights-dir weights --network mobilenet_v2
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from benchmark_voc import CLASSES
from experiment_learning import EXPERIMENTS, Material, add_flags, boxes_of, learned, prepare, truth_of
from markdown_page import fill

from wsloc import boxes
from wsloc.evaluation.corloc import IOU_THRESHOLD, per_class_corloc
from wsloc.evaluation.judging import judge_localizations
from wsloc.evaluation.object_groups import size_groups
from wsloc.images import read_image
from wsloc.pipeline import Localizer, make_localizer
from wsloc.records import AskedClasses, BoxRecord, ImageRecord, Pair

SMALL, ZOOM, MIN_SIDE = 0.15, 2.5, 32
AGREEMENTS = {"always": 0.0, "IoU of the two above 0.3": 0.3, "IoU of the two above 0.5": 0.5}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_flags(parser)
    options = parser.parse_args()
    material = prepare(options)
    localizer = learned(material, 0)
    first = boxes_of(localizer, material.images, material.plan)
    text = "\n".join(table(material, first, second_look(material, localizer, first)))
    print(text)
    fill("zoom", text, EXPERIMENTS)
    return 0


def second_look(material: Material, localizer: Localizer, first: list[BoxRecord]) -> dict[Pair, BoxRecord]:
    """The boxes of small objects as found in a crop, in pixels of the whole image."""
    images = {image.image_id: image for image in material.images}
    small = [box for box in first if box.area_fraction < SMALL]
    crops = [crop_around(box, images[box.image_id]) for box in small]
    names = tuple(sorted({box.class_name for box in first}))
    asked = make_localizer(material.config, AskedClasses(names)).with_layers(localizer.maps.layers)
    found = boxes_of(replace(asked, refine=localizer.refine), [record for record, _ in crops], material.plan)
    by_crop = {box.image_id: box for box in found}
    moved = {}
    for before, (record, (left, top)) in zip(small, crops, strict=True):
        if (box := by_crop.get(record.image_id)) is not None:
            x0, y0, x1, y1 = box.box_xyxy
            placed = replace(before, box_xyxy=(x0 + left, y0 + top, x1 + left, y1 + top))
            moved[before.image_id, before.class_name] = placed
    return moved


def crop_around(box: BoxRecord, image: ImageRecord) -> tuple[ImageRecord, tuple[int, int]]:
    """A crop as an image of its own, and its upper left corner in the whole one."""
    pixels = read_image(image.source)
    corners = np.array(box.box_xyxy).reshape(2, 2)
    half = ZOOM * max((corners[1] - corners[0]).max(), MIN_SIDE) / 2
    left, top = np.maximum(corners.mean(axis=0) - half, 0).astype(int)
    right, bottom = np.minimum(corners.mean(axis=0) + half, pixels.shape[1::-1]).astype(int)
    crop = np.ascontiguousarray(pixels[top:bottom, left:right])
    record = ImageRecord(f"{box.image_id}/{box.class_name}", image.file, crop, (box.class_name,))
    return record, (int(left), int(top))


def table(material: Material, first: list[BoxRecord], second: dict[Pair, BoxRecord]) -> Iterator[str]:
    true = truth_of(material, CLASSES)
    (small, *_) = size_groups(true).values()
    yield f"| box of the crop counts | boxes replaced | CorLoc, six classes | objects below 15 % ({small.sum()}) |"
    yield "|---|---:|---:|---:|"
    for name, least in {"never": np.inf, **AGREEMENTS}.items():
        chosen = [second.get((box.image_id, box.class_name), box) for box in first]
        overlap = [boxes.paired_iou(box.box_xyxy, other.box_xyxy)[0] for box, other in zip(first, chosen, strict=True)]
        kept = [
            other if other is not box and iou >= least else box
            for box, other, iou in zip(first, chosen, overlap, strict=True)
        ]
        judged = judge_localizations(true, kept)
        right = judged.iou > IOU_THRESHOLD
        replaced = sum(box is not other for box, other in zip(first, kept, strict=True))
        yield f"| {name} | {replaced} | {100 * per_class_corloc(judged).mean():.1f} | {100 * right[small].mean():.1f} |"


if __name__ == "__main__":
    sys.exit(main())
