"""The highest point of a map, for the pointing game."""

from __future__ import annotations

import numpy as np

from wsloc.evaluation.map_source import Map, filled


def highest_point(saliency: Map, size_wh: tuple[int, int]) -> tuple[float, float] | None:
    """The center of the map's highest pixel, x and y in pixels of the image; of equal ones the first in reading order.

    Args:
        saliency: ``(h, w)``.
        size_wh: of the image.

    Returns:
        None for a flat map, which points nowhere.
    """
    values = filled(saliency)
    if values.min() == values.max():
        return None
    height, width = values.shape
    row, column = divmod(int(np.argmax(values)), width)
    return (column + 0.5) * size_wh[0] / width, (row + 0.5) * size_wh[1] / height
