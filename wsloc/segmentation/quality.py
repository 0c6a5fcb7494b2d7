"""How well a mask and its map agree, found without ground truth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def agreement(saliency: NDArray[np.float32], mask: NDArray[np.bool_]) -> float:
    """The cosine between a map and a mask, taken as vectors of pixels: ``sum(s * m) / (|s| * |m|)``.

    Low where much saliency lies outside the mask, and where the mask holds much that is not salient. Of all masks,
    the one with the highest cosine holds the most salient pixels, down to some threshold. It does not depend on the
    scale of the map. Chosen on VOC among the candidates of ``scripts/benchmark_quality.py``.

    Args:
        saliency: float32 ``(H, W)``, >= 0; NaN pixels do not count.
        mask: bool ``(H, W)``.

    Returns:
        In [0, 1]: 1 where the map is flat inside the mask and zero outside; 0 where either is empty.
    """
    covered = ~np.isnan(saliency)
    values, inside = saliency[covered].astype(np.float64), mask[covered]
    lengths = np.sqrt(np.sum(values**2)) * np.sqrt(np.sum(inside))
    # Rounding may end a little above 1.
    return min(float(values[inside].sum() / lengths), 1.0) if lengths > 0 else 0.0
