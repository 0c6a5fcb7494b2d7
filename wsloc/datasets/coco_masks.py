"""COCO's outlines, polygons or run lengths, as masks.

Polygons are filled by pycocotools, as every figure on COCO has them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from wsloc.boxes import Boxes
from wsloc.datasets.frames import SizeWh, size_text, turn_masks
from wsloc.errors import ItemError, counted
from wsloc.images import MAX_PIXELS
from wsloc.records import GroundTruth, TrueMasks
from wsloc.run_lengths import expand, read_counts

Polygons = tuple[NDArray[np.float64], ...]
"""Closed rings ``(2K,)``: alternating x and y in pixels, (0, 0) is the corner of the first pixel."""


RunLengths = NDArray[np.int64]
"""See :func:`wsloc.run_lengths.expand`."""
Outline = Polygons | RunLengths


_MAX_PIXELS_OF_MASKS = 10 * MAX_PIXELS
_MAX_PIXELS_UNSEEN = 20_000_000
"""Of all masks of an image, a byte each; the second of one that cannot be read."""


@dataclass(frozen=True, slots=True, eq=False)
class Drawing:
    """What is needed to draw the masks of one image.

    Attributes:
        is_assumed: whether the size of the image is not known from its file.
        frame_wh: width and height of the frame that the outlines are in.
        orientation: EXIF orientation that the masks are turned by; 1 where they are in the turned frame.
        outlines: of N objects and crowd regions; None if there is none that can be read.
        is_crowd: N flags.
        boxes_xyxy: their boxes ``(N, 4)``, after the turn.
        truth: of the image.
    """

    is_assumed: bool
    frame_wh: SizeWh
    orientation: int
    outlines: tuple[Outline | None, ...]
    is_crowd: tuple[bool, ...]
    boxes_xyxy: Boxes
    truth: GroundTruth

    @property
    def has_object_outlines(self) -> bool:
        """Whether an object, not a crowd region, has an outline."""
        return any(
            outline is not None and not crowd for outline, crowd in zip(self.outlines, self.is_crowd, strict=True)
        )


def read_outline(segmentation: object, frame_wh: SizeWh) -> Outline | None:
    """A ``segmentation`` of COCO: polygons, or run lengths, compressed or not.

    Args:
        segmentation: as JSON gives it.
        frame_wh: width and height of the image in the annotations.

    Returns:
        None for what is missing, empty or malformed.
    """
    if isinstance(segmentation, dict):
        width, height = frame_wh
        if segmentation.get("size") != [height, width]:
            return None
        return read_counts(segmentation.get("counts"), width * height)
    if not isinstance(segmentation, list) or not segmentation:
        return None
    rings = [_ring(ring, frame_wh) for ring in segmentation]
    polygons = tuple(ring for ring in rings if ring is not None)
    return polygons if len(polygons) == len(rings) else None


def draw_outline(outline: Outline, frame_wh: SizeWh) -> NDArray[np.bool_]:
    """The pixels inside an outline: bool ``(H, W)``, in the frame of the outline."""
    width, height = frame_wh
    if isinstance(outline, np.ndarray):
        return expand(outline, (height, width))
    runs = coco_mask.frPyObjects(list(outline), height, width)
    mask: NDArray[np.bool_] = coco_mask.decode(coco_mask.merge(runs)).astype(bool)
    return mask


def draw_masks(drawings: Mapping[str, Drawing], image_id: str) -> TrueMasks:
    """The true masks of an image; crowd regions, and boxes of objects without outline, are ignored.

    Raises:
        ItemError: if the image has no readable annotation, none of its objects an outline, or the outlines
            are of another size than the image or too large to be drawn.
    """
    if (drawing := drawings.get(image_id)) is None:
        raise ItemError("the image has no annotations that can be read")
    if drawing.truth.class_names and not drawing.has_object_outlines:
        raise ItemError("none of the image's objects has an outline that can be read")
    width, height = drawing.frame_wh
    turned_hw = (width, height) if drawing.orientation in (5, 6, 7, 8) else (height, width)
    if turned_hw != drawing.truth.size_wh[::-1]:
        raise ItemError(
            f"its outlines are of {size_text(drawing.frame_wh)} pixels, but the image has "
            f"{size_text(drawing.truth.size_wh)}"
        )
    # A few bytes of run lengths fill any size that a file gives, and an unreadable image does not vouch for it.
    largest = _MAX_PIXELS_UNSEEN if drawing.is_assumed else _MAX_PIXELS_OF_MASKS
    if width * height > MAX_PIXELS or len(drawing.outlines) * width * height > largest:
        raise ItemError(f"its {counted(len(drawing.outlines), 'mask')} of {width} x {height} pixels are too large")
    ignored = np.zeros(turned_hw, dtype=bool)
    masks, class_names = [], []
    names = iter(drawing.truth.class_names)
    for outline, crowd, box in zip(drawing.outlines, drawing.is_crowd, drawing.boxes_xyxy, strict=True):
        name = "" if crowd else next(names)
        if outline is None:
            x0, y0, x1, y1 = (math.floor(box[0]), math.floor(box[1]), math.ceil(box[2]), math.ceil(box[3]))
            ignored[y0:y1, x0:x1] = True
            continue
        mask = turn_masks(draw_outline(outline, drawing.frame_wh), drawing.orientation)
        if crowd:
            ignored |= mask
        else:
            masks.append(mask)
            class_names.append(name)
    stacked = np.stack(masks) if masks else np.zeros((0, *turned_hw), dtype=bool)
    return TrueMasks(stacked, tuple(class_names), ignored & ~stacked.any(axis=0))


def _ring(ring: object, frame_wh: SizeWh) -> NDArray[np.float64] | None:
    if not isinstance(ring, list) or len(ring) < 6 or len(ring) % 2:
        return None
    try:
        points = np.array(ring)
    except ValueError:
        return None
    if points.dtype.kind not in "if" or points.ndim != 1:
        return None
    # A vertex far outside makes pycocotools ask for memory without end; nan fails the comparison too.
    sides = np.array(frame_wh)
    corners = points.reshape(-1, 2)
    if not ((corners >= -sides) & (corners <= 2 * sides)).all():
        return None
    return points.astype(np.float64)
