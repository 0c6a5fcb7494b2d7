"""What the pipeline yields."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsloc.pipeline.map_stage import ImageMaps
from wsloc.records import BoxRecord, Failure, ImageRecord


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """How a box came about; all arrays but ``raw_map`` at working resolution.

    Attributes:
        image_rgb: uint8 ``(H, W, 3)``.
        raw_map: float32 ``(h, w)``, of the whole image: the mean over the views, not smoothed; NaN where undecided.
        saliency: float32 ``(H, W)``, smoothed, maximum 1; NaN where undecided.
        trimap: uint8 ``(H, W)``, the seeds in OpenCV's codes.
        mask: bool ``(H, W)``, all components.
    """

    image_rgb: NDArray[np.uint8]
    raw_map: NDArray[np.float32]
    saliency: NDArray[np.float32]
    trimap: NDArray[np.uint8]
    mask: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class ItemResult:
    """What became of one (image, class) pair: boxes and their trace, or a failure.

    Attributes:
        class_name: the class that was asked for.
        localizations: the boxes, the largest component first; empty after a failure.
        failure: None if there is a box.
        trace: None after a failure.
    """

    class_name: str
    localizations: tuple[BoxRecord, ...] = ()
    failure: Failure | None = None
    trace: Trace | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ImageResult:
    """What became of one image.

    Attributes:
        image: its record.
        items: one per class asked for, in the order of the labels (or of falling probability).
        maps: what the items were made of; None if it could not be read, or has not been kept.
    """

    image: ImageRecord
    items: tuple[ItemResult, ...]
    maps: ImageMaps | None = None
