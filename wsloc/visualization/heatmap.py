"""Maps, seeds, masks and boxes drawn over images."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""RGB uint8 ``(H, W, 3)``."""

SEED_COLORS = {int(cv2.GC_FGD): (255, 70, 60), int(cv2.GC_BGD): (50, 110, 255)}
"""Foreground seeds red, background seeds blue."""
BOX_COLOR = (255, 220, 0)


def overlay_heatmap(image_rgb: Image, saliency: NDArray[np.float32], alpha: float = 0.55) -> Image:
    """A map in colour over the image in grey.

    Args:
        image_rgb: uint8 ``(H, W, 3)``.
        saliency: ``(H, W)``, >= 0, shown relative to its maximum; NaN pixels stay as in the image.
        alpha: opacity of the map, in [0, 1].
    """
    values = np.nan_to_num(saliency / (np.nanmax(saliency) or 1.0))
    colors = cv2.applyColorMap((values * 255).astype(np.uint8), cv2.COLORMAP_TURBO)[..., ::-1]
    grey = np.repeat(cv2.cvtColor(image_rgb, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    blended = (alpha * colors + (1 - alpha) * grey).round().astype(np.uint8)
    return np.where(np.isnan(saliency)[..., None], image_rgb, blended)


def overlay_seeds(image_rgb: Image, trimap: NDArray[np.uint8]) -> Image:
    """Foreground seeds in red and background seeds in blue over the image."""
    shown = image_rgb.copy()
    for code, color in SEED_COLORS.items():
        chosen = trimap == code
        shown[chosen] = (0.35 * shown[chosen] + 0.65 * np.array(color)).astype(np.uint8)
    return shown


def overlay_mask(image_rgb: Image, mask: NDArray[np.bool_]) -> Image:
    """The image with everything outside the mask darkened, and the mask's outline."""
    shown = np.where(mask[..., None], image_rgb, image_rgb // 3)
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(shown.copy(), outlines, -1, (255, 255, 255), 1), dtype=np.uint8)


def draw_boxes(
    image_rgb: Image, boxes_xyxy: Sequence[Sequence[float]], color: tuple[int, int, int] = BOX_COLOR
) -> Image:
    """Half-open boxes, in pixels of this image, drawn on their outermost pixels."""
    shown = image_rgb.copy()
    for x0, y0, x1, y1 in boxes_xyxy:
        cv2.rectangle(shown, (round(x0), round(y0)), (round(x1) - 1, round(y1) - 1), color, 2)
    return shown
