"""Gaussian mixtures of the colors of object and background, as OpenCV's GrabCut reads them.

OpenCV would start them by k-means from the random generator of the calling thread. Here the colors are split by the
method of Orchard, Bouman 1991 ("Color quantization of images"), which needs no random numbers: a photograph and its map
have one answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsloc.errors import ItemError

ColorModel = NDArray[np.float64]
"""A mixture, ``(1, 65)`` in OpenCV's layout: 5 weights, 5 x 3 means, 5 x 9 covariances."""
ColorModels = tuple[ColorModel, ColorModel]
"""Of background and foreground."""

COMPONENTS = 5
"""Gaussians of each model, fixed in OpenCV; fewer pixels than that cannot be modeled."""

MIN_DETERMINANT, WHITE_NOISE = 1e-6, 0.01
"""OpenCV's: below this determinant, a covariance matrix gets this variance more in each channel."""


def fit_color_models(image_rgb: NDArray[np.uint8], is_foreground: NDArray[np.bool_]) -> ColorModels:
    """The models of the pixels on either side.

    Args:
        image_rgb: uint8 ``(..., 3)``.
        is_foreground: bool ``(...)``.

    Raises:
        ItemError: if there are fewer than 5 pixels on a side.
    """
    require_samples(is_foreground)
    return _mixture(image_rgb[~is_foreground]), _mixture(image_rgb[is_foreground])


def require_samples(is_foreground: NDArray[np.bool_]) -> None:
    """Raise :class:`ItemError` unless there are pixels for a color model on both sides of a mask."""
    for side, name in ((is_foreground, "foreground"), (~is_foreground, "background")):
        if (count := int(side.sum())) < COMPONENTS:
            raise ItemError(f"the map gives {count} {name} seeds, fewer than the {COMPONENTS} that a color model needs")


def log_likelihood(colors: NDArray[np.float64], model: ColorModel) -> NDArray[np.float64]:
    """Of colors ``(N, 3)`` under the Gaussian that explains each best, which falls short by log 5 at most."""
    weights, means, covariances = np.split(model[0], [COMPONENTS, 4 * COMPONENTS])
    best = np.full(len(colors), -np.inf)
    for weight, mean, covariance in zip(weights, means.reshape(-1, 3), covariances.reshape(-1, 3, 3), strict=True):
        if weight > 0:
            away = colors - mean
            distance = np.einsum("ni,ni->n", away @ np.linalg.pinv(covariance, hermitian=True), away)
            determinant = max(np.linalg.det(covariance), MIN_DETERMINANT)
            np.maximum(best, np.log(weight / np.sqrt(determinant)) - distance / 2, out=best)
    return best


def _mixture(colors: NDArray[np.uint8]) -> ColorModel:
    """The model of colors ``(N, 3)``: one Gaussian each for up to 5 clusters.

    The cluster with the largest scatter along its principal axis is split at its mean across this axis, until there are
    5, or all colors of each are alike.
    """
    clusters = [_Cluster.of(colors.astype(np.float64))]
    while len(clusters) < COMPONENTS:
        widest = max(range(len(clusters)), key=lambda index: clusters[index].scatter)
        if clusters[widest].scatter < MIN_DETERMINANT:
            break
        clusters += map(_Cluster.of, clusters.pop(widest).halves())
    model = np.zeros((1, 13 * COMPONENTS))
    weights, means, covariances = np.split(model[0], [COMPONENTS, 4 * COMPONENTS])
    for index, cluster in enumerate(clusters):
        covariance = cluster.covariance
        if np.linalg.det(covariance) <= MIN_DETERMINANT:
            covariance = covariance + WHITE_NOISE * np.eye(3)
        weights[index] = len(cluster.colors) / len(colors)
        means[3 * index : 3 * index + 3] = cluster.mean
        covariances[9 * index : 9 * index + 9] = covariance.reshape(-1)
    return model


@dataclass(frozen=True, eq=False)
class _Cluster:
    """Colors, their moments, and the axis along which they vary most.

    Attributes:
        colors: float64 ``(N, 3)``.
        mean: float64 ``(3,)``.
        covariance: float64 ``(3, 3)``.
        axis: float64 ``(3,)``, of length 1.
        scatter: sum of the squared distances from the mean along the axis.
    """

    colors: NDArray[np.float64]
    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    axis: NDArray[np.float64]
    scatter: float

    @classmethod
    def of(cls, colors: NDArray[np.float64]) -> _Cluster:
        mean = colors.mean(axis=0)
        away = colors - mean
        covariance = away.T @ away / len(colors)
        variances, axes = np.linalg.eigh(covariance)
        return cls(colors, mean, covariance, axes[:, -1], float(variances[-1]) * len(colors))

    def halves(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        beyond = (self.colors - self.mean) @ self.axis > 0
        return self.colors[beyond], self.colors[~beyond]
