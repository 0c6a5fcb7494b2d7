"""From a mask to the boxes of its connected components."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Component:
    """One connected component of a mask.

    Attributes:
        box_xyxy: half-open, 0-based, whole pixels of the mask.
        mask: bool ``(H, W)``, this component alone.
    """

    box_xyxy: tuple[int, int, int, int]
    mask: NDArray[np.bool_]


def largest_components(
    mask: NDArray[np.bool_], count: int | None = 1, min_area_fraction: float = 0.0
) -> tuple[Component, ...]:
    """The largest 8-connected components, the largest first; of equal ones the upper, then the left one first.

    Args:
        mask: bool ``(H, W)``.
        count: how many at most; None for all.
        min_area_fraction: minimum area of the second and later ones as a fraction of ``H * W``; the
            largest is returned whatever its area.

    Returns:
        No component for an empty mask.
    """
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    # OpenCV numbers components in blocks of two rows, not by their uppermost pixel.
    order = np.lexsort((stats[1:, cv2.CC_STAT_LEFT], stats[1:, cv2.CC_STAT_TOP], -areas))[:count]
    kept = [int(i) for rank, i in enumerate(order) if rank == 0 or areas[i] >= min_area_fraction * mask.size]
    components = []
    for label in (i + 1 for i in kept):
        x, y, width, height = (int(stats[label, column]) for column in range(4))
        components.append(Component((x, y, x + width, y + height), labels == label))
    return tuple(components)
