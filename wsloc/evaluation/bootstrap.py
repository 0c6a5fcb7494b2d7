"""Bootstrap intervals over images, also of paired differences."""

from __future__ import annotations

from collections.abc import Callable, Sized
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
_CONFIDENCE = 0.95
_CHUNK_VALUES = 4_000_000
"""Weights that are drawn at once, which bounds the memory."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric in [0, 1] (a difference: [-1, 1]) and its 95 % percentile bootstrap interval over images."""

    value: float
    low: float
    high: float


ByImage = TypeVar("ByImage", bound=Sized)
"""What is judged, by image; its length is N."""
Statistic = Callable[[NDArray[np.float64], ByImage], NDArray[np.float64]]
"""A metric under B weightings of the N images: ``(B, N)`` and what is judged to ``(B,)``."""


def estimate(statistic: Statistic[ByImage], judged: ByImage, other: ByImage | None = None, seed: int = 0) -> Estimate:
    """A metric with its interval; with ``other`` the difference to it, paired by image.

    A resample in which the metric is not defined (NaN) is left out of the interval.

    Args:
        statistic: the metric.
        judged: at least one image.
        other: on the same items.
        seed: of the resampling; the same seed draws the same images for the same number of images.
    """

    def value(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        own = statistic(weights, judged)
        return own if other is None else own - statistic(weights, other)

    count = len(judged)
    point = float(value(np.ones((1, count)))[0])
    generator = np.random.default_rng(seed)
    chunk = min(RESAMPLES, max(1, _CHUNK_VALUES // count))
    drawn = np.concatenate(
        [
            value(generator.multinomial(count, np.full(count, 1 / count), size=size).astype(np.float64))
            for start in range(0, RESAMPLES, chunk)
            for size in [min(chunk, RESAMPLES - start)]
        ]
    )
    known = drawn[~np.isnan(drawn)]
    if not len(known):
        return Estimate(point, float("nan"), float("nan"))
    low, high = np.quantile(known, [(1 - _CONFIDENCE) / 2, (1 + _CONFIDENCE) / 2])
    return Estimate(point, float(low), float(high))
