"""Seeds of the graph cut: the most salient pixels are foreground, the least salient background.

Simonyan et al. 2013, section 3.2: foreground above the 95 % quantile of the image's own saliency,
background below the 30 % quantile.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

BACKGROUND, FOREGROUND = int(cv2.GC_BGD), int(cv2.GC_FGD)
PROBABLE_BACKGROUND, PROBABLE_FOREGROUND = int(cv2.GC_PR_BGD), int(cv2.GC_PR_FGD)


def make_seeds(
    saliency: NDArray[np.float32], foreground_quantile: float, background_quantile: float
) -> NDArray[np.uint8]:
    """The trimap of a map.

    Seeds are counted by rank, so their number does not depend on how the values are spread. Equal
    values are ranked by a hash of the pixel's index: ranked by scan order, the background
    seeds of a map with many zeros would all lie in its top rows. A pixel at the map's minimum is
    never foreground, since the map says nothing for it: a map with few other values has fewer
    foreground seeds.

    Args:
        saliency: float32 ``(H, W)``, >= 0; NaN where undecided.
        foreground_quantile: fraction of the pixels below the foreground seeds, in (0, 1).
        background_quantile: fraction of the pixels that are background seeds, below the former.

    Returns:
        uint8 ``(H, W)`` in OpenCV's codes: foreground (1) and background (0) seeds, else probable
        background (2): started as probable foreground, the cut keeps too much.
    """
    trimap = np.full(saliency.shape, PROBABLE_BACKGROUND, dtype=np.uint8)
    covered = np.flatnonzero(~np.isnan(saliency))
    values = saliency.reshape(-1)[covered]
    foreground_count = round((1 - foreground_quantile) * len(values))
    background_count = round(background_quantile * len(values))
    # Floats >= 0 are ordered like their bits, so that one integer holds the value, then the hash.
    # Adding 0 makes one zero of the two.
    bits = (values + np.float32(0)).view(np.uint32).astype(np.uint64)
    keys = (bits << np.uint64(32)) | _hashed(covered).astype(np.uint64)
    # The counts never exceed the pixels together, but a rounded one may alone reach their number.
    cuts = (background_count, len(keys) - foreground_count)
    order = np.argpartition(keys, [min(cut, len(keys) - 1) for cut in cuts])
    flat = trimap.reshape(-1)
    flat[covered[order[:background_count]]] = BACKGROUND
    foreground = order[len(order) - foreground_count :]
    flat[covered[foreground[values[foreground] > values.min()]]] = FOREGROUND
    return trimap


def value_seeds(
    saliency: NDArray[np.float32], foreground_value: float, background_value: float, threshold: float
) -> NDArray[np.uint8]:
    """The trimap of a map whose values can be compared, such as probabilities.

    Args:
        saliency: float32 ``(H, W)``, >= 0, maximum 1; NaN where undecided.
        foreground_value: pixels above it are foreground seeds.
        background_value: pixels below it are background seeds.
        threshold: of the others, those above it are probable foreground.

    Returns:
        uint8 ``(H, W)`` in OpenCV's codes; probable background where undecided.
    """
    trimap = np.where(saliency > threshold, PROBABLE_FOREGROUND, PROBABLE_BACKGROUND).astype(np.uint8)
    trimap[saliency > foreground_value] = FOREGROUND
    trimap[saliency < background_value] = BACKGROUND
    return trimap


def is_foreground(labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The pixels labeled as foreground or probable foreground, of labels in OpenCV's codes."""
    return np.asarray((labels == FOREGROUND) | (labels == PROBABLE_FOREGROUND), dtype=bool)


def is_seed(labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The pixels whose label a cut may not change, of labels in OpenCV's codes."""
    return np.asarray((labels == FOREGROUND) | (labels == BACKGROUND), dtype=bool)


def _hashed(index: NDArray[np.intp]) -> NDArray[np.uint32]:
    """The finalizer of MurmurHash3: a permutation of the 32-bit integers, the same on every machine."""
    mixed = index.astype(np.uint32)
    mixed ^= mixed >> np.uint32(16)
    mixed *= np.uint32(0x85EBCA6B)
    mixed ^= mixed >> np.uint32(13)
    mixed *= np.uint32(0xC2B2AE35)
    mixed ^= mixed >> np.uint32(16)
    return mixed
