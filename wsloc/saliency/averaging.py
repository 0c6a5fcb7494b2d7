"""Maps of several views of one image, put back where the views came from and averaged.

Simonyan et al. 2013, section 3.1, average the maps of ten cropped and mirrored sub-images. Maps of other
scales are brought to the frame's first.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from wsloc.classifiers.preprocessing import Views

_SHRINK, _GROW = cv2.INTER_AREA, cv2.INTER_LINEAR


def average_views(views: Views, maps: Sequence[Tensor]) -> NDArray[np.float32]:
    """The mean map in the frame of the resized image.

    Args:
        views: where each view came from.
        maps: one ``(H, W)`` map for each view, on the CPU.

    Returns:
        Float32 ``(frame height, frame width)``; NaN where no view reached, so that such a pixel stays
        undecided instead of counting as background; infinite where a map was not finite.
    """
    total = np.zeros(views.frame_hw, dtype=np.float32)
    count = np.zeros(views.frame_hw, dtype=np.float32)
    level = float(maps[0].mean())
    for view, view_map in zip(views.views, maps, strict=True):
        # A NaN of the network must not pass for a pixel that no view reached.
        values = np.nan_to_num(view_map.numpy(), nan=np.inf, posinf=np.inf)
        x0, y0, x1, y1 = view.part_xyxy
        if values.shape != (y1 - y0, x1 - x0):
            shrinking = values.shape[0] > y1 - y0
            values = cv2.resize(values, (x1 - x0, y1 - y0), interpolation=_SHRINK if shrinking else _GROW)
            values = _brought_to(level, values)
        window = np.s_[y0:y1, x0:x1]
        total[window] += values[:, ::-1] if view.mirrored else values
        count[window] += 1
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def _brought_to(level: float, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """A map of another scale with the mean of the first view's, as far as both have one.

    A gradient falls as the number of pixels grows: unscaled, 3/4 of the size would outweigh 5/4 about threefold.
    """
    mean = float(values.mean())
    if not (np.isfinite(level) and np.isfinite(mean) and level > 0 and mean > 0):
        return values
    return values * np.float32(level / mean)
