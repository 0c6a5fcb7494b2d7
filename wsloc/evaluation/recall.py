"""Recall and precision of all boxes of a class in an image that is labeled with it.

All boxes of an item are matched one to one with all true boxes of its class, the best quality first
(:mod:`wsloc.evaluation.matching`). Recall is hits over true boxes that are not difficult, precision is hits over boxes
that count. *Class-wise* is the mean over classes, *pooled* is over all items at once. A class without a box that
counts has no precision and is left out of the mean.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wsloc.evaluation.items import Items, class_ratios, mean_of_known, ratio_over_items
from wsloc.evaluation.judging import Judged


def recall(weights: NDArray[np.float64], judged: Judged, *, pooled: bool = False) -> NDArray[np.float64]:
    """Recall under weights of the images; NaN where boxes are not counted."""
    if judged.counts is None:
        return np.full(len(weights), np.nan)
    return _ratio(weights, judged.items, judged.counts.hits, judged.counts.objects, pooled)


def precision(weights: NDArray[np.float64], judged: Judged, *, pooled: bool = False) -> NDArray[np.float64]:
    """Precision under weights of the images; NaN where boxes are not counted, or there is none."""
    if judged.counts is None:
        return np.full(len(weights), np.nan)
    return _ratio(weights, judged.items, judged.counts.hits, judged.counts.boxes, pooled)


def _ratio(
    weights: NDArray[np.float64], items: Items, hits: NDArray[np.float64], wholes: NDArray[np.float64], pooled: bool
) -> NDArray[np.float64]:
    if pooled:
        return ratio_over_items(weights, items, hits, wholes)
    return mean_of_known(class_ratios(weights, items, hits, wholes))
