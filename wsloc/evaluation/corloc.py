"""CorLoc, in the two forms of the literature that do not agree, and mean IoU.

- *Class-wise* (Deselaers et al. 2010; the papers on weakly supervised detection): the share of a class's images whose
  box has IoU > 0.5 with a box of the class, difficult ones included; then the mean over classes.
- *Image-wise* (LOST, TokenCut): the share of images whose one box has IoU >= 0.5 with a box of any class.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wsloc.evaluation.bootstrap import Statistic
from wsloc.evaluation.judging import Judged

IOU_THRESHOLD = 0.5


def class_hits(judged: Judged) -> NDArray[np.float64]:
    """``(N, K)``: 1 where an item is found, 0 where not, NaN where there is no item."""
    return np.asarray(np.where(np.isnan(judged.iou), np.nan, judged.iou > IOU_THRESHOLD))


def per_class_corloc(judged: Judged) -> NDArray[np.float64]:
    """CorLoc of each class ``(K,)`` in [0, 1]."""
    return np.asarray(_weighted_by_class(np.ones((1, len(judged.iou))), class_hits(judged))[0])


def class_wise(weights: NDArray[np.float64], judged: Judged) -> NDArray[np.float64]:
    """Class-wise CorLoc under weights of the images; a class that a resample lacks is left out of its mean."""
    return mean_over_classes(weights, class_hits(judged))


def image_wise(weights: NDArray[np.float64], judged: Judged) -> NDArray[np.float64]:
    """Image-wise CorLoc under weights of the images."""
    hits = (judged.image_iou >= IOU_THRESHOLD).astype(np.float64)
    return np.asarray(weights @ hits / weights.sum(axis=1))


def mean_iou(weights: NDArray[np.float64], judged: Judged) -> NDArray[np.float64]:
    """Mean IoU over items under weights of the images."""
    present = ~np.isnan(judged.iou)
    total = weights @ np.where(present, judged.iou, 0).sum(axis=1)
    return np.asarray(total / (weights @ present.sum(axis=1)))


def _weighted_by_class(weights: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    present = ~np.isnan(values)
    total, count = weights @ np.where(present, values, 0), weights @ present
    means: NDArray[np.float64] = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return means


def mean_over_classes(weights: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over classes of the weighted means of values ``(N, K)``, NaN where there is no item."""
    by_class = _weighted_by_class(weights, values)
    known = ~np.isnan(by_class)
    return np.asarray(np.where(known, by_class, 0).sum(axis=1) / known.sum(axis=1))


METRICS: dict[str, Statistic[Judged]] = {
    "CorLoc class-wise": class_wise,
    "CorLoc image-wise": image_wise,
    "mean IoU": mean_iou,
}
"""The metrics of a run's summary, by name."""
