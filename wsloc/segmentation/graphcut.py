"""Two ways to cut an image along its seeds, both built on OpenCV's max-flow code.

``grabcut`` is GrabCut (Rother, Kolmogorov, Blake 2004), where color models and labeling refine each other until the
labeling no longer changes; all iterations but the last see a small image. ``graphcut_2013`` is the cut of Simonyan et
al. 2013: color models of the seed pixels alone, then one cut (Boykov, Jolly 2001) with these models.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from wsloc.segmentation.color_models import COMPONENTS, ColorModels, fit_color_models, log_likelihood
from wsloc.segmentation.seeds import (
    BACKGROUND,
    FOREGROUND,
    PROBABLE_BACKGROUND,
    PROBABLE_FOREGROUND,
    is_foreground,
    is_seed,
)
from wsloc.segmentation.working import working_image

COARSE_SIZE = 80
"""Longer side of the small image, in pixels."""

_MIN_LOG_LIKELIHOOD = -700.0
"""The exponential underflows at -745; weights and determinants take the rest."""

_NO_RECTANGLE = (0, 0, 0, 0)
"""Read only in modes that are not used here."""


def grabcut(
    image_rgb: NDArray[np.uint8], trimap: NDArray[np.uint8], max_iterations: int = 5, coarse_size: int = COARSE_SIZE
) -> NDArray[np.bool_]:
    """GrabCut from coarse to fine: iterated in a small image, then one iteration from there in the image itself.

    What is object is decided in the small image, where its border runs in the large one. Where the image is small
    already, or the small trimap lacks the pixels for color models, this is :func:`grabcut_plain`.

    Args:
        image_rgb: uint8 ``(H, W, 3)``.
        trimap: uint8 ``(H, W)`` in OpenCV's codes; seeds keep their label, the other pixels enter the first models by
            their probable one. The small image takes the code in the middle of each of its pixels. Not changed.
        max_iterations: in the small image, at least 1.
        coarse_size: longer side of the small image, in pixels.

    Returns:
        The mask, bool ``(H, W)``.

    Raises:
        ItemError: if foreground or background has fewer than 5 pixels, probable ones included.
    """
    small_rgb = working_image(image_rgb, coarse_size)
    small = resized_labels(trimap, small_rgb.shape[:2])
    if small_rgb.shape == image_rgb.shape or not has_samples(small):
        return grabcut_plain(image_rgb, trimap, max_iterations)
    models = fit_color_models(small_rgb, is_foreground(small))
    _iterate(small_rgb, small, models, max_iterations)
    probable = np.where(is_foreground(small), PROBABLE_FOREGROUND, PROBABLE_BACKGROUND).astype(np.uint8)
    labels = np.where(is_seed(trimap), trimap, resized_labels(probable, trimap.shape))
    _iterate(image_rgb, labels, models, 1)
    return is_foreground(labels)


def grabcut_plain(
    image_rgb: NDArray[np.uint8], trimap: NDArray[np.uint8], max_iterations: int = 5
) -> NDArray[np.bool_]:
    """GrabCut with all its iterations in the image itself; arguments, result, and errors as of :func:`grabcut`."""
    labels = trimap.copy()
    _iterate(image_rgb, labels, fit_color_models(image_rgb, is_foreground(labels)), max_iterations)
    return is_foreground(labels)


def graphcut_2013(
    image_rgb: NDArray[np.uint8], seeds: NDArray[np.uint8], clamps: NDArray[np.uint8]
) -> NDArray[np.bool_]:
    """One cut with the color models of the seeds.

    Args:
        image_rgb: uint8 ``(H, W, 3)``.
        seeds: uint8 ``(H, W)``, OpenCV's codes: whose pixels the two models are fitted to.
        clamps: uint8 ``(H, W)``, OpenCV's codes: the pixels whose label the cut may not change. Which label is the
            probable one of the others does not matter. Not changed.

    Returns:
        The mask, bool ``(H, W)``.

    Raises:
        ItemError: if there are fewer than 5 seeds of a kind.
    """
    chosen = is_seed(seeds)
    models = fit_color_models(image_rgb[chosen], is_foreground(seeds[chosen]))
    labels, free = clamps.copy(), ~is_seed(clamps)
    labels[free] = _labels_of_unknown_colors(image_rgb[free], models)
    cv2.grabCut(image_rgb, labels, _NO_RECTANGLE, *models, 1, cv2.GC_EVAL_FREEZE_MODEL)
    return is_foreground(labels)


def has_samples(trimap: NDArray[np.uint8]) -> bool:
    """Whether GrabCut can start from a trimap: 5 pixels or more on either side, probable ones included."""
    foreground = is_foreground(trimap)
    return bool(min(foreground.sum(), (~foreground).sum()) >= COMPONENTS)


def _iterate(image_rgb: NDArray[np.uint8], labels: NDArray[np.uint8], models: ColorModels, most: int) -> None:
    """Fit the models to the labels and cut with them, in place, until the labels stay or only one of them is left."""
    for _ in range(most):
        before, foreground = labels.copy(), is_foreground(labels)
        if foreground.all() or not foreground.any():
            return
        cv2.grabCut(image_rgb, labels, _NO_RECTANGLE, *models, 1, cv2.GC_EVAL)
        if np.array_equal(before, labels):
            return


def resized_labels(labels: NDArray[np.uint8], size_hw: tuple[int, ...]) -> NDArray[np.uint8]:
    """Labels ``(H, W)`` at another size: each pixel takes the label in its middle."""
    # The plain nearest neighbor of OpenCV is half a pixel off.
    return np.asarray(cv2.resize(labels, size_hw[::-1], interpolation=cv2.INTER_NEAREST_EXACT), dtype=np.uint8)


def _labels_of_unknown_colors(pixels: NDArray[np.uint8], models: ColorModels) -> NDArray[np.uint8]:
    """The label of the likelier model where both likelihoods underflow, probable foreground elsewhere.

    OpenCV would subtract one infinite energy from the other there, and its max-flow treats the resulting NaN as certain
    foreground. Models of flat colors are so narrow that this is common.

    Args:
        pixels: uint8 ``(N, 3)``.
        models: of both labels.

    Returns:
        Uint8 ``(N,)`` in OpenCV's codes.
    """
    as_background, as_foreground = (log_likelihood(pixels.astype(np.float64), model) for model in models)
    likelier = np.where(as_foreground > as_background, FOREGROUND, BACKGROUND)
    known = np.maximum(as_background, as_foreground) > _MIN_LOG_LIKELIHOOD
    return np.where(known, PROBABLE_FOREGROUND, likelier).astype(np.uint8)
