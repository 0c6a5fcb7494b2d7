"""Items in groups: by the size of their objects, and by how many there are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wsloc import boxes
from wsloc.evaluation.judging import TrueBoxes

SIZE_EDGES = (0.15, 0.4)
"""Fractions of the image that separate small, medium and large objects."""
COUNT_EDGES = (2, 4)
"""Objects of the class in the image from which on there are some, and many."""


def largest_fraction(true: TrueBoxes) -> NDArray[np.float64]:
    """Fraction of the image that the largest true box of each item covers, ``(N,)``."""
    own = true.item >= 0
    largest = np.zeros(len(true.items))
    np.maximum.at(largest, true.item[own], boxes.area(true.boxes_xyxy[own]))
    return np.asarray(largest / true.size_wh.prod(axis=1)[true.items.image_index])


def size_groups(true: TrueBoxes) -> dict[str, NDArray[np.bool_]]:
    """Which items ``(N,)`` have an object of which size, by the largest one's fraction of the image."""
    fraction, (small, large) = largest_fraction(true), SIZE_EDGES
    return {
        f"below {100 * small:.0f} %": fraction < small,
        f"{100 * small:.0f} to {100 * large:.0f} %": (fraction >= small) & (fraction < large),
        f"above {100 * large:.0f} %": fraction >= large,
    }


def object_counts(true: TrueBoxes) -> NDArray[np.int64]:
    """True boxes of each item, ``(N,)``, difficult ones included."""
    return np.bincount(true.item[true.item >= 0], minlength=len(true.items))


def count_groups(true: TrueBoxes) -> dict[str, NDArray[np.bool_]]:
    """Which items ``(N,)`` are one of how many objects of their class in the image."""
    counts, (some, many) = object_counts(true), COUNT_EDGES
    return {
        "1 object": counts < some,
        f"{some} or {many - 1} objects": (counts >= some) & (counts < many),
        f"{many} or more": counts >= many,
    }
