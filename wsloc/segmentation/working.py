"""The image and its map brought to the resolution at which the cut is made."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from wsloc.errors import ItemError
from wsloc.flatness import is_flat
from wsloc.images import scaled_wh


def working_image(image_rgb: NDArray[np.uint8], working_size: int) -> NDArray[np.uint8]:
    """The image ``(H, W, 3)`` with its longer side brought to ``working_size`` pixels, never enlarged."""
    height, width = image_rgb.shape[:2]
    if working_size >= max(height, width):
        return image_rgb
    size_wh = scaled_wh((width, height), working_size)
    return np.asarray(cv2.resize(image_rgb, size_wh, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def working_map(saliency: NDArray[np.float32], size_hw: tuple[int, int], smoothing: float) -> NDArray[np.float32]:
    """The map resized to ``size_hw`` and smoothed, both over the pixels that it covers.

    Args:
        saliency: float32 ``(h, w)`` over the whole image; NaN where undecided.
        size_hw: size of the working image.
        smoothing: sigma of the Gaussian as a fraction of the longer side; 0 for none.

    Returns:
        Float32 ``size_hw``, >= 0, maximum 1; NaN where the nearest pixel of the map is NaN.

    Raises:
        ItemError: if the map holds an infinite or negative value, is NaN everywhere, is flat but for rounding, or
            vanishes at ``size_hw``.
    """
    covered = ~np.isnan(saliency)
    if not covered.any() or not np.isfinite(saliency[covered]).all():
        raise ItemError("the saliency map is not finite")
    if saliency[covered].min() < 0:
        raise ItemError("the saliency map is negative somewhere")
    if is_flat(saliency[covered]):
        kind = "zero" if saliency[covered].max() == 0 else "flat"
        raise ItemError(f"the saliency map is {kind} everywhere, so it gives no seeds")
    height, width = size_hw
    values = _resized(np.where(covered, saliency, 0).astype(np.float32) / saliency[covered].max(), width, height)
    weight = _resized(covered.astype(np.float32), width, height)
    if smoothing > 0:
        sigma = smoothing * max(size_hw)
        values, weight = _blurred(values, sigma), _blurred(weight, sigma)
    values = np.divide(values, weight, out=np.zeros_like(values), where=weight > 0)
    inside = cv2.resize(covered.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0
    maximum = values[inside].max(initial=0)
    if maximum == 0:
        raise ItemError(f"nothing is left of the saliency map at the {width} x {height} pixels of the cut")
    return np.where(inside, values / maximum, np.nan).astype(np.float32)


def _resized(values: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
    # A side that shrinks is averaged first: bilinear interpolation would skip pixels of the map.
    shrunk_wh = min(width, values.shape[1]), min(height, values.shape[0])
    shrunk = cv2.resize(values, shrunk_wh, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def _blurred(values: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    # Zeros outside the image in value and weight alike: their quotient is a mean over pixels of the image.
    return np.asarray(cv2.GaussianBlur(values, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT), dtype=np.float32)
