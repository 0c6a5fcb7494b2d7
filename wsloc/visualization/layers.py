"""Map, seeds and mask of an item as small transparent pictures that cover the whole image."""

from __future__ import annotations

import io
from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsloc.images import scaled_wh
from wsloc.visualization.heatmap import SEED_COLORS, color_map, stretch_map

_LAYER_SIDE = 160
_MAP_SIDE = 112
_MAX_BYTES = 12_000
_MAP_QUALITIES = (78, 55, 25)
_OUTSIDE = (0, 0, 0, 170)
_OUTLINE = (255, 255, 255, 255)
_SEED_OPACITY = 190


def encode_layers(
    saliency: NDArray[np.float32], trimap: NDArray[np.uint8], mask: NDArray[np.bool_]
) -> Mapping[str, bytes]:
    """The layers ``saliency``, ``seeds`` and ``mask`` as WebP, a few kilobytes each.

    Args:
        saliency: float32 ``(H, W)``; NaN where undecided.
        trimap: uint8 ``(H, W)`` in OpenCV's codes.
        mask: bool ``(H, W)``.
    """
    map_picture = shrink(Image.fromarray(_saliency_rgba(saliency)), _MAP_SIDE, Image.Resampling.LANCZOS)
    encoded = (_webp(map_picture, quality) for quality in _MAP_QUALITIES)
    return {
        "saliency": next((content for content in encoded if len(content) <= _MAX_BYTES), b""),
        "seeds": _lossless(_seeds_rgba(trimap)),
        "mask": _lossless(_mask_rgba(mask)),
    }


def _saliency_rgba(saliency: NDArray[np.float32]) -> NDArray[np.uint8]:
    """In color from its minimum to its 99th percentile; transparent where undecided."""
    alpha = np.where(np.isnan(saliency), 0, 255).astype(np.uint8)
    return np.dstack([color_map(stretch_map(saliency)), alpha])


def _seeds_rgba(trimap: NDArray[np.uint8]) -> NDArray[np.uint8]:
    shown = np.zeros((*trimap.shape, 4), dtype=np.uint8)
    for code, color in SEED_COLORS.items():
        shown[trimap == code] = (*color, _SEED_OPACITY)
    return shown


def _mask_rgba(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """All but the mask darkened, and its outline."""
    shown = np.zeros((*mask.shape, 4), dtype=np.uint8)
    shown[~mask] = _OUTSIDE
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(shown, outlines, -1, _OUTLINE, 1), dtype=np.uint8)


def _lossless(rgba: NDArray[np.uint8]) -> bytes:
    # The colors of seeds are labels and must not blend.
    side = _LAYER_SIDE
    while True:
        content = _webp(shrink(Image.fromarray(rgba), side, Image.Resampling.NEAREST), 25, lossless=True)
        if len(content) <= _MAX_BYTES or side <= 32:
            return content
        side = round(0.75 * side)


def shrink(
    picture: Image.Image, longer_side: int, resample: Image.Resampling, reducing_gap: float | None = None
) -> Image.Image:
    """The picture with its longer side brought to so many pixels, never enlarged; see ``Image.resize``."""
    if longer_side >= max(picture.size):
        return picture
    return picture.resize(scaled_wh(picture.size, longer_side), resample, reducing_gap=reducing_gap)


def _webp(picture: Image.Image, quality: int, *, lossless: bool = False) -> bytes:
    content = io.BytesIO()
    picture.save(content, format="WEBP", quality=quality, lossless=lossless, method=2)
    return content.getvalue()
