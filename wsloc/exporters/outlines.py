"""From a mask at working resolution to an outline in pixels of the image."""

from __future__ import annotations

import itertools
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from wsloc import run_lengths
from wsloc.errors import ItemError
from wsloc.records import BoxRecord

TOLERANCE = 0.75
"""By how many pixels of the mask a polygon may leave its border: enough to take the steps out of an oblique edge."""
_MAX_AREA_CHANGE = 0.05
Ring = NDArray[np.int32]
"""Corners of pixels in order, ``(N, 2)`` as x and y."""


def mask_of(record: BoxRecord) -> NDArray[np.bool_] | None:
    """The mask of a box, bool ``(h, w)`` over the whole image; None if it has none, or one that is damaged."""
    try:
        mask = None if record.mask_rle is None else run_lengths.decode(record.mask_rle)
    except ItemError:
        return None
    return mask if mask is not None and mask.any() else None


def polygons_of(mask: NDArray[np.bool_], size_wh: tuple[int, int], tolerance: float = TOLERANCE) -> str:
    """Polygons around the pixels of a mask, as COCO has them: (0, 0) is the corner of the first pixel.

    They reach exactly as far as the mask. A hole is joined to the ring around it by a line there and back, for COCO has
    no other hole in a polygon.

    Args:
        mask: bool ``(h, w)``, not empty, over the whole image.
        size_wh: of the image.
        tolerance: by how many pixels of the mask the border may be simplified; 0 for not at all.

    Returns:
        JSON: lists of x and y in turn, pixels of the image, to 0.01.
    """
    height, width = mask.shape
    texts, first_of_xy = _texts((width, height), size_wh), np.array([0, width + 1])
    rings = [texts[(ring + first_of_xy).ravel()].tolist() for ring in _rings(mask, tolerance)]
    return "[" + ", ".join(f"[{', '.join(ring)}]" for ring in rings) + "]"


def area_of(mask: NDArray[np.bool_], size_wh: tuple[int, int]) -> float:
    """Area of a mask over the whole image in square pixels of the image."""
    return float(np.count_nonzero(mask)) * size_wh[0] * size_wh[1] / mask.size


def run_lengths_of(mask: NDArray[np.bool_], size_wh: tuple[int, int]) -> dict[str, Any]:
    """The mask brought to the size of the image by the nearest pixel, as COCO's compressed run lengths."""
    return run_lengths.encode(full_size(mask, size_wh))


def full_size(mask: NDArray[np.bool_], size_wh: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask brought to the size of the image by the nearest pixel: bool ``(H, W)``."""
    return cv2.resize(mask.view(np.uint8), size_wh, interpolation=cv2.INTER_NEAREST).astype(bool)


@lru_cache(maxsize=256)
def _texts(mask_wh: tuple[int, int], size_wh: tuple[int, int]) -> NDArray[np.object_]:
    """JSON of all x that an edge of a mask's pixel can have, then of all y, in pixels of the image.

    Corners lie nowhere else, and to write a number takes longer than all else that is done with it.
    """
    edges = [np.round(np.arange(cells + 1) * (side / cells), 2) for cells, side in zip(mask_wh, size_wh, strict=True)]
    return np.array([repr(edge) for edge in np.concatenate(edges).tolist()], dtype=object)


def _rings(mask: NDArray[np.bool_], tolerance: float) -> list[Ring]:
    """One ring for each outer border of the mask, its holes joined to it."""
    # Run lengths go down the columns, so that the mask lies in memory as its transpose.
    columns = mask.T.view(np.uint8)
    top, left, height, width = cv2.boundingRect(columns)
    inside = cv2.transpose(columns[left : left + width, top : top + height])
    doubled = cv2.resize(inside, (2 * width, 2 * height), interpolation=cv2.INTER_NEAREST)
    # OpenCV's contours run through centers of pixels. In the doubled mask the first half of a pixel lies beside its
    # near edge and the second half beside its far one, so that halving, rounded up, gives the edges themselves.
    contours, hierarchy = cv2.findContours(
        doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE, offset=(2 * left + 1, 2 * top + 1)
    )
    borders = [_simplified(_corners(contour), tolerance) for contour in contours]
    parents = hierarchy[0, :, 3].tolist()
    return [
        _joined(border, [borders[k] for k, of in enumerate(parents) if of == index])
        for index, border in enumerate(borders)
        if parents[index] < 0
    ]


def _corners(contour: NDArray[Any]) -> Ring:
    """The contour of a doubled mask, moved by one, in pixels of the mask itself, with no corner twice in a row."""
    ring: Ring = (contour >> 1)[:, 0]
    # x and y as one number.
    corners = ring.view(np.int64)[:, 0]
    moves: NDArray[np.bool_] = corners != np.concatenate([corners[-1:], corners[:-1]])
    return ring[moves]


def _simplified(ring: Ring, tolerance: float) -> Ring:
    """Fewer corners; the outermost on each side stay, and a ring that would lose its shape is left as it is."""
    fixed = sorted({*ring.argmin(axis=0).tolist(), *ring.argmax(axis=0).tolist()})
    closed = np.concatenate([ring, ring[: fixed[0] + 1]])
    arcs = [
        cv2.approxPolyDP(closed[start : end + 1], tolerance, closed=False)[:-1, 0]
        for start, end in itertools.pairwise([*fixed, fixed[0] + len(ring)])
    ]
    simple = np.concatenate(arcs, dtype=np.int32)
    before, after = cv2.contourArea(ring), cv2.contourArea(simple)
    return simple if len(simple) >= 3 and abs(after - before) <= _MAX_AREA_CHANGE * before else ring


def _joined(ring: Ring, holes: list[Ring]) -> Ring:
    """One ring that runs around holes, too. What is filled by the even-odd rule does not see the way to them."""
    for hole in holes:
        x, y = (np.subtract.outer(ring[:, axis], hole[:, axis], dtype=np.int64) for axis in (0, 1))
        i, j = divmod(int((x * x + y * y).argmin()), len(hole))
        ring = np.concatenate([ring[: i + 1], hole[j:], hole[: j + 1], ring[i:]])
    return ring
