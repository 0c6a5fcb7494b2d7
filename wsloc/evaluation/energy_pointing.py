"""The energy-based pointing game: the fraction of a map that lies inside the true boxes.

Wang et al. 2020 (Score-CAM, arXiv 1910.01279), section 4.3: the sum of the map inside the box over its whole sum.
With several boxes of the class, it is the fraction inside their union.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wsloc import boxes
from wsloc.evaluation.map_source import Map


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
