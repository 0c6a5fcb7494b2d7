"""The masks of an export as pictures: one for each class of an image."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from wsloc.datasets.own_truth import mask_place
from wsloc.exporters import outlines
from wsloc.exporters.formats import MASK_PICTURES, ExportImage


def write_mask_pictures(folder: Path, image: ExportImage) -> int:
    """Write ``mask_pictures/CLASS/IMAGE.png`` of each class of an image: gray, 255 is object, 0 is not.

    :func:`wsloc.datasets.own_truth.mask_place` says where they lie, ``IMAGE`` being the image's exported file with
    its suffix; the data set ``folder`` reads such a folder as its ``masks``. They have the size of the image after EXIF
    transposition; boxes of one class share a picture, uncertain ones are not in it.

    Returns:
        How many boxes have no mask, and are missing.
    """
    missing = 0
    for class_name, mask, without in _masks(image):
        missing += without
        if mask is None:
            continue
        path = folder / MASK_PICTURES / mask_place(class_name, image.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        written, encoded = cv2.imencode(".png", mask.view(np.uint8) * 255)
        assert written
        path.write_bytes(encoded.tobytes())
    return missing


def _masks(image: ExportImage) -> Iterator[tuple[str, NDArray[np.bool_] | None, int]]:
    """Of each class: its mask at the size of the image, and how many boxes have none."""
    certain = [box.record for box in image.boxes if not box.uncertain]
    for class_name in dict.fromkeys(record.class_name for record in certain):
        found = [outlines.mask_of(record) for record in certain if record.class_name == class_name]
        masks = [outlines.full_size(mask, image.size_wh) for mask in found if mask is not None]
        yield class_name, np.logical_or.reduce(masks) if masks else None, len(found) - len(masks)
