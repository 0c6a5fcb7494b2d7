"""How well the mask of a box fits the true masks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from wsloc.run_lengths import decode


def mask_iou(mask_rle: Mapping[str, Any], true_masks: NDArray[np.bool_]) -> float:
    """IoU of a mask with the best of some true masks, in pixels of the image.

    Args:
        mask_rle: compressed run lengths of COCO, of a mask of any resolution that covers the whole image; brought to
            the image's by the nearest pixel.
        true_masks: bool ``(M, H, W)``, M >= 1.

    Raises:
        ItemError: if the run lengths are damaged.
    """
    height, width = true_masks.shape[1:]
    decoded = decode(mask_rle).view(np.uint8)
    mask = cv2.resize(decoded, (width, height), interpolation=cv2.INTER_NEAREST_EXACT).astype(bool)
    shared = (mask & true_masks).sum(axis=(1, 2))
    either = (mask | true_masks).sum(axis=(1, 2))
    return float((shared / np.maximum(either, 1)).max())
