"""Metrics of boxes: CorLoc in the two forms of the literature that do not agree, Loc of ILSVRC, and mean IoU.

- *CorLoc class-wise* (Deselaers et al. 2010; the papers on weakly supervised detection): the fraction of a class's
  images whose box has IoU > 0.5 with a box of the class, difficult ones included; then the mean over classes.
- *CorLoc image-wise* (LOST, TokenCut): the fraction of images whose one box has IoU >= 0.5 with a box of any class.
- *GT-known Loc* (Zhou et al. 2016 and after): the fraction of items whose box has IoU >= 0.5, the class being given.
- *Top-k Loc* (ILSVRC; one minus its localization error): the fraction of images for which, among the classifier's k
  best classes, there is a right one whose box has IoU >= 0.5 with a box of it.

Recall and precision of all boxes are in :mod:`wsloc.evaluation.recall`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from wsloc.evaluation.bootstrap import Statistic
from wsloc.evaluation.items import ItemValues, class_means, mean_over_classes, mean_over_items
from wsloc.evaluation.judging import Judged
from wsloc.evaluation.recall import precision, recall

IOU_THRESHOLD = 0.5


def per_class_corloc(judged: Judged) -> NDArray[np.float64]:
    """CorLoc of each class ``(K,)`` in [0, 1]."""
    return np.asarray(class_means(np.ones((1, len(judged))), judged.items, _above(judged, IOU_THRESHOLD))[0])


def class_wise(
    weights: NDArray[np.float64], judged: Judged, iou_threshold: float = IOU_THRESHOLD
) -> NDArray[np.float64]:
    """Class-wise CorLoc under weights of the images; a class that a resample lacks is left out of its mean."""
    return mean_over_classes(weights, ItemValues(judged.items, _above(judged, iou_threshold)))


def image_wise(weights: NDArray[np.float64], judged: Judged) -> NDArray[np.float64]:
    """Image-wise CorLoc under weights of the images."""
    return _mean_over_images(weights, judged.image_iou >= IOU_THRESHOLD)


def mean_iou(weights: NDArray[np.float64], judged: Judged) -> NDArray[np.float64]:
    """Mean IoU over items under weights of the images."""
    return mean_over_items(weights, ItemValues(judged.items, judged.iou))


def gt_known(weights: NDArray[np.float64], judged: Judged) -> NDArray[np.float64]:
    """GT-known Loc under weights of the images."""
    found = (judged.iou >= IOU_THRESHOLD).astype(np.float64)
    return mean_over_items(weights, ItemValues(judged.items, found))


def top_k(k: int, weights: NDArray[np.float64], judged: Judged) -> NDArray[np.float64]:
    """Top-k Loc under weights of the images; NaN where the classifier ranked nothing."""
    if judged.rank is None:
        return np.full(len(weights), np.nan)
    hit = np.zeros(len(judged), dtype=bool)
    np.logical_or.at(hit, judged.items.image_index, (judged.rank <= k) & (judged.iou >= IOU_THRESHOLD))
    return _mean_over_images(weights, hit)


def _above(judged: Judged, iou_threshold: float) -> NDArray[np.float64]:
    return (judged.iou > iou_threshold).astype(np.float64)


def _mean_over_images(weights: NDArray[np.float64], hit: NDArray[np.bool_]) -> NDArray[np.float64]:
    return np.asarray(weights @ hit / weights.sum(axis=1))


METRICS: dict[str, Statistic[Judged]] = {
    "CorLoc class-wise": class_wise,
    "CorLoc image-wise": image_wise,
    "mean IoU": mean_iou,
    "CorLoc at IoU 0.3": partial(class_wise, iou_threshold=0.3),
    "CorLoc at IoU 0.7": partial(class_wise, iou_threshold=0.7),
    "GT-known Loc": gt_known,
    "Top-1 Loc": partial(top_k, 1),
    "Top-5 Loc": partial(top_k, 5),
    "box recall class-wise": recall,
    "box precision class-wise": precision,
    "box recall pooled": partial(recall, pooled=True),
    "box precision pooled": partial(precision, pooled=True),
}
"""The metrics of a run's summary, by name; those at IoU 0.3 and 0.7 are class-wise, as CorLoc class-wise is at 0.5."""


def defined_metrics(runs: Iterable[Judged]) -> dict[str, Statistic[Judged]]:
    """The metrics that are defined on all of some judged runs: Top-k Loc needs ranks, recall and precision counts."""
    runs = tuple(runs)
    return {
        name: metric
        for name, metric in METRICS.items()
        if not any(np.isnan(metric(np.ones((1, len(judged))), judged)[0]) for judged in runs)
    }
