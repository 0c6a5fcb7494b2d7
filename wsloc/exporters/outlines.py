"""From a mask at working resolution to an outline in pixels of the image."""

from __future__ import annotations

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


def polygons_of(mask: NDArray[np.bool_], size_wh: tuple[int, int], tolerance: float = TOLERANCE) -> list[list[float]]:
    """Polygons around the pixels of a mask, as COCO has them: (0, 0) is the corner of the first pixel.

    They reach exactly as far as the mask. A hole is joined to the ring around it by a line there and back, for COCO has
    no other hole in a polygon.

    Args:
        mask: bool ``(h, w)``, not empty, over the whole image.
        size_wh: of the image.
        tolerance: by how many pixels of the mask the border may be simplified; 0 for not at all.

    Returns:
        Lists of x and y in turn, pixels of the image, to 0.01.
    """
    height, width = mask.shape
    scale = np.array([size_wh[0] / width, size_wh[1] / height])
    return [np.round(ring * scale, 2).ravel().tolist() for ring in _rings(mask, tolerance)]


def area_of(mask: NDArray[np.bool_], size_wh: tuple[int, int]) -> float:
    """Area of a mask over the whole image in square pixels of the image."""
    return float(np.count_nonzero(mask)) * size_wh[0] * size_wh[1] / mask.size


def run_lengths_of(mask: NDArray[np.bool_], size_wh: tuple[int, int]) -> dict[str, Any]:
    """The mask brought to the size of the image by the nearest pixel, as COCO's compressed run lengths."""
    return run_lengths.encode(full_size(mask, size_wh))


def full_size(mask: NDArray[np.bool_], size_wh: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask brought to the size of the image by the nearest pixel: bool ``(H, W)``."""
    return cv2.resize(mask.view(np.uint8), size_wh, interpolation=cv2.INTER_NEAREST).astype(bool)


def _rings(mask: NDArray[np.bool_], tolerance: float) -> list[Ring]:
    """One ring for each outer border of the mask, its holes joined to it."""
    # OpenCV's contours run through centers of pixels. In the doubled mask the first half of a pixel lies beside its
    # near edge and the second half beside its far one, so that halving, rounded up, gives the edges themselves.
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    corner = np.array([columns[0], rows[0]], dtype=np.int32)
    inside = mask[corner[1] : rows[-1] + 1, corner[0] : columns[-1] + 1].view(np.uint8)
    doubled = cv2.resize(inside, (2 * inside.shape[1], 2 * inside.shape[0]), interpolation=cv2.INTER_NEAREST)
    contours, hierarchy = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    edges = [_without_repeats((contour[:, 0].astype(np.int32) + 1) // 2 + corner) for contour in contours]
    borders = [_simplified(ring, tolerance) for ring in edges]
    parents = hierarchy[0, :, 3].tolist()
    return [
        _joined(border, [borders[k] for k, of in enumerate(parents) if of == index])
        for index, border in enumerate(borders)
        if parents[index] < 0
    ]


def _without_repeats(ring: Ring) -> Ring:
    return ring[np.any(ring != np.roll(ring, 1, axis=0), axis=1)]


def _simplified(ring: Ring, tolerance: float) -> Ring:
    """Fewer corners; the outermost on each side stay, and a ring that would lose its shape is left as it is."""
    fixed = sorted({int(index) for end in (ring.argmin(axis=0), ring.argmax(axis=0)) for index in end})
    arcs = []
    for start, end in zip(fixed, [*fixed[1:], fixed[0] + len(ring)], strict=True):
        arc = ring[np.arange(start, end + 1) % len(ring)]
        arcs.append(cv2.approxPolyDP(arc, tolerance, closed=False)[:-1, 0])
    simple = np.concatenate(arcs).astype(np.int32)
    before, after = cv2.contourArea(ring), cv2.contourArea(simple)
    return simple if len(simple) >= 3 and abs(after - before) <= _MAX_AREA_CHANGE * before else ring


def _joined(ring: Ring, holes: list[Ring]) -> Ring:
    """One ring that runs around holes, too. What is filled by the even-odd rule does not see the way to them."""
    for hole in holes:
        distance = ((ring[:, None].astype(np.int64) - hole[None]) ** 2).sum(axis=2)
        i, j = np.unravel_index(int(distance.argmin()), distance.shape)
        ring = np.concatenate([ring[: i + 1], hole[j:], hole[: j + 1], ring[i:]])
    return ring
