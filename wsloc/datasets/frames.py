"""In which frame an annotation was drawn, and bringing its boxes and masks into the frame of the turned image.

Annotation tools differ in whether they apply an image's EXIF orientation before they show it. All that
wsloc compares is in the frame after the transposition.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wsloc import boxes
from wsloc.boxes import Boxes
from wsloc.errors import ItemError
from wsloc.images import ImageHeader, read_header

SizeWh = tuple[int, int]
_LONGEST_SIDE = 1_000_000
"""Pixels. Few file formats have room for more, and none of their images can be read."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The frame that an annotation was drawn in.

    Attributes:
        size_wh: its width and height.
        orientation: the EXIF orientation to apply; 1 for what was drawn on the turned image.
        is_certain: False where the stored frame is only assumed.
    """

    size_wh: SizeWh
    orientation: int
    is_certain: bool = True


@dataclass(frozen=True, slots=True)
class Placed:
    """Boxes in the frame of the image after EXIF transposition.

    Attributes:
        boxes_xyxy: float64 ``(K, 4)``, half-open, inside the image, none of them empty.
        kept: which of the boxes given these are, int64 ``(K,)``, ascending.
        problems: one sentence for each box that was left out or cut off.
    """

    boxes_xyxy: Boxes
    kept: NDArray[np.int64]
    problems: tuple[str, ...]


def possible_size(width: int, height: int) -> SizeWh | None:
    """A size that an annotation gives; None if no image can have it."""
    return (width, height) if min(width, height) > 0 and max(width, height) <= _LONGEST_SIDE else None


def header_of(path: Path, annotated_wh: SizeWh | None) -> ImageHeader:
    """The header of an image file; of a file that cannot be read, the size that the annotation gives.

    Raises:
        ItemError: if neither is known.
    """
    try:
        return read_header(path)
    except ItemError:
        # An image that cannot be read must still count as not found.
        if annotated_wh is None:
            raise
        return ImageHeader(annotated_wh, 1, is_assumed=True)


def frame_of(annotated_wh: SizeWh | None, header: ImageHeader, *, as_shown: bool = False) -> Frame:
    """The frame of an annotation, found by its size; the stored frame where the size does not decide.

    Args:
        annotated_wh: the image's width and height in the annotation, None if it gives none.
        header: of the image file.
        as_shown: that of the turned image where the size does not decide, as is known of what was drawn on an export.
    """
    turns = header.stored_wh != header.size_wh
    is_stored = turns and annotated_wh == header.stored_wh
    if (turns and annotated_wh == header.size_wh) or (as_shown and not is_stored):
        return Frame(header.size_wh, 1)
    return Frame(header.stored_wh, header.orientation, header.orientation == 1 or is_stored)


def place_boxes(boxes_xyxy: ArrayLike, names: Sequence[str], frame: Frame, tolerance: float = 0.0) -> Placed:
    """Boxes clipped to the image and turned with it, without the empty ones and fractions of the image.

    Args:
        boxes_xyxy: ``(N, 4)``, half-open, finite.
        names: N names for the sentences, such as class names.
        frame: of the boxes.
        tolerance: pixels by which a box may reach over the border without being a problem.
    """
    given = boxes.as_boxes(boxes_xyxy)
    inside = boxes.clip(given, frame.size_wh)
    empty = boxes.area(inside) == 0
    fractions = ~empty & (inside.max(axis=1, initial=0) <= 1) & (given % 1 > 0).any(axis=1)
    over = np.abs(inside - given).max(axis=1, initial=0) > tolerance
    faults = (
        (empty, "is inverted or outside the image, and was left out"),
        (fractions, "lies in the first pixel, as fractions of the image would, and was left out; boxes are in pixels"),
        (over, "reaches over the border, and was cut off there"),
    )
    problems = []
    for index, name in enumerate(names):
        if fault := next((fault for has, fault in faults if has[index]), None):
            problems.append(f"the box of a {name} {fault}")
    kept = np.flatnonzero(~empty & ~fractions)
    placed = boxes.apply_exif_orientation(inside[kept], frame.size_wh, frame.orientation)
    return Placed(placed, kept, tuple(problems))


def size_text(size_wh: SizeWh) -> str:
    """A size in words: ``width x height``."""
    return f"{size_wh[0]} x {size_wh[1]}"


def turn_masks(masks: NDArray[np.bool_], orientation: int) -> NDArray[np.bool_]:
    """Masks ``(..., H, W)`` of a stored image, turned with it when EXIF ``orientation`` is applied.

    Orientations 5 to 8 swap height and width.
    """
    if orientation in (5, 6, 7, 8):
        masks = masks.swapaxes(-1, -2)
    if orientation in (2, 3, 6, 7):
        masks = masks[..., ::-1]
    if orientation in (3, 4, 7, 8):
        masks = masks[..., ::-1, :]
    return np.ascontiguousarray(masks)
