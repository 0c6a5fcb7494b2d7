"""Whether the values of a map say anything."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_ROUNDING = 16 * float(np.finfo(np.float32).eps)
"""What resizing and averaging in float32 may add to equal values, relative to them."""


def is_flat(values: NDArray[np.floating[Any]]) -> bool:
    """Whether values, finite and at least one, are all equal but for the rounding of float32."""
    low, high = float(values.min()), float(values.max())
    return high - low <= _ROUNDING * max(abs(low), abs(high))
