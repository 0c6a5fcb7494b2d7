"""Boxes and the true boxes that they may be matched with: those of the same image and class."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsloc import boxes
from wsloc.records import Box, GroundTruth, Pair


@dataclass(frozen=True, slots=True, eq=False)
class Objects:
    """True boxes of many images in one array.

    Attributes:
        boxes_xyxy: float64 ``(M, 4)``.
        keys: M pairs of image id and class name.
        difficult: bool ``(M,)``.
    """

    boxes_xyxy: NDArray[np.float64]
    keys: list[Pair]
    difficult: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """For each of N boxes the true box of its key with which it has the largest IoU.

    Attributes:
        iou: float64 ``(N,)`` in [0, 1]; 0 if there is none.
        true: int64 ``(N,)``, its index, of equal ones the first; -1 where the key has no true box.
    """

    iou: NDArray[np.float64]
    true: NDArray[np.int64]


def objects_of(truth: Mapping[str, GroundTruth], class_names: Collection[str] | None = None) -> Objects:
    """The true boxes of some images, difficult ones included, crowd regions not; only some classes, or all."""
    images = list(truth.items())
    found = Objects(
        np.concatenate([np.zeros((0, 4)), *(image.boxes_xyxy for _, image in images)]),
        [(image_id, name) for image_id, image in images for name in image.class_names],
        np.concatenate([np.zeros(0, dtype=bool), *(image.difficult for _, image in images)]),
    )
    if class_names is None:
        return found
    wanted = frozenset(class_names)
    kept = np.array([name in wanted for _, name in found.keys], dtype=bool)
    keys = [key for key in found.keys if key[1] in wanted]
    return Objects(found.boxes_xyxy[kept], keys, found.difficult[kept])


def crowds_of(truth: Mapping[str, GroundTruth]) -> Objects:
    """The crowd regions of some images, as :func:`objects_of` gives the true boxes."""
    images = [(image_id, image) for image_id, image in truth.items() if len(image.crowd_xyxy)]
    keys = [(image_id, name) for image_id, image in images for name in image.crowd_class_names]
    regions = np.concatenate([np.zeros((0, 4)), *(image.crowd_xyxy for _, image in images)])
    return Objects(regions, keys, np.zeros(len(keys), dtype=bool))


def boxes_of(localizations: Sequence[Box]) -> NDArray[np.float64]:
    """The boxes ``(N, 4)`` of some records."""
    return np.array([record.box_xyxy for record in localizations], dtype=np.float64).reshape(-1, 4)


def pair_up(keys: Sequence[Hashable], true_keys: Sequence[Hashable]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All P pairs of equal keys: indices into the first ``(P,)``, ascending, and into the second ``(P,)``."""
    code_of: dict[Hashable, int] = {}
    true_code = np.array([code_of.setdefault(key, len(code_of)) for key in true_keys], dtype=np.int64)
    code = np.array([code_of.get(key, -1) for key in keys], dtype=np.int64)
    by_code = np.argsort(true_code, kind="stable")
    count_of = np.bincount(true_code, minlength=len(code_of))
    start_of = np.cumsum(count_of) - count_of
    known = np.flatnonzero(code >= 0)
    counts = count_of[code[known]]
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.repeat(known, counts), by_code[np.repeat(start_of[code[known]], counts) + within]


def best_matches(
    boxes_xyxy: NDArray[np.float64],
    keys: Sequence[Hashable],
    true_xyxy: NDArray[np.float64],
    true_keys: Sequence[Hashable],
) -> Match:
    """The best true box for each of N boxes.

    Args:
        boxes_xyxy: ``(N, 4)``.
        keys: N; only true boxes of the same key are looked at.
        true_xyxy: ``(M, 4)``.
        true_keys: M.
    """
    own, other = pair_up(keys, true_keys)
    iou = boxes.paired_iou(boxes_xyxy[own], true_xyxy[other])
    best_first = np.lexsort((other, -iou, own))
    found, first = np.unique(own[best_first], return_index=True)
    match = Match(np.zeros(len(keys)), np.full(len(keys), -1, dtype=np.int64))
    match.iou[found], match.true[found] = iou[best_first][first], other[best_first][first]
    return match


def largest_fraction_inside(
    boxes_xyxy: NDArray[np.float64], keys: Sequence[Hashable], regions: Objects
) -> NDArray[np.float64]:
    """The largest fraction of each box's area that one region of its key covers, ``(N,)`` in [0, 1]."""
    own, other = pair_up(keys, regions.keys)
    box, region = boxes_xyxy[own], regions.boxes_xyxy[other]
    common = np.concatenate([np.maximum(box[:, :2], region[:, :2]), np.minimum(box[:, 2:], region[:, 2:])], axis=1)
    area = boxes.area(box)
    inside = np.divide(boxes.area(common), area, out=np.zeros(len(own)), where=area > 0)
    largest = np.zeros(len(keys))
    np.maximum.at(largest, own, inside)
    return largest
