"""Metrics as tables of text, for a terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from wsloc.errors import counted
from wsloc.evaluation.bootstrap import Estimate
from wsloc.evaluation.summary import BASELINES, ClassScores, Evaluation


@dataclass(frozen=True, slots=True)
class Table:
    """A table of text.

    Attributes:
        title: a few words.
        note: what must be known to read it; empty, or lines.
        head: of each column.
        rows: of as many cells.
    """

    title: str
    note: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


def format_percent(fraction: float) -> str:
    """A fraction in percent: ``41.2``."""
    return f"{100 * fraction:.1f}"


def format_interval(estimate: Estimate) -> str:
    """A metric in percent with its interval: ``41.2 [38.0, 44.1]``."""
    return f"{100 * estimate.value:.1f} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"


def format_points(difference: Estimate) -> str:
    """A difference in points with its interval: ``+3.1 [+0.2, +6.0]``."""
    return f"{100 * difference.value:+.1f} [{100 * difference.low:+.1f}, {100 * difference.high:+.1f}]"


def columns(rows: Iterable[Sequence[str]]) -> list[str]:
    """Rows of cells as lines: the first column at the left, the others at the right, two spaces between them."""
    cells = list(rows)
    first, *others = (max(map(len, column)) for column in zip(*cells, strict=True))
    lines = []
    for name, *values in cells:
        aligned = (value.rjust(width) for value, width in zip(values, others, strict=True))
        lines.append("  ".join([name.ljust(first), *aligned]).rstrip())
    return lines


def evaluation_tables(evaluation: Evaluation) -> tuple[Table, Table]:
    """Run and baselines, then class by class; in percent."""
    rows = evaluation.rows
    return (
        Table(
            "Metrics",
            f"{counted(evaluation.items, 'item')} in {counted(evaluation.images, 'image')}; percent, with 95 % "
            "bootstrap intervals over images",
            ("", *(row.name for row in rows)),
            [(name, *(format_interval(row.metrics[name]) for row in rows)) for name in rows[0].metrics],
        ),
        Table(
            "Classes",
            "",
            ("class", "items", "CorLoc", "mean IoU", *BASELINES),
            [
                (scores.class_name, str(scores.items), *map(format_percent, _of_class(scores)))
                for scores in evaluation.classes
            ],
        ),
    )


def format_evaluation(evaluation: Evaluation) -> str:
    """Both tables for a terminal, with the means over classes."""
    metrics, classes = evaluation_tables(evaluation)
    values = zip(*map(_of_class, evaluation.classes), strict=True)
    means = [format_percent(sum(of_classes) / len(of_classes)) for of_classes in values]
    last = ("mean of classes", str(evaluation.items), *means)
    lines = [metrics.note, "", *columns([metrics.head, *metrics.rows])]
    return "\n".join([*lines, "", *columns([classes.head, *classes.rows, last])])


def _of_class(scores: ClassScores) -> tuple[float, ...]:
    return (scores.corloc, scores.mean_iou, *scores.baselines.values())
