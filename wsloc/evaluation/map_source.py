"""Where the saliency maps that are judged come from, and what their undecided pixels count for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.floating[Any]]
"""``(h, w)``, at least 1 x 1: covers the whole image at any resolution; higher is more salient; NaN where undecided."""
MapOf = Callable[[str, str], Map | None]
"""From image id and class name to the map of an item; None if it has none, and counts as missed everywhere."""


def filled(saliency: Map) -> NDArray[np.float64]:
    """The map with its undecided pixels (not finite) at the minimum of the others; all 0 where nothing is decided."""
    values: NDArray[np.float64] = saliency.astype(np.float64)
    decided = np.isfinite(values)
    values[~decided] = values[decided].min() if decided.any() else 0
    return values


def stretched(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Finite values, shifted and scaled to [0, 1]; all 0 where they do not differ."""
    shifted: NDArray[np.float64] = values - values.min()
    peak = shifted.max()
    return shifted / peak if peak > 0 else np.zeros_like(shifted)
