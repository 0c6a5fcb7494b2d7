"""The pointing game: does the map's highest point lie on an object of the class?

Zhang et al. 2016 (arXiv 1608.00507), section 4.1: a hit within 15 pixels counts; the mean over classes.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from wsloc.evaluation.corloc import mean_over_classes
from wsloc.evaluation.judging import Items
from wsloc.records import GroundTruth

TOLERANCE = 15.0
"""Pixels of the original image."""


def judge_points(
    items: Items, truth: Mapping[str, GroundTruth], points_xy: Mapping[tuple[str, str], tuple[float, float]]
) -> NDArray[np.float64]:
    """Which items are hit.

    Args:
        items: the (image, class) pairs.
        truth: by image id.
        points_xy: by image id and class name, in pixels of the original image; an item without a point is missed.

    Returns:
        ``(N, K)``: 1 where a point lies in a box of its class, difficult ones included, or within 15 px of one; 0 where
        not; NaN where there is no item.
    """
    hits = np.full(items.present.shape, np.nan)
    for n, k in zip(*np.nonzero(items.present), strict=True):
        image = truth[items.image_ids[n]]
        own = image.boxes_xyxy[[name == items.class_names[k] for name in image.class_names]]
        point = points_xy.get((image.image_id, items.class_names[k]))
        hits[n, k] = point is not None and bool((_distance(point, own) <= TOLERANCE).any())
    return hits


def pointing_game(weights: NDArray[np.float64], hits: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean over classes of the share of items that are hit, under weights of the images."""
    return mean_over_classes(weights, hits)


def _distance(point_xy: tuple[float, float], boxes_xyxy: NDArray[np.float64]) -> NDArray[np.float64]:
    """From a point to the nearest point of each box, 0 inside."""
    point = np.asarray(point_xy)
    outside = np.maximum(np.maximum(boxes_xyxy[:, :2] - point, point - boxes_xyxy[:, 2:]), 0)
    return np.asarray(np.hypot(outside[:, 0], outside[:, 1]))
