"""``wsloc compare-runs``: two or more runs on the same items."""

from __future__ import annotations

import csv
import io
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from wsloc.cli.bars import bar
from wsloc.cli.flags import with_flags
from wsloc.cli.options import settings_of_run
from wsloc.config import optional, require
from wsloc.errors import UserError

if TYPE_CHECKING:
    from wsloc.evaluation import Estimate
    from wsloc.evaluation.comparison import ClassRow, Comparison, Row

_ITEMS_SHOWN = 10
_P_LIMIT = 0.05
_LETTERS = string.ascii_uppercase
_DIFFERENCE = 25
"""Width of a column of ``+100.0 [+100.0, +100.0]`` and what keeps it from the one before."""


@dataclass(frozen=True)
class CompareRunsConfig:
    """Which of two runs finds more, by how much, and where; differences are to the first run."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN RUN...", help_behavior_hint="")]
    """run folders; unfinished ones count with the images that they have come to"""
    root: Annotated[Path | None, optional("DIR", "as the first run had it")] = None
    """folder of the data set"""
    boxes: Annotated[Path | None, optional("CSV", "as a run had it")] = None
    """true boxes of own images (data set folder)"""
    masks: Annotated[Path | None, optional("DIR", "as a run had it")] = None
    """true masks of own images (data set folder)"""
    csv: Annotated[Path | None, optional("FILE", "none")] = None
    """table to write, a row for each item: image, class, and of each run IoU and box"""
    overwrite: bool = False
    """replace the table if it is there"""

    def __post_init__(self) -> None:
        require(len(self.runs) >= 2, "A comparison needs two runs; name another run folder.")
        require(len(self.runs) <= len(_LETTERS), f"At most {len(_LETTERS)} runs fit into a comparison; name fewer.")


def run(arguments: Sequence[str]) -> int:
    """Judge the runs and print the tables. Returns 0."""
    config = tyro.cli(CompareRunsConfig, prog="wsloc compare-runs", args=list(arguments))
    _refuse_taken(config)
    # Only now, so that --help and a misspelled flag answer at once.
    from wsloc.errors import counted
    from wsloc.evaluation.comparison import compare
    from wsloc.judging.judged_run import common_truth, contender
    from wsloc.runs.read_run import read_run

    runs = [read_run(path) for path in config.runs]
    first, *others = config.runs
    settings = [
        settings_of_run(first, config.root, config.boxes, config.masks).data,
        *(settings_of_run(path).data for path in others),
    ]
    _, truth = common_truth(runs, settings)
    comparison = compare(
        [contender(*run) for run in zip(_LETTERS, runs, settings, strict=False)],
        truth,
        bar,
    )
    for letter, contents in zip(_LETTERS, runs, strict=False):
        print(f"{letter}  {contents.path}" + "".join(f"\n   {with_flags(note)}" for note in contents.notes))
    items, images = counted(len(comparison.items), "item"), counted(comparison.images, "image")
    print(f"\n{items} in {images} that all of them judged.")
    for note in comparison.notes:
        print(with_flags(note))
    for number in range(1, len(runs)):
        print("\n".join(["", *_tables(comparison, number)]))
    if config.csv is not None:
        _write_csv(config.csv, comparison)
        print(f"\nTable of all items: {config.csv}")
    return 0


def _refuse_taken(config: CompareRunsConfig) -> None:
    """Looked at before the work rather than after."""
    if config.csv is None:
        return
    if config.csv.is_dir():
        raise UserError(f"{config.csv} is a folder; give another --csv.")
    if config.csv.exists() and not config.overwrite:
        raise UserError(f"{config.csv} exists; give another --csv, or --overwrite to replace it.")


def _tables(comparison: Comparison, number: int) -> Iterator[str]:
    """The first run beside another."""
    from wsloc.evaluation.comparison import LEAST_ITEMS
    from wsloc.evaluation.table import format_interval

    first, other = comparison.names[0], comparison.names[number]
    difference = f"{other} - {first}"
    classes = [row.corloc for row in comparison.classes]
    rows = (*comparison.metrics, *classes, *comparison.sizes, *comparison.counts)
    width = max(len(row.name) for row in rows) + 2

    yield f"Percent, with 95 % bootstrap intervals over images; {difference} is paired, in points, and one run better"
    yield f"where the interval of the difference excludes zero, on {LEAST_ITEMS} items or more."
    yield f"{'':<{width}}{first:>22}{other:>22}{difference:>{_DIFFERENCE}}"
    for row in comparison.metrics:
        yield (
            f"{row.name:<{width}}{format_interval(row.values[0]):>22}{format_interval(row.values[number]):>22}"
            f"{_points(row.differences[number - 1]):>{_DIFFERENCE}}{_verdict(row, number, comparison.names)}"
        )

    yield ""
    yield "CorLoc by class; alone: items that one run finds and the other does not; p: McNemar's exact test,"
    yield f"not corrected for {len(classes)} classes, and better where p < {_P_LIMIT}."
    alone = f"{first + ' alone':>9}{other + ' alone':>9}{'p':>8}"
    yield f"{'class':<{width}}{'items':>7}{first:>8}{other:>8}{difference:>{_DIFFERENCE}}{alone}"
    for scored in comparison.classes:
        ours, theirs = scored.found_alone[number - 1]
        yield (
            f"{_figures(scored.corloc, number, width)}{ours:>9}{theirs:>9}{_p(scored.p_values[number - 1]):>8}"
            f"{_verdict_by_p(scored, number, comparison.names)}"
        )

    for title, groups in (
        ("by the fraction of the image that the largest object covers", comparison.sizes),
        ("by the number of objects of the class in the image", comparison.counts),
    ):
        yield ""
        yield f"Items found (IoU > 0.5), {title}:"
        yield f"{'':<{width}}{'items':>7}{first:>8}{other:>8}{difference:>{_DIFFERENCE}}"
        for row in groups:
            yield f"{_figures(row, number, width)}{_verdict(row, number, comparison.names)}"

    yield ""
    changed = comparison.most_changed(_ITEMS_SHOWN, number)
    if not changed:
        yield "Every item has the same IoU."
        return
    yield "Items whose IoU changed most:"
    image_width = max(len(item.image_id) for item in changed) + 2
    class_width = max(len(item.class_name) for item in changed) + 2
    yield f"{'':<{image_width + class_width}}{first:>8}{other:>8}{difference:>9}"
    for item in changed:
        yield (
            f"{item.image_id:<{image_width}}{item.class_name:<{class_width}}{100 * item.ious[0]:>8.1f}"
            f"{100 * item.ious[number]:>8.1f}{100 * item.change(number):>+9.1f}"
        )


def _figures(row: Row, number: int, width: int) -> str:
    of_runs = f"{100 * row.values[0].value:>8.1f}{100 * row.values[number].value:>8.1f}"
    return f"{row.name:<{width}}{row.items:>7}{of_runs}{_points(row.differences[number - 1]):>{_DIFFERENCE}}"


def _verdict(row: Row, number: int, names: Sequence[str]) -> str:
    """Which run is better where the difference is more than chance."""
    from wsloc.evaluation.comparison import differs

    difference = row.differences[number - 1]
    if not differs(difference, row.items):
        return ""
    return f"  {names[number if difference.low > 0 else 0]} better"


def _verdict_by_p(scored: ClassRow, number: int, names: Sequence[str]) -> str:
    """Which run is better where McNemar's test says that they differ; the interval may say so a little earlier."""
    ours, theirs = scored.found_alone[number - 1]
    return f"  {names[number if theirs > ours else 0]} better" if scored.p_values[number - 1] < _P_LIMIT else ""


def _points(difference: Estimate) -> str:
    return f"{100 * difference.value:+.1f} [{100 * difference.low:+.1f}, {100 * difference.high:+.1f}]"


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"


def _write_csv(path: Path, comparison: Comparison) -> None:
    from wsloc.files.atomic import write_atomic

    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    sides = ("x0", "y0", "x1", "y1")
    writer.writerow(
        ["image", "class", "object_fraction", "objects"]
        + [f"{what}_{name}" for name in comparison.names for what in ("iou", *sides)]
    )
    for item in comparison.items:
        of_runs = zip(item.ious, item.boxes_xyxy, strict=True)
        found = [value for iou, box in of_runs for value in (iou, *(box or [""] * len(sides)))]
        writer.writerow([item.image_id, item.class_name, item.object_fraction, item.objects, *found])
    write_atomic(path, table.getvalue())
