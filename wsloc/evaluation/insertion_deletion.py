"""Insertion and deletion: how fast a class is recognized, or lost, as the pixels of a map are shown or hidden.

Petsiuk et al. 2018 (RISE, arXiv 1806.07421), section 4.2, with the choices of the code that the authors published
(github.com/eclique/RISE): pixels go from the highest down, one row's worth at a time; deleted ones become 0 in the
normalized input; inserted ones appear on the image blurred by a Gaussian of sigma 5 cut at 11 x 11 pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from wsloc.evaluation.map_source import Map

BLUR_SIDE = 11
BLUR_SIGMA = 5.0


@dataclass(frozen=True, slots=True, eq=False)
class CausalCurves:
    """How the probability of a class changes.

    Attributes:
        insertion: float64 ``(S + 1,)``: from the blurred image to the whole one; the higher its area, the better.
        deletion: float64 ``(S + 1,)``: from the image to nothing; the lower its area, the better.
    """

    insertion: NDArray[np.float64]
    deletion: NDArray[np.float64]

    @property
    def insertion_auc(self) -> float:
        """Area under the insertion curve, its length being 1."""
        return area_under(self.insertion)

    @property
    def deletion_auc(self) -> float:
        """Area under the deletion curve, its length being 1."""
        return area_under(self.deletion)


def causal_curves(
    probability: Callable[[Tensor], Tensor],
    image: Tensor,
    saliency: Map,
    pixels_per_step: int | None = None,
    batch_size: int = 16,
) -> CausalCurves:
    """Both curves of one map.

    Args:
        probability: of the class, from images ``(N, C, H, W)`` to ``(N,)`` in [0, 1]; N is at most ``batch_size``.
        image: ``(C, H, W)``, as the network gets it, normalized.
        saliency: ``(H, W)``; of equal values the first in reading order goes first, undecided ones go last.
        pixels_per_step: None for W, which makes H steps of an image: the published 224 at 224 x 224.
        batch_size: images that are looked at together.

    Raises:
        ValueError: if the map is not of the image's size.
    """
    size_hw = tuple(image.shape[1:])
    if saliency.shape != size_hw:
        raise ValueError(f"the map must have the image's size {size_hw}, not {saliency.shape}")
    descending = np.argsort(-np.where(np.isfinite(saliency), saliency, -np.inf), axis=None, kind="stable")
    position = np.empty(saliency.size, dtype=np.int64)
    position[descending] = np.arange(saliency.size)
    step_of = torch.from_numpy(position.reshape(size_hw) // (pixels_per_step or size_hw[1])).to(image.device)
    return CausalCurves(
        _curve(probability, blurred(image), image, step_of, batch_size),
        _curve(probability, image, torch.zeros_like(image), step_of, batch_size),
    )


def area_under(curve: NDArray[np.float64]) -> float:
    """Area under a curve of equal steps ``(S + 1,)``, S >= 1, whose whole length is 1, by the trapezoidal rule."""
    return float((curve.sum() - (curve[0] + curve[-1]) / 2) / (len(curve) - 1))


def blurred(image: Tensor) -> Tensor:
    """An image ``(C, H, W)`` blurred as published; what lies beyond the border counts as 0."""
    kernel = torch.from_numpy(_kernel()).to(image)
    channels = image.shape[0]
    return functional.conv2d(
        image[None], kernel.expand(channels, 1, -1, -1), padding=BLUR_SIDE // 2, groups=channels
    ).squeeze(0)


def _kernel() -> NDArray[np.float64]:
    """The published kernel: a single 1 in an array of 11 x 11, blurred by SciPy, which mirrors at the borders.

    So what a Gaussian has beyond the array is folded back into it, and the sum stays 1.
    """
    reach = int(4 * BLUR_SIGMA + 0.5)
    offsets = np.arange(-reach, reach + 1)
    gaussian = np.exp(-0.5 * (offsets / BLUR_SIGMA) ** 2)
    position = np.mod(offsets + BLUR_SIDE // 2, 2 * BLUR_SIDE)
    folded = np.minimum(position, 2 * BLUR_SIDE - 1 - position)
    row = np.bincount(folded, gaussian / gaussian.sum(), minlength=BLUR_SIDE)
    return np.asarray(np.outer(row, row), dtype=np.float64)


def _curve(
    probability: Callable[[Tensor], Tensor], start: Tensor, finish: Tensor, step_of: Tensor, batch_size: int
) -> NDArray[np.float64]:
    """The probability after each step; ``step_of`` ``(H, W)`` says with which, from 0, a pixel changes."""
    steps = int(step_of.max()) + 1
    values = []
    with torch.no_grad():
        for first in range(0, steps + 1, batch_size):
            done = torch.arange(first, min(first + batch_size, steps + 1), device=step_of.device)
            changed = (step_of < done[:, None, None])[:, None]
            values.append(probability(torch.where(changed, finish, start)).double().cpu().numpy())
    return np.concatenate(values)
