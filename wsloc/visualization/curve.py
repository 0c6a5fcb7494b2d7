"""A curve with axes."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from wsloc.images import read_image


def draw_curve(values: Sequence[float], x_label: str, y_label: str) -> NDArray[np.uint8]:
    """Values over their numbers from 0, joined by lines.

    Returns:
        RGB uint8 ``(400, 640, 3)``.
    """
    figure = Figure(figsize=(6.4, 4.0), dpi=100, layout="constrained")
    axes = figure.subplots()
    axes.plot(values)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(alpha=0.3)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    return read_image(drawn.getvalue())
