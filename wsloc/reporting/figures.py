"""The charts of one run."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsloc.errors import counted
from wsloc.evaluation.bootstrap import Estimate, estimate
from wsloc.evaluation.corloc import IOU_THRESHOLD, class_wise
from wsloc.evaluation.histograms import BoxErrors, box_errors, iou_histogram
from wsloc.evaluation.items import ItemValues, mean_over_items
from wsloc.evaluation.judging import Judged, TrueBoxes
from wsloc.evaluation.kept_curve import JudgedBoxes, gain, kept_curve, rank
from wsloc.evaluation.object_groups import size_groups
from wsloc.evaluation.summary import RUN
from wsloc.evaluation.table import format_interval, format_points
from wsloc.judging.detection_metrics import scores_of
from wsloc.records import Box
from wsloc.reporting.charts import PERCENT_TICKS, UNIT_TICKS, Bar, Chart, Line, count_ticks, histogram_bars, thinned

_THRESHOLDS = np.linspace(0, 1, 51)
_LOG_EDGES = np.linspace(-3, 3, 25)
_LOG_TICKS = ((-3.0, "1/8"), (-2.0, "1/4"), (-1.0, "1/2"), (0.0, "1"), (1.0, "2"), (2.0, "4"), (3.0, "8"))
TOO_LARGE = 1.5
"""Ratio of areas from which a box that misses is called too large, or, inverted, too small."""


@dataclass(frozen=True, slots=True)
class MissKind:
    """A group of items: its name, size, and fraction of all items in [0, 1]."""

    name: str
    count: int
    fraction: float


def run_charts(
    judged: Mapping[str, Judged], true: TrueBoxes, kept: JudgedBoxes | None, localizations: Sequence[Box]
) -> tuple[Chart, ...]:
    """All charts of a run that has ground truth.

    Args:
        judged: the run and the baselines.
        true: the true boxes that they were judged on.
        kept: all boxes of the run; None if there is none.
        localizations: of the run.
    """
    errors = box_errors(true, localizations)
    charts = [iou_chart(judged[RUN]), sweep_chart(judged)]
    if kept is not None:
        charts.append(kept_chart(kept))
    charts.append(size_chart(judged, true))
    if len(errors.item):
        charts += [area_chart(errors), aspect_chart(errors)]
    return tuple(charts)


def iou_chart(judged: Judged) -> Chart:
    """How many items reach which IoU; items with nothing are counted separately."""
    histogram = iou_histogram(judged)
    edges = histogram.edges.tolist()
    labels = [f"IoU {left:.2f} to {right:.2f}" for left, right in itertools.pairwise(edges)]
    y_range, y_ticks = count_ticks(max(histogram.nothing, *histogram.counts.tolist()))
    found = int((judged.iou > IOU_THRESHOLD).sum())
    bars = histogram_bars(edges, histogram.counts.tolist(), labels)
    nothing = Bar(-0.15, -0.1, histogram.nothing, f"no box, or one beside the object: {histogram.nothing:,}", 0)
    return Chart(
        "iou",
        "IoU of the boxes",
        f"Above IoU 0.5, where a box counts as found: {found:,} of {counted(len(judged.items), 'item')}. Apart at "
        f"the left: {histogram.nothing:,} without a box, or whose box misses the object altogether.",
        "IoU with the best true box",
        "items",
        (-0.18, 1),
        y_range,
        ((-0.125, "none"), *UNIT_TICKS),
        y_ticks,
        bars=tuple(
            Bar(bar.x0, bar.x1, bar.y, bar.title, bar.color, faint=bar.x1 <= IOU_THRESHOLD + 1e-9)
            for bar in (nothing, *bars)
            if bar.y
        ),
        marks=(IOU_THRESHOLD,),
    )


def sweep_chart(judged: Mapping[str, Judged]) -> Chart:
    """CorLoc against the IoU that counts as found, for each name."""
    lines = tuple(
        Line(name, tuple(zip(_THRESHOLDS.tolist(), sweep(result), strict=True)), index, dashed=index > 0)
        for index, (name, result) in enumerate(judged.items())
    )
    return sweep_of(lines)


def sweep_of(lines: tuple[Line, ...]) -> Chart:
    """The same from given curves."""
    return Chart(
        "sweep",
        "CorLoc against the threshold",
        "How class-wise CorLoc falls when a higher IoU is required. The usual threshold is 0.5.",
        "IoU threshold",
        "CorLoc, %",
        (0, 1),
        (0, 1),
        UNIT_TICKS,
        PERCENT_TICKS,
        lines=lines,
        marks=(IOU_THRESHOLD,),
    )


def sweep(judged: Judged) -> list[float]:
    """Class-wise CorLoc at the thresholds of the chart."""
    once = np.ones((1, len(judged)))
    return [float(class_wise(once, judged, float(threshold))[0]) for threshold in _THRESHOLDS]


def kept_chart(kept: JudgedBoxes) -> Chart:
    """Precision against the fraction of boxes kept, by both scores of a record."""
    lines, gains = [], []
    for index, (name, scores) in enumerate(scores_of(kept).items()):
        curve = kept_curve(kept, scores, kept.right)
        lines.append(Line(name, thinned(curve.fraction, curve.precision), index))
        worth = estimate(gain, rank(kept, scores, kept.right))
        gains.append(f"{name} {format_points(worth)} points")
        best = curve.best
    fraction = np.arange(1, len(best) + 1) / len(best)
    lines.append(Line("best possible order", thinned(fraction, best), 4, dashed=True))
    overall = float(best[-1])
    lines.append(Line("random order", ((0.0, overall), (1.0, overall)), 2, dashed=True))
    return kept_of(
        lines,
        "kept",
        "Precision against fraction kept",
        "How well a score sorts out bad boxes: the fraction of right boxes (IoU > 0.5) among the most "
        f"certain ones. Gain in area over a random order: {'; '.join(gains)}.",
    )


def kept_of(lines: Sequence[Line], key: str, title: str, summary: str) -> Chart:
    """Curves of precision against the fraction of boxes kept."""
    return Chart(
        key,
        title,
        summary,
        "boxes kept, %",
        "right boxes, %",
        (0, 1),
        (0, 1),
        PERCENT_TICKS,
        PERCENT_TICKS,
        lines=tuple(lines),
    )


def found_fraction(judged: Judged, kept: NDArray[np.bool_]) -> Estimate | None:
    """Fraction of found items among some; None if there is none."""
    if not kept.any():
        return None
    hits = (judged.iou > IOU_THRESHOLD).astype(np.float64)[kept]
    return estimate(mean_over_items, ItemValues(judged.items.keep(kept), hits))


def size_chart(judged: Mapping[str, Judged], true: TrueBoxes) -> Chart:
    """Fraction of found items by the size of the object, for each name."""
    bars, ticks, counts = [], [], []
    width = 0.8 / len(judged)
    for position, (group, kept) in enumerate(size_groups(true).items()):
        ticks.append((float(position), group))
        counts.append(f"{int(kept.sum()):,}")
        for index, (name, result) in enumerate(judged.items()):
            found = found_fraction(result, kept)
            if found is None:
                continue
            left = position - 0.4 + index * width
            title = f"{name}, objects {group} of the image: {format_interval(found)} %"
            bars.append(Bar(left, left + 0.88 * width, found.value, title, index, found.low, found.high))
    return Chart(
        "size",
        "CorLoc by object size",
        "Fraction of items found (IoU > 0.5), by the fraction of the image that the largest object of the class covers "
        f"(items: {', '.join(counts)}). Whiskers: 95 % intervals.",
        "object over image",
        "found, %",
        (-0.5, len(ticks) - 0.5),
        (0, 1),
        tuple(ticks),
        PERCENT_TICKS,
        bars=tuple(bars),
        legend=tuple((name, index) for index, name in enumerate(judged)),
    )


def area_chart(errors: BoxErrors) -> Chart:
    """How much too large or too small the boxes are."""
    middle = float(np.median(errors.log2_area))
    return _log_chart(
        "area",
        "Size of the boxes",
        errors.log2_area,
        f"Area of the box over that of the true box it overlaps most. The median is {2**middle:.2f}; "
        f"{_percent(errors.log2_area > 1)} of the boxes are more than twice too large, "
        f"{_percent(errors.log2_area < -1)} less than half as large.",
        "predicted over true area",
    )


def aspect_chart(errors: BoxErrors) -> Chart:
    """How much too wide or too tall the boxes are."""
    middle = float(np.median(errors.log2_aspect))
    return _log_chart(
        "aspect",
        "Shape of the boxes",
        errors.log2_aspect,
        f"Width by height of the box over that of the true box. The median is {2**middle:.2f}; "
        f"{_percent(np.abs(errors.log2_aspect) > 1)} of the boxes are off by more than a factor of two.",
        "predicted over true aspect (right: too wide)",
    )


def _log_chart(key: str, title: str, values: NDArray[np.float64], summary: str, x_label: str) -> Chart:
    """A histogram over factors from 1/8 to 8; what is beyond counts at the ends."""
    counts, _ = np.histogram(values.clip(_LOG_EDGES[0], _LOG_EDGES[-1]), _LOG_EDGES)
    edges = _LOG_EDGES.tolist()
    labels = [f"{2**left:.2f} to {2**right:.2f}" for left, right in itertools.pairwise(edges)]
    y_range, y_ticks = count_ticks(int(counts.max()))
    return Chart(
        key,
        title,
        summary,
        x_label,
        "boxes",
        (edges[0], edges[-1]),
        y_range,
        _LOG_TICKS,
        y_ticks,
        bars=histogram_bars(edges, counts.tolist(), labels),
        marks=(0.0,),
    )


def miss_kinds(judged: Judged, true: TrueBoxes, localizations: Sequence[Box]) -> tuple[MissKind, ...]:
    """What became of the items: found, or why the box does not count as found; fractions of all items."""
    errors = box_errors(true, localizations)
    missed = judged.iou <= IOU_THRESHOLD
    off = missed[errors.item]
    limit = np.log2(TOO_LARGE)
    large, small = int((off & (errors.log2_area > limit)).sum()), int((off & (errors.log2_area < -limit)).sum())
    counts = {
        "found": int((~missed).sum()),
        "box too large": large,
        "box too small": small,
        "beside the object": int(off.sum()) - large - small,
        "nothing of the object": int(missed.sum()) - int(off.sum()),
    }
    return tuple(MissKind(name, count, count / len(judged.items)) for name, count in counts.items())


def _percent(chosen: NDArray[np.bool_]) -> str:
    return f"{100 * chosen.mean():.0f} %"
