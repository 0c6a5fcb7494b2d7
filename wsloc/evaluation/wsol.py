"""The arithmetic of the code that Choe et al. 2020 published with "Evaluating WSOL Methods Right", to the digit.

github.com/clovaai/wsolevaluation: inference.py and evaluation.py. What differs from wsloc's own arithmetic
(:mod:`wsloc.evaluation.box_curves`):

- Maps have 224 x 224 pixels (others: cubic interpolation), are stretched to [0, 1] and cut down to whole 255ths.
- The mask is what lies strictly above ``int(t * maximum)``, for t = 0, 0.001 ... 0.999; a mask without pixels gives
  the box (0, 0, 0, 0).
- Boxes are those of contours, those around holes included; the largest is the one whose polygon through the pixel
  centers has most area. The right and lower corner is the first pixel past the contour, or the last of the map.
- True boxes are whole pixels whose two corners belong to them, brought to 224 x 224 and cut down to whole numbers.
  Areas count both corners. So a box that fits exactly reaches less than IoU 1, unless it ends at the border.

The published code takes its true boxes from text tables; ground truth read from these gives the same whole numbers
back. Other half-open boxes are taken to hold every pixel that they touch. The published code also makes a map
with NaN all 0; here undecided pixels get the minimum of the others, so that only a map without any decided pixel is.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from wsloc.evaluation.box_curves import MapCurve
from wsloc.evaluation.map_source import Map, filled, stretched

SIDE = 224
"""Pixels of a map along each side."""
THRESHOLDS = np.arange(0, 1, 0.001)


def score_map(saliency: Map) -> NDArray[np.float64]:
    """A map as the published code judges it: ``(224, 224)`` in [0, 1]; all 0 where it is flat."""
    values = filled(saliency)
    if values.shape != (SIDE, SIDE):
        values = cv2.resize(values, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC).astype(np.float64)
    return stretched(values)


def curve_of_map(saliency: Map, true_xyxy: NDArray[np.float64], size_wh: tuple[int, int]) -> MapCurve:
    """The curve of one map at ``THRESHOLDS``: MaxBoxAcc takes the largest contour, MaxBoxAccV2 the best.

    Args:
        saliency: ``(h, w)``.
        true_xyxy: ``(M, 4)``, M >= 1, half-open, pixels of the image.
        size_wh: of the image.
    """
    scores = (score_map(saliency) * 255).astype(np.uint8)
    true = resized_boxes(true_xyxy, size_wh)
    thresholds = (THRESHOLDS * float(scores.max())).astype(np.int64)
    # Rounding leaves at most 256 different ones, and those between two values of the map give one mask.
    below = np.cumsum(np.bincount(scores.ravel(), minlength=256))[thresholds]
    _, first, inverse = np.unique(below, return_index=True, return_inverse=True)
    curve = np.zeros((2, len(first)))
    for index, threshold in enumerate(thresholds[first]):
        found, areas = contour_boxes((scores > threshold).view(np.uint8))
        fit = inclusive_iou(found, true).max(axis=1)
        curve[:, index] = fit[areas.argmax()], fit.max()
    largest, best = curve[:, inverse]
    return MapCurve(largest, best)


def resized_boxes(boxes_xyxy: NDArray[np.float64], size_wh: tuple[int, int]) -> NDArray[np.int64]:
    """Half-open boxes of an image as whole pixels of 224 x 224, both corners inside: ``(M, 4)``."""
    corners = np.concatenate([np.floor(boxes_xyxy[:, :2]), np.ceil(boxes_xyxy[:, 2:]) - 1], axis=1)
    width, height = size_wh
    return np.trunc(corners * float(SIDE) / [width, height, width, height]).astype(np.int64)


def contour_boxes(mask: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The boxes of a mask's contours, in OpenCV's order, and the areas of the polygons.

    Args:
        mask: ``(H, W)``, not 0 inside.

    Returns:
        ``(P, 4)`` and ``(P,)``, P >= 1.
    """
    # The order of the contours decides between equal areas, and depends on the mode.
    contours, _ = cv2.findContours(mask, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    if not contours:
        return np.zeros((1, 4), dtype=np.int64), np.zeros(1)
    points = np.concatenate(contours)[:, 0].astype(np.int64)
    lengths = np.array([len(contour) for contour in contours])
    starts = np.cumsum(lengths) - lengths
    height, width = mask.shape
    past = np.minimum(np.maximum.reduceat(points, starts) + 1, [width - 1, height - 1])
    previous = np.roll(points, 1, axis=0)
    previous[starts] = points[starts + lengths - 1]
    crossed = np.add.reduceat(previous[:, 0] * points[:, 1] - previous[:, 1] * points[:, 0], starts)
    return np.concatenate([np.minimum.reduceat(points, starts), past], axis=1), np.abs(crossed) / 2


def inclusive_iou(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.float64]:
    """IoU of boxes of whole pixels with both corners inside, ``(P, 4)`` and ``(M, 4)``: ``(P, M)``."""
    sides = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2]) + 1
    shared = np.maximum(sides, 0).prod(axis=2)
    area_a, area_b = ((box[:, 2:] - box[:, :2] + 1).prod(axis=1) for box in (a, b))
    iou: NDArray[np.float64] = shared / (area_a[:, None] + area_b[None, :] - shared)
    return iou
