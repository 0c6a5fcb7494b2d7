"""What a score says about a box: precision of the boxes that are kept when the least certain ones are dropped.

Boxes are sorted by a score, the most certain first. The curve is the fraction of right boxes (IoU > 0.5 with a true box
of their class, difficult ones included), or their mean IoU, among the first k of N. Its *area* is the mean over
k = 1 ... N; with right and wrong boxes it is one minus the area under the risk-coverage curve (Geifman and El-Yaniv
2017, arXiv 1705.08500; Geifman, Uziel and El-Yaniv 2019, arXiv 1805.08206). A random order has the precision of all
boxes as its area, so the *gain* of a score is its area minus that precision.

Boxes of equal score are one step: each counts as their mean, which is what a random order among them gives on
average. No order of the input changes a figure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsloc.evaluation.corloc import IOU_THRESHOLD
from wsloc.evaluation.pairing import best_matches, boxes_of, objects_of
from wsloc.records import Box, GroundTruth


@dataclass(frozen=True, slots=True, eq=False)
class JudgedBoxes:
    """Boxes judged against ground truth.

    Attributes:
        localizations: N boxes, all components of an item among them.
        iou: float64 ``(N,)``, with the best true box of the class; 0 where the image shows none.
        image_index: int64 ``(N,)``, from 0.
        images: how many images they are on.
    """

    localizations: tuple[Box, ...]
    iou: NDArray[np.float64]
    image_index: NDArray[np.int64]
    images: int

    @property
    def right(self) -> NDArray[np.float64]:
        """1 where a box has IoU > 0.5, else 0, ``(N,)``."""
        return (self.iou > IOU_THRESHOLD).astype(np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """Values of boxes in the order of a score; its length is the number of images.

    Attributes:
        images: how many images the boxes are on.
        image_index: int64 ``(N,)``: image of each box, the most certain box first.
        values: float64 ``(N,)``: what is averaged, right or wrong or an IoU.
        starts: int64 ``(S,)``: where each step of equal scores begins.
    """

    images: int
    image_index: NDArray[np.int64]
    values: NDArray[np.float64]
    starts: NDArray[np.int64]

    def __len__(self) -> int:
        return self.images


@dataclass(frozen=True, slots=True, eq=False)
class KeptCurve:
    """Precision against the fraction of boxes kept, at the end of each of S steps.

    Attributes:
        fraction: float64 ``(S,)``, in (0, 1], ascending to 1.
        precision: float64 ``(S,)``: mean value of the boxes kept; the last is that of all.
        best: float64 ``(N,)``: the precision that the best possible order has with 1, 2, ... N boxes kept.
    """

    fraction: NDArray[np.float64]
    precision: NDArray[np.float64]
    best: NDArray[np.float64]


def judge_boxes(
    truth: Mapping[str, GroundTruth], localizations: Iterable[Box], class_names: Sequence[str] | None = None
) -> JudgedBoxes | None:
    """Every box on its own, also one of a class that its image does not show, which is wrong.

    Args:
        truth: the true boxes of some images, by image id.
        localizations: boxes on other images are left out.
        class_names: only these classes; None for all.

    Returns:
        None if there is no box.
    """
    wanted = None if class_names is None else frozenset(class_names)
    found = tuple(
        record
        for record in localizations
        if record.image_id in truth and (wanted is None or record.class_name in wanted)
    )
    if not found:
        return None
    objects = objects_of(truth, class_names)
    keys = [(record.image_id, record.class_name) for record in found]
    index_of: dict[str, int] = {}
    image_index = [index_of.setdefault(record.image_id, len(index_of)) for record in found]
    match = best_matches(boxes_of(found), keys, objects.boxes_xyxy, objects.keys)
    return JudgedBoxes(found, match.iou, np.array(image_index, dtype=np.int64), len(index_of))


def rank(judged: JudgedBoxes, scores: NDArray[np.float64], values: NDArray[np.float64]) -> Ranking:
    """Sort boxes by a score.

    Args:
        judged: N boxes.
        scores: float64 ``(N,)``, the greater the more certain; NaN comes last.
        values: float64 ``(N,)``, such as ``judged.right`` or ``judged.iou``.
    """
    levels, step = np.unique(-scores, return_inverse=True)
    order = np.argsort(step, kind="stable")
    starts = np.searchsorted(step[order], np.arange(len(levels)))
    return Ranking(judged.images, judged.image_index[order], values[order], starts.astype(np.int64))


def kept_curve(judged: JudgedBoxes, scores: NDArray[np.float64], values: NDArray[np.float64]) -> KeptCurve:
    """The curve of a score; arguments as of :func:`rank`."""
    count, total = _steps(np.ones((1, judged.images)), rank(judged, scores, values))
    kept = np.cumsum(count[0])
    best = rank(judged, values, values).values
    return KeptCurve(kept / kept[-1], np.cumsum(total[0]) / kept, np.cumsum(best) / np.arange(1, len(best) + 1))


def overall(weights: NDArray[np.float64], ranking: Ranking) -> NDArray[np.float64]:
    """Mean value of all boxes under whole-numbered weights of the images ``(B, I)``: ``(B,)``."""
    drawn = weights[:, ranking.image_index]
    return np.asarray(drawn @ ranking.values / drawn.sum(axis=1))


def area(weights: NDArray[np.float64], ranking: Ranking) -> NDArray[np.float64]:
    """Mean precision over the fraction kept, under whole-numbered weights of the images ``(B, I)``: ``(B,)``.

    A box of weight w counts as w boxes of one score.
    """
    count, total = _steps(weights, ranking)
    end, reached = np.cumsum(count, axis=1), np.cumsum(total, axis=1)
    begin = end - count
    mean = np.divide(total, count, out=np.zeros_like(total), where=count > 0)
    # With k boxes kept, begin < k <= end, precision is (reached before + (k - begin) * mean) / k.
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, end[:, -1].max() + 1))])
    of_step = harmonic[end.astype(np.int64)] - harmonic[begin.astype(np.int64)]
    areas = (mean * count + (reached - total - begin * mean) * of_step).sum(axis=1)
    return np.asarray(areas / end[:, -1])


def gain(weights: NDArray[np.float64], ranking: Ranking) -> NDArray[np.float64]:
    """Area minus that of a random order, under whole-numbered weights of the images ``(B, I)``: ``(B,)``."""
    return area(weights, ranking) - overall(weights, ranking)


def half_difference(weights: NDArray[np.float64], ranking: Ranking) -> NDArray[np.float64]:
    """Mean value of the more certain half minus that of the other, under weights of the images ``(B, I)``: ``(B,)``.

    A step that lies across the middle goes to both halves in proportion.
    """
    count, total = _steps(weights, ranking)
    end = np.cumsum(count, axis=1)
    half = end[:, -1:] / 2
    into_first = np.clip(half - (end - count), 0, count)
    fraction = np.divide(into_first, count, out=np.zeros_like(count), where=count > 0)
    first = (fraction * total).sum(axis=1)
    return np.asarray((2 * first - total.sum(axis=1)) / half[:, 0])


def _steps(weights: NDArray[np.float64], ranking: Ranking) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Boxes in each step, and the sum of their values, both ``(B, S)``."""
    drawn = weights[:, ranking.image_index]
    count = np.add.reduceat(drawn, ranking.starts, axis=1)
    return count, np.add.reduceat(drawn * ranking.values, ranking.starts, axis=1)
