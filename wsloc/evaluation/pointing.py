"""The pointing game: does the map's highest point lie on an object of the class?

Zhang et al. 2016 (arXiv 1608.00507), section 4.1: a hit within 15 pixels counts; the mean over classes.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from wsloc.evaluation.items import ItemValues
from wsloc.evaluation.judging import TrueBoxes
from wsloc.evaluation.map_source import Map, filled

TOLERANCE = 15.0
"""Pixels of the original image."""


def judge_points(true: TrueBoxes, points_xy: Mapping[tuple[str, str], tuple[float, float]]) -> ItemValues:
    """Which items are hit; :func:`~wsloc.evaluation.items.mean_over_classes` of it is the pointing game.

    Args:
        true: what is judged.
        points_xy: by image id and class name, in pixels of the original image; an item without a point is missed.

    Returns:
        1 where a point lies in a box of its class, difficult ones included, or within 15 px of one; 0 where not.
    """
    point = np.array([points_xy.get(pair, (np.nan, np.nan)) for pair in true.items.pairs()]).reshape(-1, 2)
    own = true.item >= 0
    of_box, box = point[true.item[own]], true.boxes_xyxy[own]
    # From the point to the nearest point of the box, 0 inside.
    outside = np.maximum(np.maximum(box[:, :2] - of_box, of_box - box[:, 2:]), 0)
    hit = np.zeros(len(true.items))
    np.maximum.at(hit, true.item[own], np.hypot(outside[:, 0], outside[:, 1]) <= TOLERANCE)
    return ItemValues(true.items, hit)


def highest_point(saliency: Map, size_wh: tuple[int, int]) -> tuple[float, float] | None:
    """The center of the map's highest pixel, x and y in pixels of the image; of equal ones the first in reading order.

    Args:
        saliency: ``(h, w)``.
        size_wh: of the image.

    Returns:
        None for a flat map, which points nowhere.
    """
    values = filled(saliency)
    if values.min() == values.max():
        return None
    height, width = values.shape
    row, column = divmod(int(np.argmax(values)), width)
    return (column + 0.5) * size_wh[0] / width, (row + 0.5) * size_wh[1] / height
