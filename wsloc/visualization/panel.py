"""One item at a glance: image, map, seeds, mask and box side by side."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from wsloc.visualization.heatmap import draw_boxes, overlay_heatmap, overlay_mask, overlay_seeds

_CAPTION_HEIGHT = 22
_GAP = 4


def item_panel(
    image_rgb: NDArray[np.uint8],
    saliency: NDArray[np.float32],
    trimap: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    boxes_xyxy: Sequence[Sequence[float]],
    caption: str,
) -> NDArray[np.uint8]:
    """Four pictures in a row under a caption: image with boxes, map, seeds, mask with boxes.

    Args:
        image_rgb: uint8 ``(H, W, 3)``.
        saliency: float32 ``(H, W)``, >= 0; NaN where undecided.
        trimap: uint8 ``(H, W)`` in OpenCV's codes.
        mask: bool ``(H, W)``.
        boxes_xyxy: half-open, in pixels of ``image_rgb``.
        caption: ASCII; other characters are shown as question marks.

    Returns:
        RGB uint8.
    """
    pictures = (
        draw_boxes(image_rgb, boxes_xyxy),
        overlay_heatmap(image_rgb, saliency),
        overlay_seeds(image_rgb, trimap),
        draw_boxes(overlay_mask(image_rgb, mask), boxes_xyxy),
    )
    height, width = image_rgb.shape[:2]
    panel = np.full((height + _CAPTION_HEIGHT, 4 * width + 3 * _GAP, 3), 255, dtype=np.uint8)
    for index, picture in enumerate(pictures):
        left = index * (width + _GAP)
        panel[_CAPTION_HEIGHT:, left : left + width] = picture
    text = caption.encode("ascii", "replace").decode()
    cv2.putText(panel, text, (4, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    return panel
