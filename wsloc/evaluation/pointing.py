"""The two pointing games: is the map's highest point on an object of the class, and how much of the map is inside?

- *Pointing game* (Zhang et al. 2016, arXiv 1608.00507, section 4.1): a hit within 15 pixels counts; the mean over
  classes.
- *Energy-based* (Wang et al. 2020, Score-CAM, arXiv 1910.01279, section 4.3): the sum of the map inside the box over
  its whole sum; with several boxes of the class, inside their union.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from wsloc import boxes
from wsloc.evaluation.items import ItemValues
from wsloc.evaluation.judging import TrueBoxes
from wsloc.evaluation.map_source import Map, filled
from wsloc.flatness import is_flat
from wsloc.records import Pair

TOLERANCE = 15.0
"""Pixels of the original image."""


def judge_points(true: TrueBoxes, points_xy: Mapping[Pair, tuple[float, float]]) -> ItemValues:
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
    if is_flat(values):
        return None
    height, width = values.shape
    row, column = divmod(int(np.argmax(values)), width)
    return (column + 0.5) * size_wh[0] / width, (row + 0.5) * size_wh[1] / height


def energy_inside(saliency: Map, true_xyxy: NDArray[np.float64], size_wh: tuple[int, int]) -> float:
    """The fraction of one map inside the union of some boxes, in [0, 1]; 0 for a map without a positive value.

    A pixel of the map spreads evenly over its rectangle of the image, so no resolution is rounded to. Values below 0
    and undecided ones count as 0. Unlike an order of pixels, the fraction depends on where a map's 0 is.

    Args:
        saliency: ``(h, w)``.
        true_xyxy: ``(M, 4)``, M >= 1, half-open, pixels of the image.
        size_wh: of the image.
    """
    energy = np.where(np.isfinite(saliency) & (saliency > 0), saliency, 0).astype(np.float64)
    whole = energy.sum()
    if whole <= 0:
        return 0.0
    height, width = energy.shape
    on_map = boxes.scale(true_xyxy, size_wh, (width, height))
    x_edges, x_cells = _cut(width, on_map[:, 0::2])
    y_edges, y_cells = _cut(height, on_map[:, 1::2])
    inside = np.zeros((len(y_cells), len(x_cells)), dtype=bool)
    for x0, y0, x1, y1 in on_map:
        columns = slice(*np.searchsorted(x_edges, [x0, x1]))
        rows = slice(*np.searchsorted(y_edges, [y0, y1]))
        inside[rows, columns] = True
    areas = np.diff(y_edges)[:, None] * np.diff(x_edges)[None, :]
    # Sums in another order may exceed the whole by a rounding.
    return min(1.0, float((energy[np.ix_(y_cells, x_cells)] * areas)[inside].sum() / whole))


def _cut(length: int, ends: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The pixels of one axis, cut further at the ends of boxes: the edges ``(C + 1,)``, and the pixel of each piece."""
    within = ends[(ends > 0) & (ends < length)]
    edges = np.unique(np.concatenate([np.arange(length + 1), within]))
    return edges, np.floor(edges[:-1]).astype(np.int64)
