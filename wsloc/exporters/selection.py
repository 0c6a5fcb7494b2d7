"""Which boxes of an image are worth exporting, and why the others are not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wsloc.boxes import iou_matrix
from wsloc.exporters.export_settings import SelectionSettings
from wsloc.exporters.review import Review
from wsloc.records import BoxRecord

FALLBACK = "fallback"
BELOW_MIN_AREA = "below `min_area`"
BELOW_MIN_SCORE = "below `min_score`"
DUPLICATE = "duplicate by `nms`"
BEYOND_BOXES_PER_CLASS = "beyond `boxes_per_class`"
OUTSIDE_TOP_FRACTION = "outside `top_fraction`"
REJECTED = "rejected in `review`"
NO_REVIEW = Review()


@dataclass(frozen=True, slots=True)
class ScoredBox:
    """A box that is exported.

    Attributes:
        record: as the run has it.
        score: what the boxes were sorted by, in [0, 1].
        uncertain: whether it marks a region to ignore rather than an object.
        accepted: whether a person found it right, so that no score makes it uncertain.
    """

    record: BoxRecord
    score: float
    uncertain: bool
    accepted: bool = False


@dataclass(frozen=True, slots=True)
class Selected:
    """The boxes of an image, sorted out.

    Attributes:
        kept: in the order of the run.
        left_out: the others, each with its reason.
    """

    kept: tuple[ScoredBox, ...]
    left_out: tuple[tuple[BoxRecord, str], ...]


def select(records: Sequence[BoxRecord], settings: SelectionSettings, review: Review = NO_REVIEW) -> Selected:
    """Sort out the boxes of one image, as far as that can be told without the other images (:class:`TopFraction`).

    In this order: the review, fallbacks, area, score, duplicates, number of boxes of a class. Fallbacks, area and score
    do not count for what a person accepted.

    Args:
        records: all boxes of the image, each inside it.
        settings: which to keep.
        review: marks of a person.
    """
    reasons: dict[int, str] = {}
    for index, record in enumerate(records):
        pair = (record.image_id, record.class_name)
        if pair in review.rejected:
            reasons[index] = REJECTED
        elif pair in review.accepted:
            continue
        elif record.fallback is not None and settings.fallbacks == "drop":
            reasons[index] = FALLBACK
        elif _fraction(record) < settings.min_area:
            reasons[index] = BELOW_MIN_AREA
        elif record.score_by(settings.score) < settings.min_score:
            reasons[index] = BELOW_MIN_SCORE
    for class_name in dict.fromkeys(record.class_name for record in records):
        indices = [i for i, record in enumerate(records) if record.class_name == class_name and i not in reasons]
        if settings.nms is not None:
            reasons |= dict.fromkeys(_duplicates(records, indices, settings, settings.nms), DUPLICATE)
        if settings.boxes_per_class is not None:
            largest_first = sorted((i for i in indices if i not in reasons), key=lambda i: records[i].index)
            reasons |= dict.fromkeys(largest_first[settings.boxes_per_class :], BEYOND_BOXES_PER_CLASS)
    limit = 0.0 if settings.ignore_below is None else settings.ignore_below
    kept = tuple(
        ScoredBox(record, score, score < limit and not accepted, accepted)
        for index, record in enumerate(records)
        if index not in reasons
        for score in [record.score_by(settings.score)]
        for accepted in [(record.image_id, record.class_name) in review.accepted]
    )
    return Selected(kept, tuple((records[index], reason) for index, reason in sorted(reasons.items())))


class TopFraction:
    """The best fraction of the boxes of each class, and those of infinite score; equal ones in the order of the run."""

    def __init__(self, scores: dict[str, Sequence[float]], fraction: float) -> None:
        """Rank.

        Args:
            scores: of all boxes that :func:`select` kept, by class, in the order of the run.
            fraction: of each class that is best, rounded up to whole boxes.
        """
        self._is_best = {name: _best(np.array(values), fraction) for name, values in scores.items()}
        self._next = dict.fromkeys(scores, 0)

    def next_is_best(self, class_name: str) -> bool:
        """Whether the next box of a class is one of the best; to be asked once for each, in the order of the run."""
        index = self._next[class_name]
        self._next[class_name] = index + 1
        return bool(self._is_best[class_name][index])


def _best(scores: np.ndarray, fraction: float) -> np.ndarray:
    count = int(np.ceil(fraction * len(scores) - 1e-9))
    is_best: np.ndarray = np.isinf(scores)
    is_best[np.argsort(-scores, kind="stable")[:count]] = True
    return is_best


def _duplicates(
    records: Sequence[BoxRecord], indices: Sequence[int], settings: SelectionSettings, max_iou: float
) -> list[int]:
    """Greedily: the best box stays, and takes those with it that it overlaps."""
    order = sorted(indices, key=lambda i: -records[i].score_by(settings.score))
    iou = iou_matrix([records[i].box_xyxy for i in order], [records[i].box_xyxy for i in order])
    stays: list[int] = []
    for row in range(len(order)):
        if not (iou[row, stays] > max_iou).any():
            stays.append(row)
    return [i for row, i in enumerate(order) if row not in stays]


def _fraction(record: BoxRecord) -> float:
    (x0, y0, x1, y1), (width, height) = record.box_xyxy, record.size_wh
    return (x1 - x0) * (y1 - y0) / (width * height)
