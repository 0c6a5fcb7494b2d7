"""Two ways to cut an image along its seeds, both built on OpenCV's GMM and max-flow code.

``grabcut`` is GrabCut (Rother, Kolmogorov, Blake 2004): color models and labeling refine each other until the
labeling no longer changes. ``graphcut_2013`` is the cut of Simonyan et al. 2013: color models of the seed pixels alone,
then one cut (Boykov, Jolly 2001) with these models.

OpenCV initializes a color model from the random generator of the calling thread. Each function seeds it, so that a cut
gives the same bits in any thread.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from wsloc.errors import ItemError
from wsloc.segmentation.seeds import BACKGROUND, FOREGROUND, PROBABLE_FOREGROUND, is_foreground, is_seed

ColorModels = tuple[NDArray[np.float64], NDArray[np.float64]]
"""The Gaussian mixtures of background and foreground, each float64 ``(1, 65)`` in OpenCV's layout: 5 weights, 5 x 3
means, 5 x 9 covariances."""

GMM_COMPONENTS = 5
"""Gaussians of each color model, fixed in OpenCV; fewer pixels than that cannot be modeled."""

_MODEL_SHAPE = (1, 13 * GMM_COMPONENTS)
"""OpenCV packs each Gaussian as 1 weight, 3 means and 9 covariances."""

_MIN_LOG_LIKELIHOOD = -700.0
"""The exponential underflows at -745; weights and determinants take the rest."""

_MIN_DETERMINANT = 1e-6
"""OpenCV's lower limit, up to rounding."""

_NO_RECTANGLE = (0, 0, 0, 0)
"""Read only in modes that are not used here."""


def grabcut(
    image_rgb: NDArray[np.uint8], trimap: NDArray[np.uint8], seed: int, max_iterations: int = 5
) -> NDArray[np.bool_]:
    """Iterated GrabCut from a trimap, until the labeling no longer changes.

    Args:
        image_rgb: uint8 ``(H, W, 3)``.
        trimap: uint8 ``(H, W)`` in OpenCV's codes; seeds keep their label, the other pixels enter the
            first models by their probable one. Not changed.
        seed: of the first models, in [0, 2**31).
        max_iterations: at least 1.

    Returns:
        The mask, bool ``(H, W)``.

    Raises:
        ItemError: if foreground or background has fewer than 5 pixels, probable ones included.
    """
    return iterated_cut(image_rgb, trimap, seed, max_iterations)[0]


def iterated_cut(
    image_rgb: NDArray[np.uint8], trimap: NDArray[np.uint8], seed: int, max_iterations: int
) -> tuple[NDArray[np.bool_], ColorModels]:
    """What :func:`grabcut` does, with the color models that it ends with."""
    labels = trimap.copy()
    _require_samples(is_foreground(labels), "foreground")
    _require_samples(~is_foreground(labels), "background")
    background, foreground = np.zeros(_MODEL_SHAPE), np.zeros(_MODEL_SHAPE)
    mode = cv2.GC_INIT_WITH_MASK
    for _ in range(max_iterations):
        before = labels.copy()
        cv2.setRNGSeed(seed)
        cv2.grabCut(image_rgb, labels, _NO_RECTANGLE, background, foreground, 1, mode)
        mode = cv2.GC_EVAL
        if np.array_equal(before, labels) or not is_foreground(labels).any():
            break
    return is_foreground(labels), (background, foreground)


def graphcut_2013(
    image_rgb: NDArray[np.uint8], seeds: NDArray[np.uint8], clamps: NDArray[np.uint8], seed: int
) -> NDArray[np.bool_]:
    """One cut with the color models of the seeds.

    Args:
        image_rgb: uint8 ``(H, W, 3)``.
        seeds: uint8 ``(H, W)``, OpenCV's codes: whose pixels the two models are fitted to.
        clamps: uint8 ``(H, W)``, OpenCV's codes: the pixels whose label the cut may not change.
        seed: of the models, in [0, 2**31).

    Returns:
        The mask, bool ``(H, W)``.

    Raises:
        ItemError: if there are fewer than 5 seeds of a kind.
    """
    return single_cut(image_rgb, clamps, fit_color_models(image_rgb, seeds, seed))


def single_cut(image_rgb: NDArray[np.uint8], clamps: NDArray[np.uint8], models: ColorModels) -> NDArray[np.bool_]:
    """One cut with color models that stay as they are.

    Args:
        image_rgb: uint8 ``(H, W, 3)``.
        clamps: uint8 ``(H, W)``, OpenCV's codes: the pixels whose label the cut may not change. Which label is the
            probable one of the others does not matter. Not changed.
        models: of both labels.

    Returns:
        The mask, bool ``(H, W)``.
    """
    labels, free = clamps.copy(), ~is_seed(clamps)
    labels[free] = _labels_of_unknown_colors(image_rgb[free], models)
    cv2.grabCut(image_rgb, labels, _NO_RECTANGLE, *models, 1, cv2.GC_EVAL_FREEZE_MODEL)
    return is_foreground(labels)


def fit_color_models(image_rgb: NDArray[np.uint8], seeds: NDArray[np.uint8], seed: int) -> ColorModels:
    """The Gaussian mixtures of the background and foreground seeds.

    Raises:
        ItemError: if there are fewer than 5 seeds of a kind.
    """
    _require_samples(seeds == FOREGROUND, "foreground")
    _require_samples(seeds == BACKGROUND, "background")
    chosen = is_seed(seeds)
    # An image of one column, of the seed pixels alone.
    pixels, labels = image_rgb[chosen][:, None], seeds[chosen][:, None].copy()
    background, foreground = np.zeros(_MODEL_SHAPE), np.zeros(_MODEL_SHAPE)
    cv2.setRNGSeed(seed)
    cv2.grabCut(pixels, labels, _NO_RECTANGLE, background, foreground, 0, cv2.GC_INIT_WITH_MASK)
    return background, foreground


def has_samples(trimap: NDArray[np.uint8]) -> bool:
    """Whether GrabCut can start from a trimap: 5 pixels or more on either side, probable ones included."""
    foreground = is_foreground(trimap)
    return bool(min(foreground.sum(), (~foreground).sum()) >= GMM_COMPONENTS)


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
    as_background, as_foreground = (_log_likelihood(pixels.astype(np.float64), model) for model in models)
    likelier = np.where(as_foreground > as_background, FOREGROUND, BACKGROUND)
    known = np.maximum(as_background, as_foreground) > _MIN_LOG_LIKELIHOOD
    return np.where(known, PROBABLE_FOREGROUND, likelier).astype(np.uint8)


def _log_likelihood(colors: NDArray[np.float64], model: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of colors ``(N, 3)`` under the Gaussian that explains each best, which falls short by log 5 at most."""
    weights, means, covariances = np.split(model[0], [GMM_COMPONENTS, 4 * GMM_COMPONENTS])
    best = np.full(len(colors), -np.inf)
    for weight, mean, covariance in zip(weights, means.reshape(-1, 3), covariances.reshape(-1, 3, 3), strict=True):
        if weight > 0:
            away = colors - mean
            distance = np.einsum("ni,ni->n", away @ np.linalg.pinv(covariance, hermitian=True), away)
            determinant = max(np.linalg.det(covariance), _MIN_DETERMINANT)
            np.maximum(best, np.log(weight / np.sqrt(determinant)) - distance / 2, out=best)
    return best


def _require_samples(chosen: NDArray[np.bool_], name: str) -> None:
    if (count := int(chosen.sum())) < GMM_COMPONENTS:
        raise ItemError(f"the map gives {count} {name} seeds, fewer than the {GMM_COMPONENTS} that a color model needs")
