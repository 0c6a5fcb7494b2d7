"""How well the boxes of thresholded maps fit, at every threshold of a grid; by wsloc's own arithmetic.

Choe et al. 2020 (arXiv 2001.07437), section 3.2, without rounding anything: the map is stretched to [0, 1]; at a
threshold t the pixels of value >= t are the mask, so that t = 0 is the whole image; its connected components
(8 neighbors) give half-open boxes, scaled to pixels of the image. Undecided pixels are in no mask.
:mod:`wsloc.evaluation.wsol` has the arithmetic of the code that the authors published.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from wsloc import boxes
from wsloc.evaluation.items import Items
from wsloc.evaluation.map_source import Map, filled, stretched

THRESHOLDS = np.arange(100) / 100
"""Fractions of the stretched map's range."""


@dataclass(frozen=True, slots=True, eq=False)
class MapCurve:
    """One map's boxes judged against the true boxes of its item.

    Attributes:
        largest: float64 ``(T,)`` in [0, 1]: IoU of the largest component's box with the best true box at each
            threshold; 0 where the mask is empty.
        best: float64 ``(T,)``: likewise, of the component that fits best.
    """

    largest: NDArray[np.float64]
    best: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class BoxCurves:
    """The curves of all items; its length is the number of images.

    Attributes:
        items: N items.
        thresholds: float64 ``(T,)``, ascending, in [0, 1).
        largest: float32 ``(N, T)``, see :class:`MapCurve`; 0 for an item without a map.
        best: float32 ``(N, T)``, likewise.
    """

    items: Items
    thresholds: NDArray[np.float64]
    largest: NDArray[np.float32]
    best: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.items.image_ids)


def curve_of_map(saliency: Map, true_xyxy: NDArray[np.float64], size_wh: tuple[int, int]) -> MapCurve:
    """The curve of one map at ``THRESHOLDS``.

    Args:
        saliency: ``(h, w)``.
        true_xyxy: ``(M, 4)``, M >= 1, half-open, pixels of the image.
        size_wh: of the image.
    """
    reached = np.searchsorted(THRESHOLDS, stretched(filled(saliency)), side="right")
    reached[~np.isfinite(saliency)] = 0
    levels = reached.astype(np.uint8)  # how many thresholds a pixel reaches
    occupied = np.bincount(levels.ravel(), minlength=len(THRESHOLDS) + 1) > 0
    curve = np.zeros((2, len(THRESHOLDS)))
    for index in range(len(THRESHOLDS)):
        if index > 0 and not occupied[index]:  # the same mask as before
            curve[:, index] = curve[:, index - 1]
        elif occupied[index + 1 :].any():
            curve[:, index] = _fit((levels > index).view(np.uint8), true_xyxy, size_wh)
    return MapCurve(curve[0], curve[1])


def _fit(mask: NDArray[np.uint8], true_xyxy: NDArray[np.float64], size_wh: tuple[int, int]) -> tuple[float, float]:
    """IoU of the largest component, of equal ones the upper, then the left one; and of the best."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    left, top, width, height, areas = stats[1:, :5].T
    found = np.stack([left, top, left + width, top + height], axis=1)
    fit = boxes.iou_matrix(boxes.scale(found, (mask.shape[1], mask.shape[0]), size_wh), true_xyxy).max(axis=1)
    largest = np.flatnonzero(areas == areas.max())
    first = largest[np.lexsort((left[largest], top[largest]))[0]]
    return float(fit[first]), float(fit.max())
