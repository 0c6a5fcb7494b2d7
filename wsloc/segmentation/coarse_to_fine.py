"""GrabCut from coarse to fine: what is object is decided in a small image, where its border runs in the large one.

A banded graph cut (Lombaert, Sun, Grady, Xu 2005, "A multilevel banded graph cuts method for fast image
segmentation"), with GrabCut (Rother, Kolmogorov, Blake 2004) as the coarse cut. Almost all of GrabCut's time goes into
pixels far from any border, and into color models that fewer pixels give as well.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from wsloc.segmentation.graphcut import ColorModels, grabcut, has_samples, iterated_cut, single_cut
from wsloc.segmentation.seeds import BACKGROUND, FOREGROUND, PROBABLE_BACKGROUND, is_foreground, is_seed
from wsloc.segmentation.working import working_image

COARSE_SIZE = 80
"""Longer side of the small image, in pixels."""
BAND = 1
"""How many pixels of the small image are cut again on either side of the border."""


def grabcut_coarse_to_fine(
    image_rgb: NDArray[np.uint8],
    trimap: NDArray[np.uint8],
    seed: int,
    max_iterations: int = 5,
    coarse_size: int = COARSE_SIZE,
    band: int = BAND,
) -> NDArray[np.bool_]:
    """GrabCut in a small image, then one cut with its color models in a band along the border that it found.

    Where the image is small already, or the small trimap lacks the pixels for color models, this is
    :func:`grabcut`.

    Args:
        image_rgb: uint8 ``(H, W, 3)``.
        trimap: uint8 ``(H, W)`` in OpenCV's codes; seeds keep their label. The small image takes the code in the
            middle of each of its pixels. Not changed.
        seed: of the first models, in [0, 2**31).
        max_iterations: of the cut in the small image, at least 1.
        coarse_size: longer side of the small image, in pixels.
        band: pixels of the small image on either side of the border, at least 1.

    Returns:
        The mask, bool ``(H, W)``.

    Raises:
        ItemError: if foreground or background has fewer than 5 pixels, probable ones included.
    """
    small_rgb = working_image(image_rgb, coarse_size)
    small_trimap = _resized(trimap, small_rgb.shape[:2])
    if small_rgb.shape == image_rgb.shape or not has_samples(small_trimap):
        return grabcut(image_rgb, trimap, seed, max_iterations)
    coarse, models = iterated_cut(small_rgb, small_trimap, seed, max_iterations)
    clamps = np.where(is_seed(trimap), trimap, _resized(_undecided_along_border(coarse, band), trimap.shape))
    return _cut_undecided(image_rgb, clamps, models)


def _cut_undecided(image_rgb: NDArray[np.uint8], clamps: NDArray[np.uint8], models: ColorModels) -> NDArray[np.bool_]:
    """One cut of the rectangle around the pixels that are not clamped; OpenCV takes the mean contrast over it."""
    mask, undecided = is_foreground(clamps), ~is_seed(clamps)
    if undecided.any():
        x, y, width, height = cv2.boundingRect(undecided.astype(np.uint8))
        # With their neighbors, whose labels pull at them; pixels farther away do not matter to the cut.
        window = np.s_[max(0, y - 1) : y + height + 1, max(0, x - 1) : x + width + 1]
        mask[window] = single_cut(image_rgb[window], clamps[window], models)
    return mask


def _undecided_along_border(mask: NDArray[np.bool_], band: int) -> NDArray[np.uint8]:
    """Labels in OpenCV's codes: those of the mask ``(h, w)``, undecided within ``band`` pixels of the other label."""
    window = np.ones((2 * band + 1, 2 * band + 1), dtype=np.uint8)
    near = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_GRADIENT, window) > 0
    return np.select([near, mask], [PROBABLE_BACKGROUND, FOREGROUND], BACKGROUND).astype(np.uint8)


def _resized(labels: NDArray[np.uint8], size_hw: tuple[int, ...]) -> NDArray[np.uint8]:
    # The plain nearest neighbor of OpenCV is half a pixel off.
    return np.asarray(cv2.resize(labels, size_hw[::-1], interpolation=cv2.INTER_NEAREST_EXACT), dtype=np.uint8)
