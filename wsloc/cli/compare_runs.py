"""``wsloc compare-runs``: two or more runs on the same items."""

from __future__ import annotations

import itertools
import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from wsloc.cli.bars import bar
from wsloc.cli.flags import flag_of, with_flags
from wsloc.cli.outputs import free_output
from wsloc.config import MaskValues
from wsloc.config_files import settings_of_runs
from wsloc.errors import counted
from wsloc.setting_checks import optional, require

if TYPE_CHECKING:
    from wsloc.evaluation.agreement import Agreement
    from wsloc.evaluation.comparison import Comparison

_ITEMS_SHOWN = 10
_LETTERS = string.ascii_uppercase
_SIDES = ("x0", "y0", "x1", "y1")


@dataclass(frozen=True)
class CompareRunsConfig:
    """Show which of two or more runs finds more, by how much, and where; differences are relative to the first run."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN RUN...", help_behavior_hint="")]
    """run folders; unfinished runs count with the images done so far"""
    root: Annotated[Path | None, optional("DIR", "as in the first run")] = None
    """folder of the data set"""
    annotations: Annotated[Path | None, optional("FILE", "as in a run")] = None
    """COCO instances file with other true boxes, such as corrected ones"""
    boxes: Annotated[Path | None, optional("CSV", "as in a run")] = None
    """true boxes of your own images (data set folder)"""
    masks: Annotated[Path | None, optional("DIR", "as in a run")] = None
    """true masks of your own images (data set folder)"""
    mask_values: Annotated[MaskValues | None, optional("nonzero|trimap", "as in a run")] = None
    """what is object in the masks"""
    csv: Annotated[Path | None, optional("FILE", "none")] = None
    """table to write, one row per item: image, class, and the IoU and box of each run"""
    overwrite: bool = False
    """replace the table if it exists"""

    def __post_init__(self) -> None:
        require(len(self.runs) >= 2, "A comparison needs two runs; name another run folder.")
        require(len(self.runs) <= len(_LETTERS), f"A comparison takes at most {len(_LETTERS)} runs; name fewer.")


def run(config: CompareRunsConfig, _command: Sequence[str]) -> int:
    """Judge the runs and print the tables. Returns 0."""
    if config.csv is not None:
        free_output(config.csv, overwrite=config.overwrite, flag="--csv", make_folder=True)
    from wsloc.evaluation.agreement import agree
    from wsloc.evaluation.comparison import compare
    from wsloc.evaluation.comparison_table import changed_items_table, comparison_tables
    from wsloc.evaluation.table import columns
    from wsloc.judging.judged_run import common_truth, contender
    from wsloc.runs.read_run import read_run

    runs = [read_run(path) for path in config.runs]
    configs = settings_of_runs(
        config.runs, root=config.root, boxes=config.boxes, masks=config.masks, mask_values=config.mask_values
    )
    settings = [of_run.data for of_run in configs]
    _, truth = common_truth(runs, settings, config.annotations)
    contenders = [contender(*run) for run in zip(_LETTERS, runs, settings, strict=False)]
    names = [
        f"{letter}  {contents.path}" + "".join(f"\n   {with_flags(note)}" for note in contents.notes)
        for letter, contents in zip(_LETTERS, runs, strict=False)
    ]
    if truth is None:
        agreement = agree(contenders)
        print("\n".join(names))
        _print_agreement(agreement, config.csv)
        return 0
    comparison = compare(contenders, truth, bar)
    print("\n".join(names))
    items, images = counted(len(comparison.items), "item"), counted(comparison.images, "image")
    print(f"\n{items} in {images} that all runs judged.")
    for note in comparison.notes:
        print(with_flags(note))
    for index in range(1, len(runs)):
        changed = changed_items_table(comparison, index, _ITEMS_SHOWN)
        for table in (*comparison_tables(comparison, index), changed):
            print("\n".join(["", f"{table.title}:", *table.note.splitlines()]))
            if table.rows:
                print("\n".join(columns([table.head, *table.rows])))
    if config.csv is not None:
        _write_csv(config.csv, comparison)
        print(f"\nTable of all items: {config.csv}")
    return 0


def _print_agreement(agreement: Agreement, csv: Path | None) -> None:
    from wsloc.evaluation.agreement import agreement_tables
    from wsloc.evaluation.table import columns

    items, images = counted(len(agreement.items), "item"), counted(agreement.images, "image")
    print(f"\n{items} in {images} that all runs have. There are no true boxes, so only their agreement is known;")
    print(f"{flag_of('boxes')} or {flag_of('masks')} adds true boxes to a data set folder.")
    for note in agreement.notes:
        print(with_flags(note))
    for table in agreement_tables(agreement, _ITEMS_SHOWN):
        print("\n".join(["", f"{table.title}:", *table.note.splitlines(), *columns([table.head, *table.rows])]))
    if csv is not None:
        _write_agreement(csv, agreement)
        print(f"\nTable of all items: {csv}")


def _write_agreement(path: Path, agreement: Agreement) -> None:
    from wsloc.files.atomic import write_atomic
    from wsloc.files.csv_lines import csv_lines

    first, *others = agreement.names
    of_runs = [f"{what}_{name}" for name in agreement.names for what in ("quality", *_SIDES)]
    rows: list[list[object]] = [["image", "class", *(f"iou_{first}_{name}" for name in others), *of_runs]]
    for item in agreement.items:
        answers = zip(item.qualities, item.boxes_xyxy, strict=True)
        of_boxes = [(quality, *box) if box else [""] * (1 + len(_SIDES)) for quality, box in answers]
        rows.append([item.image_id, item.class_name, *item.overlaps, *itertools.chain(*of_boxes)])
    write_atomic(path, csv_lines(rows))


def _write_csv(path: Path, comparison: Comparison) -> None:
    from wsloc.files.atomic import write_atomic
    from wsloc.files.csv_lines import csv_lines

    of_runs = [f"{what}_{name}" for name in comparison.names for what in ("iou", *_SIDES)]
    rows: list[list[object]] = [["image", "class", "object_fraction", "objects", *of_runs]]
    for item in comparison.items:
        answers = zip(item.ious, item.boxes_xyxy, strict=True)
        found = [value for iou, box in answers for value in (iou, *(box or [""] * len(_SIDES)))]
        rows.append([item.image_id, item.class_name, item.object_fraction, item.objects, *found])
    write_atomic(path, csv_lines(rows))
