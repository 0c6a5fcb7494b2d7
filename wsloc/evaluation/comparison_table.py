"""Two runs of a comparison side by side, as tables of text."""

from __future__ import annotations

from collections.abc import Sequence

from wsloc.evaluation.comparison import MIN_ITEMS, ClassRow, Comparison, Row, differs
from wsloc.evaluation.table import Table, format_interval, format_percent, format_points

_P_LIMIT = 0.05


def comparison_tables(comparison: Comparison, run: int) -> list[Table]:
    """The first run next to another: metrics, classes, and groups of objects.

    Args:
        comparison: of two or more runs.
        run: index of the other one, from 1.
    """
    names = comparison.names
    first, other = names[0], names[run]
    difference = f"{other} - {first}"
    head = ("items", first, other, difference)
    return [
        Table(
            "Metrics",
            f"Percent, with 95 % bootstrap intervals over images; {difference} is paired, in points, and\n"
            f"one run better where the interval of the difference excludes zero, on {MIN_ITEMS} items or more.",
            ("", *head[1:], ""),
            [
                (
                    row.name,
                    format_interval(row.values[0]),
                    format_interval(row.values[run]),
                    format_points(row.differences[run - 1]),
                    _better(row, run, names),
                )
                for row in comparison.metrics
            ],
        ),
        _class_table(comparison, run, head),
        *(
            Table(
                f"Items found (IoU > 0.5), {by}",
                "",
                ("", *head, ""),
                [(*_cells(row, run), _better(row, run, names)) for row in rows],
            )
            for by, rows in (
                ("by the fraction of the image that the largest object covers", comparison.sizes),
                ("by the number of objects of the class in the image", comparison.counts),
            )
        ),
    ]


def _class_table(comparison: Comparison, run: int, head: tuple[str, ...]) -> Table:
    names = comparison.names
    return Table(
        "CorLoc by class",
        "Alone: items that one run finds and the other does not; p: McNemar's exact test,\n"
        f"not corrected for {len(comparison.classes)} classes, and better where p < {_P_LIMIT}.",
        ("class", *head, f"{names[0]} alone", f"{names[run]} alone", "p", ""),
        [
            (
                *_cells(scored.corloc, run),
                *map(str, scored.found_alone[run - 1]),
                _format_p(scored.p_values[run - 1]),
                _better_by_p(scored, run, names),
            )
            for scored in comparison.classes
        ],
    )


def changed_items_table(comparison: Comparison, run: int, count: int) -> Table:
    """The items whose IoU changed most from the first run to another."""
    items = comparison.most_changed(count, run)
    first, other = comparison.names[0], comparison.names[run]
    return Table(
        "Items whose IoU changed most",
        "" if items else "Every item has the same IoU.",
        ("image", "class", first, other, f"{other} - {first}"),
        [
            (item.image_id, item.class_name, *map(format_percent, (item.ious[0], item.ious[run])), f"{change:+.1f}")
            for item in items
            for change in [100 * item.change(run)]
        ],
    )


def _cells(row: Row, run: int) -> tuple[str, ...]:
    values = (format_percent(row.values[index].value) for index in (0, run))
    return (row.name, str(row.items), *values, format_points(row.differences[run - 1]))


def _better(row: Row, run: int, names: Sequence[str]) -> str:
    """Which run is better where the difference is more than chance."""
    difference = row.differences[run - 1]
    if not differs(difference, row.items):
        return ""
    return f"{names[run if difference.low > 0 else 0]} better"


def _better_by_p(scored: ClassRow, run: int, names: Sequence[str]) -> str:
    """Which run is better where McNemar's test says that they differ; the interval may say so a little earlier."""
    ours, theirs = scored.found_alone[run - 1]
    return f"{names[run if theirs > ours else 0]} better" if scored.p_values[run - 1] < _P_LIMIT else ""


def _format_p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"
