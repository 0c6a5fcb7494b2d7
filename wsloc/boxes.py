"""Geometry of boxes: float ``xyxy``, half-open, 0-based, in pixels; arrays are ``(N, 4)``.

A half-open box [x0, x1) x [y0, y1) has width ``x1 - x0``; the box of the single pixel (column 3,
row 5) is (3, 5, 4, 6).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Boxes = NDArray[np.float64]
CENTER_SIDE_FRACTION = 0.7
"""Side of the center-box baseline, as a fraction of the image's side."""


def as_boxes(boxes_xyxy: ArrayLike) -> Boxes:
    """Any box or sequence of boxes as float64 ``(N, 4)``.

    Raises:
        ValueError: if the last axis does not have four entries.
    """
    boxes: Boxes = np.asarray(boxes_xyxy, dtype=np.float64)
    if boxes.size == 0:
        return np.zeros((0, 4))
    if boxes.ndim not in (1, 2) or boxes.shape[-1] != 4:
        raise ValueError(f"boxes must have shape (N, 4) or (4,), not {boxes.shape}")
    return boxes.reshape(-1, 4)


def area(boxes_xyxy: ArrayLike) -> NDArray[np.float64]:
    """Areas ``(N,)`` in square pixels; 0 for inverted boxes."""
    boxes = as_boxes(boxes_xyxy)
    sides = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None)
    return np.asarray(sides[:, 0] * sides[:, 1])


def iou_matrix(boxes_a_xyxy: ArrayLike, boxes_b_xyxy: ArrayLike) -> NDArray[np.float64]:
    """Intersection over union of each box of A ``(N, 4)`` with each of B ``(M, 4)``: ``(N, M)`` in [0, 1].

    Two empty boxes have IoU 0.
    """
    a, b = as_boxes(boxes_a_xyxy), as_boxes(boxes_b_xyxy)
    top_left = np.maximum(a[:, None, :2], b[None, :, :2])
    bottom_right = np.minimum(a[:, None, 2:], b[None, :, 2:])
    sides = np.clip(bottom_right - top_left, 0, None)
    intersection = sides[..., 0] * sides[..., 1]
    union = area(a)[:, None] + area(b)[None, :] - intersection
    iou: NDArray[np.float64] = np.divide(intersection, union, out=np.zeros_like(intersection), where=union > 0)
    return iou


def paired_iou(boxes_a_xyxy: ArrayLike, boxes_b_xyxy: ArrayLike) -> NDArray[np.float64]:
    """Intersection over union of each box of A with that of B at the same index, both ``(N, 4)``: ``(N,)`` in [0, 1].

    0 for two empty boxes, and where a box holds NaN.
    """
    a, b = as_boxes(boxes_a_xyxy), as_boxes(boxes_b_xyxy)
    sides = np.clip(np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]), 0, None)
    intersection = sides[:, 0] * sides[:, 1]
    union = area(a) + area(b) - intersection
    iou: NDArray[np.float64] = np.divide(intersection, union, out=np.zeros_like(intersection), where=union > 0)
    return iou


def clip(boxes_xyxy: ArrayLike, size_wh: tuple[int, int]) -> Boxes:
    """Boxes cut off at the border of an image of ``size_wh``."""
    width, height = size_wh
    return np.clip(as_boxes(boxes_xyxy), 0, [width, height, width, height])


def scale(boxes_xyxy: ArrayLike, from_wh: tuple[int, int], to_wh: tuple[int, int]) -> Boxes:
    """Boxes of an image of ``from_wh`` pixels in the frame of the same image at ``to_wh`` pixels."""
    x, y = to_wh[0] / from_wh[0], to_wh[1] / from_wh[1]
    return as_boxes(boxes_xyxy) * [x, y, x, y]


def centered(size_wh: tuple[int, int], side_fraction: float = CENTER_SIDE_FRACTION) -> Boxes:
    """The center-box baseline, ``(1, 4)``: ``side_fraction`` of each side of the image."""
    width, height = size_wh
    x, y = width * (1 - side_fraction) / 2, height * (1 - side_fraction) / 2
    return np.array([[x, y, width - x, height - y]])


def full_image(size_wh: tuple[int, int]) -> Boxes:
    """The full-image baseline, ``(1, 4)``."""
    return np.array([[0.0, 0.0, *size_wh]])


def mask_box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """The tight half-open ``xyxy`` box, in pixels, of a bool ``(H, W)`` mask.

    Raises:
        ValueError: if the mask is empty.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        raise ValueError("an empty mask has no box")
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def from_voc(xmin: float, ymin: float, xmax: float, ymax: float) -> tuple[float, float, float, float]:
    """A VOC box (1-based, inclusive) as half-open, 0-based ``xyxy``."""
    return xmin - 1, ymin - 1, xmax, ymax


def to_voc(box_xyxy: Sequence[float]) -> tuple[int, int, int, int]:
    """A half-open ``xyxy`` box as whole VOC numbers (1-based, inclusive), at least 1 px on each side.

    The reverse of :func:`from_voc` for boxes of whole numbers.
    """
    x0, y0, x1, y1 = (round(value) for value in box_xyxy)
    return x0 + 1, y0 + 1, max(x1, x0 + 1), max(y1, y0 + 1)


def from_xywh(boxes_xywh: ArrayLike) -> Boxes:
    """COCO boxes (corner, width, height) as ``xyxy``."""
    boxes = as_boxes(boxes_xywh)
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def to_xywh(boxes_xyxy: ArrayLike) -> Boxes:
    """``xyxy`` boxes as COCO boxes (corner, width, height)."""
    boxes = as_boxes(boxes_xyxy)
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def apply_exif_orientation(boxes_xyxy: ArrayLike, stored_wh: tuple[int, int], orientation: int) -> Boxes:
    """Boxes in the frame of a stored image, moved with the image when EXIF ``orientation`` is applied.

    Args:
        boxes_xyxy: ``(N, 4)`` in pixels of the image as stored in the file.
        stored_wh: width and height as stored.
        orientation: EXIF tag 274, 1 to 8 (any other value is taken as 1, as viewers do).

    Returns:
        ``(N, 4)`` in pixels of the transposed image.
    """
    boxes = as_boxes(boxes_xyxy)
    width, height = stored_wh
    x0, y0, x1, y1 = boxes.T
    moved = {
        2: (width - x1, y0, width - x0, y1),
        3: (width - x1, height - y1, width - x0, height - y0),
        4: (x0, height - y1, x1, height - y0),
        5: (y0, x0, y1, x1),
        6: (height - y1, x0, height - y0, x1),
        7: (height - y1, width - x1, height - y0, width - x0),
        8: (y0, width - x1, y1, width - x0),
    }.get(orientation, (x0, y0, x1, y1))
    return np.stack(moved, axis=1)
