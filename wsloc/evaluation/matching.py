"""Boxes matched one to one with true boxes, as PASCAL VOC does (Everingham et al. 2010; the development kit).

The boxes are gone through from the highest score down, equal scores in the order in which the boxes are given. A box
is matched with the true box of its image and class with which it has the largest IoU. With an IoU of at least 0.5 it
is a hit if it is the first on that object and a miss if not; on a difficult object it is neither; below 0.5 it is a
miss. The development kit computes areas of whole-numbered, inclusive boxes, width ``xmax - xmin + 1``: those of the
half-open boxes here are the same.

VOC has no crowd regions. Here, a miss with at least half of its area inside one of its class does not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsloc.evaluation.pairing import Objects, best_matches, largest_fraction_inside
from wsloc.records import Pair

IOU_THRESHOLD = 0.5
"""The least IoU of a hit."""


@dataclass(frozen=True, slots=True, eq=False)
class Hits:
    """What became of N boxes.

    Attributes:
        hit: bool ``(N,)``: the first box on an object that is not difficult.
        counted: bool ``(N,)``: a hit or a miss; False on a difficult object and in a crowd region.
    """

    hit: NDArray[np.bool_]
    counted: NDArray[np.bool_]


def match_one_to_one(
    boxes_xyxy: NDArray[np.float64],
    keys: Sequence[Pair],
    scores: NDArray[np.float64],
    objects: Objects,
    crowds: Objects,
) -> Hits:
    """Match boxes with the true boxes of their image and class.

    Args:
        boxes_xyxy: ``(N, 4)``.
        keys: N.
        scores: float64 ``(N,)``, the greater the more certain; NaN comes last.
        objects: the true boxes, difficult ones included.
        crowds: the crowd regions.
    """
    match = best_matches(boxes_xyxy, keys, objects.boxes_xyxy, objects.keys)
    in_crowd = largest_fraction_inside(boxes_xyxy, keys, crowds) >= IOU_THRESHOLD
    near = match.iou >= IOU_THRESHOLD
    ignored = np.zeros(len(keys), dtype=bool)
    ignored[near] = objects.difficult[match.true[near]]
    hit = np.zeros(len(keys), dtype=bool)
    order = np.argsort(-scores, kind="stable")
    candidates = order[(near & ~ignored)[order]]
    hit[candidates[np.unique(match.true[candidates], return_index=True)[1]]] = True
    return Hits(hit, ~ignored & (hit | ~in_crowd))
