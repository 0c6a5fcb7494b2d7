"""Charts as plain numbers; ``templates/chart.html.jinja`` draws them as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ticks = tuple[tuple[float, str], ...]
Point = tuple[float, float]
_MAX_POINTS = 200
UNIT_TICKS: Ticks = ((0, "0"), (0.25, "0.25"), (0.5, "0.5"), (0.75, "0.75"), (1, "1"))
PERCENT_TICKS: Ticks = ((0, "0"), (0.25, "25"), (0.5, "50"), (0.75, "75"), (1, "100"))


@dataclass(frozen=True, slots=True)
class Line:
    """A curve with its name in the legend and the index of its color; baselines are dashed."""

    name: str
    points: tuple[Point, ...]
    color: int
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar in units of the axes; ``title`` shows under the pointer, ``low`` and ``high`` are the ends of a whisker."""

    x0: float
    x1: float
    y: float
    title: str
    color: int = 0
    low: float | None = None
    high: float | None = None
    faint: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart.

    Attributes:
        key: unique on its page.
        summary: what it shows, in a sentence or two; also for readers who cannot see it.
        x_ticks: positions and labels.
        bars: behind the lines.
        marks: positions on the x axis with a vertical line.
        legend: names and color indices of bars; lines name themselves.
    """

    key: str
    title: str
    summary: str
    x_label: str
    y_label: str
    x_range: Point
    y_range: Point
    x_ticks: Ticks
    y_ticks: Ticks
    lines: tuple[Line, ...] = ()
    bars: tuple[Bar, ...] = ()
    marks: tuple[float, ...] = ()
    legend: tuple[tuple[str, int], ...] = ()


def thinned(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[Point, ...]:
    """At most 200 points of a curve, its ends included, evenly along ``x``, which ascends."""
    if len(x) > _MAX_POINTS:
        kept = np.unique(np.searchsorted(x, np.linspace(x[0], x[-1], _MAX_POINTS)).clip(0, len(x) - 1))
        x, y = x[kept], y[kept]
    return tuple(zip(x.tolist(), y.tolist(), strict=True))


def count_ticks(maximum: float) -> tuple[Point, Ticks]:
    """Range and ticks of an axis of counts up to ``maximum``, at round numbers."""
    top = max(maximum, 1)
    step = next(factor * 10**power for power in range(12) for factor in (1, 2, 5) if top / (factor * 10**power) <= 4)
    end = step * int(np.ceil(top / step))
    return (0, end), tuple((value, f"{value:,}") for value in range(0, end + 1, step))


def histogram_bars(edges: Sequence[float], counts: Sequence[int], labels: Sequence[str]) -> tuple[Bar, ...]:
    """A bar for each bin; ``labels`` say what a bin holds."""
    total = max(sum(counts), 1)
    return tuple(
        Bar(left, right, count, f"{label}: {count:,} ({100 * count / total:.1f} %)")
        for left, right, count, label in zip(edges[:-1], edges[1:], counts, labels, strict=True)
        if count
    )
