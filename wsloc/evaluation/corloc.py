"""CorLoc, in the two forms of the literature that do not agree, with bootstrap intervals.

- *Class-wise* (Deselaers et al. 2010; the papers on weakly supervised detection): the share of a class's images whose
  box has IoU > 0.5 with a box of the class, difficult ones included; then the mean over classes.
- *Image-wise* (LOST, TokenCut): the share of images whose one box has IoU >= 0.5 with a box of any class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsloc.evaluation.judging import Judged

IOU_THRESHOLD = 0.5
RESAMPLES = 1000
_CONFIDENCE = 0.95
_CHUNK = 100
"""Resamples that are weighed at once, which bounds the memory."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure in [0, 1] (a difference: [-1, 1]) and its 95 % percentile bootstrap interval over images."""

    value: float
    low: float
    high: float


Statistic = Callable[[NDArray[np.float64], Judged], NDArray[np.float64]]
"""From weights of the images ``(B, N)`` to B values."""


def class_hits(judged: Judged) -> NDArray[np.float64]:
    """``(N, K)``: 1 where an item is found, 0 where not, NaN where there is no item."""
    return np.asarray(np.where(np.isnan(judged.iou), np.nan, judged.iou > IOU_THRESHOLD))


def per_class_corloc(judged: Judged) -> NDArray[np.float64]:
    """CorLoc of each class ``(K,)`` in [0, 1]."""
    return np.asarray(_weighted_by_class(np.ones((1, len(judged.iou))), class_hits(judged))[0])


def class_wise(weights: NDArray[np.float64], judged: Judged) -> NDArray[np.float64]:
    """Class-wise CorLoc under weights of the images; a class that a resample lacks is left out of its mean."""
    return _mean_over_classes(_weighted_by_class(weights, class_hits(judged)))


def image_wise(weights: NDArray[np.float64], judged: Judged) -> NDArray[np.float64]:
    """Image-wise CorLoc under weights of the images."""
    hits = (judged.image_iou >= IOU_THRESHOLD).astype(np.float64)
    return np.asarray(weights @ hits / weights.sum(axis=1))


def mean_iou(weights: NDArray[np.float64], judged: Judged) -> NDArray[np.float64]:
    """Mean IoU over items under weights of the images."""
    present = ~np.isnan(judged.iou)
    total = weights @ np.where(present, judged.iou, 0).sum(axis=1)
    return np.asarray(total / (weights @ present.sum(axis=1)))


def estimate(statistic: Statistic, judged: Judged, other: Judged | None = None, seed: int = 0) -> Estimate:
    """A statistic with its interval; with ``other`` the difference to it, paired by image.

    Args:
        statistic: of the three above.
        judged: at least one image.
        other: on the same items.
        seed: of the resampling; the same seed draws the same images for the same number of images.
    """

    def value(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        own = statistic(weights, judged)
        return own if other is None else own - statistic(weights, other)

    count = len(judged.image_iou)
    point = float(value(np.ones((1, count)))[0])
    generator = np.random.default_rng(seed)
    drawn = np.concatenate(
        [
            value(generator.multinomial(count, np.full(count, 1 / count), size=_CHUNK).astype(np.float64))
            for _ in range(RESAMPLES // _CHUNK)
        ]
    )
    low, high = np.quantile(drawn, [(1 - _CONFIDENCE) / 2, (1 + _CONFIDENCE) / 2])
    return Estimate(point, float(low), float(high))


def _weighted_by_class(weights: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    present = ~np.isnan(values)
    total, count = weights @ np.where(present, values, 0), weights @ present
    means: NDArray[np.float64] = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return means


def _mean_over_classes(by_class: NDArray[np.float64]) -> NDArray[np.float64]:
    known = ~np.isnan(by_class)
    return np.asarray(np.where(known, by_class, 0).sum(axis=1) / known.sum(axis=1))
