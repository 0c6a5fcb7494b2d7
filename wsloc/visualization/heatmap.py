"""Maps, seeds, masks and boxes drawn over images."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""RGB uint8 ``(H, W, 3)``."""

SEED_COLORS = {int(cv2.GC_FGD): (255, 70, 60), int(cv2.GC_BGD): (50, 110, 255)}
"""Foreground seeds red, background seeds blue."""
BOX_COLOR = (255, 220, 0)
UNDECIDED_COLOR = (170, 200, 235)
"""Pale blue, which no color map here and no gray has: pixels of a map alone that no view reached."""
COLORMAPS = {
    "turbo": cv2.COLORMAP_TURBO,
    "viridis": cv2.COLORMAP_VIRIDIS,
    "inferno": cv2.COLORMAP_INFERNO,
    "jet": cv2.COLORMAP_JET,
}
"""By the name that ``colormap`` takes. Viridis and inferno rise evenly in lightness, also in print without color."""


def overlay_heatmap(
    image_rgb: Image, saliency: NDArray[np.float32], alpha: float = 0.55, colormap: str = "turbo"
) -> Image:
    """A map in color over the image in gray.

    Args:
        image_rgb: uint8 ``(H, W, 3)``.
        saliency: ``(H, W)``, finite and >= 0, shown relative to its maximum; NaN pixels stay as in the image.
        alpha: opacity of the map, in [0, 1].
        colormap: a key of :data:`COLORMAPS`.

    Raises:
        ValueError: if the map has negative or infinite values.
    """
    colors = color_map(saliency, colormap)
    gray = np.repeat(cv2.cvtColor(image_rgb, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    blended = (alpha * colors + (1 - alpha) * gray).round().astype(np.uint8)
    return np.where(np.isnan(saliency)[..., None], image_rgb, blended)


def color_map(saliency: NDArray[np.float32], colormap: str = "turbo") -> Image:
    """A map alone, in color; arguments and errors as in :func:`overlay_heatmap`, NaN in ``UNDECIDED_COLOR``."""
    colors = cv2.applyColorMap(_levels(saliency), COLORMAPS[colormap])[..., ::-1]
    return _with_undecided(np.asarray(colors, dtype=np.uint8), saliency)


def gray_map(saliency: NDArray[np.float32], inverted: bool = False) -> Image:
    """A map alone, in gray: white at its maximum and black at 0, or inverted, as is usual in print.

    NaN pixels have ``UNDECIDED_COLOR`` in both. Raises as :func:`overlay_heatmap`.
    """
    levels = _levels(saliency)
    return _with_undecided(np.repeat((255 - levels if inverted else levels)[..., None], 3, axis=2), saliency)


def stretch_map(saliency: NDArray[np.float32], percentile: float = 99.0) -> NDArray[np.float32]:
    """The map brought to [0, 1] to be looked at: 0 is its minimum, 1 a high percentile of its pixels and all above.

    A few pixels of a gradient map are far above all others, and a scale up to the maximum would hide the rest;
    a RISE map is nowhere near 0. The authors of SmoothGrad (Smilkov et al. 2017, arXiv 1706.03825) show their maps so,
    with the 99th percentile.

    Args:
        saliency: ``(H, W)``, finite; NaN pixels stay, and are not counted.
        percentile: above 0, at most 100 for the maximum, which also stands in where the percentile is the minimum.

    Returns:
        Float32 ``(H, W)``; zeros for a flat map.
    """
    decided = saliency[~np.isnan(saliency)]
    if not decided.size:
        return saliency
    low, high = decided.min(), np.float32(np.percentile(decided, percentile))  # of NumPy 1 it has 64 bits
    high = high if high > low else decided.max()
    return np.asarray((np.minimum(saliency, high) - low) / ((high - low) or 1), dtype=np.float32)


STYLES: dict[str, Callable[[Image, NDArray[np.float32], float, str], Image]] = {
    "overlay": overlay_heatmap,
    "color": lambda _image, saliency, _alpha, colormap: color_map(saliency, colormap),
    "gray": lambda _image, saliency, _alpha, _colormap: gray_map(saliency),
    "inverted-gray": lambda _image, saliency, _alpha, _colormap: gray_map(saliency, inverted=True),
}
"""All ways to show a map, by the name that ``style`` takes: from image, map, alpha and color map to a picture."""


def _levels(saliency: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The map from 0 to 255, its maximum; 0 where it is NaN."""
    values = np.nan_to_num(saliency, nan=0, posinf=np.inf)
    if not np.isfinite(values).all() or (values < 0).any():
        raise ValueError("a saliency map to be shown must be finite and >= 0 wherever it is not NaN")
    relative = values / (values.max(initial=0) or 1.0)
    return np.asarray(np.rint(255 * relative), dtype=np.uint8)


def _with_undecided(picture: Image, saliency: NDArray[np.float32]) -> Image:
    return np.where(np.isnan(saliency)[..., None], np.array(UNDECIDED_COLOR, dtype=np.uint8), picture)


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
