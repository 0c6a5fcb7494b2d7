"""The table of docs/experiments.md on splitting a component into instances, on train.

Learns over the set once per network, cuts all components, and splits each by watershed (Vincent and Soille 1991) from
markers that stand out from their surroundings: at its necks (the distance to the border) or at the peaks of the image's
own map. The largest part of the largest component counts for CorLoc, all parts for recall and precision.

    python scripts/experiment_splitting.py --root data --weights-dir weights --network mobilenet_v2
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import cv2
import numpy as np
from benchmark_voc import CLASSES
from experiment_learning import EXPERIMENTS, Material, add_flags, boxes_of, learned, prepare, truth_of
from markdown_page import fill
from numpy.typing import NDArray
from skimage.measure import label
from skimage.morphology import h_maxima
from skimage.segmentation import watershed

from wsloc import boxes, run_lengths
from wsloc.evaluation.corloc import IOU_THRESHOLD, per_class_corloc
from wsloc.evaluation.judging import judge_localizations
from wsloc.evaluation.object_groups import object_counts
from wsloc.evaluation.recall import precision, recall
from wsloc.records import Localization
from wsloc.runs.stored_maps import StoredMaps

Mask = NDArray[np.bool_]
MIN_PART = 0.15
"""Least area of a part, as a fraction of its component."""
LOWEST = 1e-3
"""Below this fraction of its maximum, a surface is flat."""


@dataclass(frozen=True, eq=False)
class Found:
    """A component, with its mask and its image's own map at the mask's resolution."""

    record: Localization
    mask: Mask
    own: NDArray[np.float32]


def whole(found: Found) -> list[Mask]:
    return [found.mask]


def at_necks(depth: float, found: Found) -> list[Mask]:
    """Split where the component is narrower than ``depth`` times both parts."""
    distance = cv2.distanceTransform(np.pad(found.mask, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    return split(found.mask, cv2.GaussianBlur(distance, (0, 0), 1.0), depth)


def at_peaks(sigma: float, depth: float, found: Found) -> list[Mask]:
    """Split where the own map, smoothed, is lower than ``depth`` times both peaks."""
    return split(found.mask, cv2.GaussianBlur(found.own, (0, 0), sigma * max(found.mask.shape)), depth)


def split(mask: Mask, surface: NDArray[Any], depth: float) -> list[Mask]:
    """Parts of a mask around the maxima of a surface, the largest first."""
    surface = np.where(mask, surface, 0)
    height = np.log(np.maximum(surface / max(surface.max(), 1e-12), LOWEST))
    markers = np.where(mask, label(h_maxima(height, -np.log(depth)), connectivity=2), 0)  # type: ignore[no-untyped-call]
    if np.count_nonzero(np.unique(markers)) < 2:
        return [mask]
    labels = watershed(-surface, markers, mask=mask)  # type: ignore[no-untyped-call]
    parts = [labels == index for index in np.unique(labels) if index]
    kept = [part for part in parts if part.sum() >= MIN_PART * mask.sum()]
    return sorted(kept, key=lambda part: -int(part.sum())) if len(kept) > 1 else [mask]


WAYS: dict[str, Callable[[Found], list[Mask]]] = {
    "whole": whole,
    **{f"necks, {depth}": partial(at_necks, depth) for depth in (0.3, 0.5, 0.7)},
    **{
        f"peaks, sigma {sigma}, {depth}": partial(at_peaks, sigma, depth)
        for sigma in (0.03, 0.05)
        for depth in (0.5, 0.65, 0.8)
    },
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_flags(parser)
    options = parser.parse_args()
    material = prepare(options)
    components = list(found_in(material))
    text = "\n".join(table(material, components))
    print(text)
    fill("splitting", text, EXPERIMENTS)
    return 0


def found_in(material: Material) -> Iterator[Found]:
    """All components of the six classes."""
    settings = replace(material.config.segmentation, segmenter="grabcut-by-value", components="all")
    localizer, maps = learned(material, 0), material.stored.maps
    assert isinstance(maps, StoredMaps)
    localizer = replace(localizer, cut=replace(localizer.cut, settings=settings))
    for record in boxes_of(localizer, material.images, material.plan):
        if record.class_name not in CLASSES:
            continue
        assert isinstance(record, Localization)
        assert record.mask_rle is not None
        mask = run_lengths.decode(record.mask_rle)
        own = maps.saved.read(record.image_id, record.class_name)
        assert own is not None
        resized = cv2.resize(np.nan_to_num(own), mask.shape[::-1], interpolation=cv2.INTER_LINEAR)
        yield Found(record, mask, resized.astype(np.float32))


def table(material: Material, components: list[Found]) -> Iterator[str]:
    true = truth_of(material, CLASSES)
    one = object_counts(true) == 1
    weights = np.ones((1, len(true.items.image_ids)))
    yield "| split | boxes | CorLoc, six classes | one object | several | recall, pooled | precision, pooled |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    for name, way in WAYS.items():
        records = [record for found in components for record in records_of(found, way(found))]
        judged = judge_localizations(true, records)
        right = judged.iou > IOU_THRESHOLD
        values = [per_class_corloc(judged).mean(), right[one].mean(), right[~one].mean()]
        values += [metric(weights, judged, pooled=True)[0] for metric in (recall, precision)]
        yield f"| {name} | {len(records)} | {' | '.join(f'{100 * value:.1f}' for value in values)} |"


def records_of(found: Found, parts: list[Mask]) -> Iterator[Localization]:
    """A record for each part, in the place of the component's."""
    height, width = found.mask.shape
    size_wh = found.record.size_wh
    for index, part in enumerate(parts):
        box = boxes.clip(boxes.scale(boxes.mask_box(part), (width, height), size_wh), size_wh)[0].tolist()
        # Only the first part of the largest component may count as the item's box.
        yield replace(found.record, box_xyxy=tuple(box), component=found.record.component + index)


if __name__ == "__main__":
    sys.exit(main())
