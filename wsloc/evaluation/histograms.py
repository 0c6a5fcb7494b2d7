"""How far boxes are off, as arrays for plots: an IoU histogram, and errors of size and aspect."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsloc.evaluation.judging import Judged, TrueBoxes
from wsloc.evaluation.pairing import best_matches, boxes_of
from wsloc.records import Box, first_boxes

BINS = 20


@dataclass(frozen=True, slots=True, eq=False)
class IouHistogram:
    """Items by IoU.

    Attributes:
        edges: float64 ``(21,)`` over [0, 1]. A bin holds its upper edge and not its lower one, so that the bins above
            0.5 are the items that CorLoc counts as found.
        counts: int64 ``(20,)``.
        nothing: items without a box, or whose box touches no true box of the class.
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.int64]
    nothing: int


@dataclass(frozen=True, slots=True, eq=False)
class BoxErrors:
    """How the boxes of N items differ from the true box that each overlaps most.

    Items without a box, and boxes that overlap no true box of their class, are left out.

    Attributes:
        item: int64 ``(N,)``, index of the item, ascending.
        log2_area: float64 ``(N,)``: of predicted over true area; 1 is twice too large.
        log2_aspect: float64 ``(N,)``: of predicted over true width by height; 1 is twice too wide for its height.
    """

    item: NDArray[np.int64]
    log2_area: NDArray[np.float64]
    log2_aspect: NDArray[np.float64]


def iou_histogram(judged: Judged) -> IouHistogram:
    """The IoU of all items in 20 bins."""
    edges = np.linspace(0, 1, BINS + 1)
    # Rounding may lift an IoU of 1 above the last edge.
    reached = np.minimum(judged.iou[judged.iou > 0], 1)
    counts = np.bincount(np.searchsorted(edges, reached) - 1, minlength=BINS)
    return IouHistogram(edges, counts.astype(np.int64), int(np.sum(judged.iou <= 0)))


def box_errors(true: TrueBoxes, localizations: Iterable[Box]) -> BoxErrors:
    """Errors of the boxes of a run; of several components of an item the largest alone."""
    index_of = true.items.index_of()
    of_item = {index_of[pair]: box for pair, box in first_boxes(localizations).items() if pair in index_of}
    own = np.flatnonzero(true.item >= 0)
    items = sorted(of_item)
    boxes = boxes_of([of_item[item] for item in items])
    match = best_matches(boxes, items, true.boxes_xyxy[own], true.item[own].tolist())
    touches = match.iou > 0
    found, target = boxes[touches], true.boxes_xyxy[own[match.true[touches]]]
    found_wh, target_wh = found[:, 2:] - found[:, :2], target[:, 2:] - target[:, :2]
    ratio = np.log2(found_wh / target_wh)
    return BoxErrors(np.array(items, dtype=np.int64)[touches], ratio.sum(axis=1), ratio[:, 0] - ratio[:, 1])
