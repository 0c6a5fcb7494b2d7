"""Hypercolumns (Hariharan et al. 2015): what several layers say of one position, as one vector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

DIMENSIONS = (64, 96, 128)
"""Principal components kept of each layer, finest first; the coarse ones have more to say."""
SCALE = 3.0
"""Standard deviation of each layer's first component, so that no layer drowns the others."""


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """From a layer's K channels to its first D principal components.

    Attributes:
        mean: float32 ``(K,)``.
        basis: float32 ``(K, D)``, scaled.
    """

    mean: Tensor
    basis: Tensor


class Moments:
    """Count, sum and products of vectors that come in a stream; memory does not grow with their number."""

    def __init__(self) -> None:
        """Begin with none."""
        self.count = 0
        self._sum: NDArray[np.float64] | float = 0.0
        self._products: NDArray[np.float64] | float = 0.0

    def add(self, vectors: NDArray[np.floating]) -> None:
        """Add vectors ``(N, K)``."""
        vectors = vectors.astype(np.float64)
        self.count += len(vectors)
        self._sum = self._sum + vectors.sum(axis=0)
        self._products = self._products + vectors.T @ vectors

    def projection(self, dimensions: int) -> Projection:
        """Their principal components, at most ``dimensions``; at least one vector must have been added."""
        mean = np.asarray(self._sum / self.count)
        variances, directions = np.linalg.eigh(self._products / self.count - np.outer(mean, mean))
        basis = directions[:, ::-1][:, :dimensions] * (SCALE / np.sqrt(max(variances[-1], 1e-12)))
        return Projection(torch.from_numpy(mean).float(), torch.from_numpy(basis.copy()).float())


def hypercolumns(features: Mapping[str, NDArray[np.float16]], projections: Mapping[str, Projection]) -> Tensor:
    """The vector of each position of an image.

    Args:
        features: by layer, ``(K, h, w)`` over the whole image.
        projections: by layer.

    Returns:
        Float32 ``(D, H, W)``, at the finest grid of the layers; coarser ones are interpolated.
    """
    finest = max((features[layer].shape[1:] for layer in projections), key=lambda hw: hw[0] * hw[1])
    return torch.cat([_projected(features[layer], own, finest) for layer, own in projections.items()])


def dimensions_of(layers: Sequence[str]) -> dict[str, int]:
    """How many components each layer keeps."""
    return {layer: DIMENSIONS[max(len(DIMENSIONS) - len(layers) + index, 0)] for index, layer in enumerate(layers)}


def _projected(features: NDArray[np.float16], projection: Projection, size_hw: Sequence[int]) -> Tensor:
    values = torch.from_numpy(features.astype(np.float32))
    components = torch.einsum("khw,kd->dhw", values - projection.mean[:, None, None], projection.basis)
    resized = F.interpolate(components[None], tuple(size_hw), mode="bilinear", align_corners=False)
    return resized[0]
