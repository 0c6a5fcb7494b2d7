"""How well a mask and its map agree, found without ground truth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def contrast(saliency: NDArray[np.float32], mask: NDArray[np.bool_]) -> float:
    """Mean saliency inside the mask over the sum of the means inside and outside.

    Args:
        saliency: float32 ``(H, W)``, >= 0; NaN pixels do not count.
        mask: bool ``(H, W)``.

    Returns:
        In [0, 1]: 1 where all saliency lies inside, 0.5 where the mask says nothing (also where it is empty
        or covers everything).
    """
    covered = ~np.isnan(saliency)
    inside, outside = saliency[mask & covered], saliency[~mask & covered]
    if not inside.size or not outside.size:
        return 0.5
    mean_inside, mean_outside = float(inside.mean(dtype=np.float64)), float(outside.mean(dtype=np.float64))
    total = mean_inside + mean_outside
    return mean_inside / total if total > 0 else 0.5
