"""The metrics of the rounds of self-training, and which round is best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wsloc.detection.rounds import Round
from wsloc.evaluation import METRICS, Estimate, estimate
from wsloc.evaluation.summary import RUN
from wsloc.files.atomic import write_atomic
from wsloc.files.csv_lines import csv_lines

HEADLINE = "CorLoc class-wise"
"""The metric that tells the best round."""
GAIN = "gain over round 0"
_METRICS = (HEADLINE, "CorLoc image-wise", "mean IoU", "box recall pooled", "box precision pooled")


@dataclass(frozen=True, slots=True)
class RoundFigures:
    """One round in figures.

    Attributes:
        index: from 0, the boxes as given.
        boxes: how many there are.
        found: how many of them the detector found.
        metrics: by name, and last :data:`GAIN`, that of :data:`HEADLINE` over round 0, paired by image; empty without
            true boxes.
    """

    index: int
    boxes: int
    found: int
    metrics: Mapping[str, Estimate]


def round_figures(rounds: Sequence[Round]) -> list[RoundFigures]:
    """The figures of rounds, the first of which is round 0."""
    first = rounds[0].judged.judged
    figures = []
    for done in rounds:
        metrics: dict[str, Estimate] = {}
        if done.judged.judged is not None and first is not None:
            own = done.judged.judged[RUN]
            metrics = {name: estimate(METRICS[name], own) for name in _METRICS}
            metrics[GAIN] = estimate(METRICS[HEADLINE], own, first[RUN])
        figures.append(RoundFigures(done.index, sum(map(len, done.boxes.values())), done.found, metrics))
    return figures


def write_figures(path: Path, figures: Sequence[RoundFigures]) -> None:
    """Write the figures as CSV, a row for each round; of each metric the value and the ends of its interval."""
    names = [f"{name}{end}" for name in figures[0].metrics for end in ("", " low", " high")]
    rows: list[list[object]] = [["round", "boxes", "found", *names]]
    for own in figures:
        values = [value for metric in own.metrics.values() for value in (metric.value, metric.low, metric.high)]
        rows.append([own.index, own.boxes, own.found, *values])
    write_atomic(path, csv_lines(rows))


def best_round(figures: Sequence[RoundFigures]) -> int | None:
    """The index of the first round with the highest :data:`HEADLINE`; None without true boxes."""
    if not all(own.metrics for own in figures):
        return None
    return max(figures, key=lambda own: own.metrics[HEADLINE].value).index
