"""What a page shows of a run without true boxes: its classes by quality, and how many boxes a minimum score keeps."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wsloc.records import BoxRecord, Failure
from wsloc.reporting.charts import UNIT_TICKS, Chart, Line, count_ticks, histogram_bars, thinned

MIN_SCORES = (0.5, 0.6, 0.7, 0.8, 0.9)
_BINS = 20


@dataclass(frozen=True, slots=True)
class ClassQuality:
    """The boxes of a class.

    Attributes:
        class_name: empty for images that failed before a class was known.
        boxes: how many.
        fallbacks: how many of them stand in for an empty mask.
        failures: items without a box.
        median: of the qualities, in [0, 1]; None without a box.
        kept: how many boxes have at least each quality of :data:`MIN_SCORES`.
    """

    class_name: str
    boxes: int
    fallbacks: int
    failures: int
    median: float | None
    kept: tuple[int, ...]


def class_qualities(boxes: Sequence[BoxRecord], failures: Sequence[Failure]) -> tuple[ClassQuality, ...]:
    """The classes of a run, by name."""
    qualities: dict[str, list[float]] = defaultdict(list)
    for box in boxes:
        qualities[box.class_name].append(box.score_by("quality"))
    fallbacks = Counter(box.class_name for box in boxes if box.fallback is not None)
    failed = Counter(failure.class_name for failure in failures)
    return tuple(
        ClassQuality(
            name,
            len(qualities[name]),
            fallbacks[name],
            failed[name],
            float(np.median(qualities[name])) if qualities[name] else None,
            tuple(sum(quality >= least for quality in qualities[name]) for least in MIN_SCORES),
        )
        for name in sorted({*qualities, *failed})
    )


def quality_charts(boxes: Sequence[BoxRecord]) -> tuple[Chart, ...]:
    """A histogram of the qualities, and how many boxes each minimum keeps; nothing without a box."""
    if not boxes:
        return ()
    qualities = np.sort([box.score_by("quality") for box in boxes])
    counts, edges = np.histogram(qualities, bins=_BINS, range=(0, 1))
    labels = [f"quality {left:.2f} to {right:.2f}" for left, right in itertools.pairwise(edges.tolist())]
    y_range, y_ticks = count_ticks(int(counts.max()))
    histogram = Chart(
        "quality",
        "Quality of the boxes",
        f"How well map and mask agree, without true boxes. The median is {np.median(qualities):.2f}.",
        "quality",
        "boxes",
        (0, 1),
        y_range,
        UNIT_TICKS,
        y_ticks,
        bars=histogram_bars(edges.tolist(), counts.tolist(), labels),
    )
    least = np.concatenate([[0.0], qualities, [1.0]])
    kept = len(qualities) - np.searchsorted(qualities, least)
    y_range, y_ticks = count_ticks(len(qualities))
    curve = Chart(
        "kept-count",
        "Boxes kept against the minimum score",
        "How many boxes an export keeps with a minimum score; the table has the numbers of each class.",
        "minimum score",
        "boxes",
        (0, 1),
        y_range,
        UNIT_TICKS,
        y_ticks,
        lines=(Line("boxes", thinned(least, kept.astype(np.float64)), 0),),
    )
    return histogram, curve
