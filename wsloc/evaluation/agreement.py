"""How far the boxes of runs agree where there are no true boxes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wsloc.boxes import paired_iou
from wsloc.errors import UserError
from wsloc.evaluation.comparison import Contender, shared_images
from wsloc.evaluation.table import Table
from wsloc.records import BoxXyxy, first_boxes

_EDGES = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, slots=True)
class AgreementItem:
    """One item as R runs see it.

    Attributes:
        image_id: of the image.
        class_name: of the item.
        overlaps: IoU of each other run's box with the first run's; 0 where one of them has no box.
        qualities: of each run's box; None without one.
        boxes_xyxy: likewise.
    """

    image_id: str
    class_name: str
    overlaps: tuple[float, ...]
    qualities: tuple[float | None, ...]
    boxes_xyxy: tuple[BoxXyxy | None, ...]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two or more runs on the same items.

    Attributes:
        names: of the runs.
        images: how many all runs have a record of.
        items: those in which a run has a box; those whose boxes overlap least come first.
        notes: one sentence for each thing that a reader must know.
    """

    names: tuple[str, ...]
    images: int
    items: tuple[AgreementItem, ...]
    notes: tuple[str, ...]

    def overlaps(self, run: int) -> list[float]:
        """The IoU of a run's boxes, from 1, with the first run's."""
        return [item.overlaps[run - 1] for item in self.items]


def agree(contenders: Sequence[Contender]) -> Agreement:
    """Compare the boxes of runs, the largest of each item, with those of the first.

    Raises:
        UserError: if the runs have no image or no item in common.
    """
    shared, notes = shared_images(contenders)
    found = [first_boxes(run.localizations) for run in contenders]
    pairs = dict.fromkeys(
        pair
        for boxes in found
        for pair in boxes
        if pair[0] in shared and all(run.class_names is None or pair[1] in run.class_names for run in contenders)
    )
    if not pairs:
        raise UserError("The runs have no item with a box in common; give runs that were asked for the same classes.")
    missing = (np.nan,) * 4
    corners = [[boxes[pair].box_xyxy if pair in boxes else missing for pair in pairs] for boxes in found]
    overlaps = np.transpose([paired_iou(corners[0], other) for other in corners[1:]])
    items = [
        AgreementItem(
            *pair,
            tuple(row),
            tuple(boxes[pair].score_by("quality") if pair in boxes else None for boxes in found),
            tuple(boxes[pair].box_xyxy if pair in boxes else None for boxes in found),
        )
        for pair, row in zip(pairs, overlaps.tolist(), strict=True)
    ]
    names = tuple(run.name for run in contenders)
    return Agreement(names, len(shared), tuple(sorted(items, key=lambda item: min(item.overlaps))), tuple(notes))


def agreement_tables(agreement: Agreement, count: int) -> list[Table]:
    """The runs, how far they agree, and the ``count`` items that they disagree on most."""
    first, *others = agreement.names
    runs = []
    for index, name in enumerate(agreement.names):
        own = [item.qualities[index] for item in agreement.items]
        there = [quality for quality in own if quality is not None]
        median = f"{np.median(there):.2f}" if there else ""
        runs.append((name, str(len(there)), str(len(own) - len(there)), median))
    spread = []
    for index, name in enumerate(others, start=1):
        overlaps = agreement.overlaps(index)
        counts, _ = np.histogram([value for value in overlaps if value > 0], bins=_EDGES)
        apart = sum(value == 0 for value in overlaps)
        spread.append((name, f"{np.mean(overlaps):.2f}", str(apart), *map(str, counts.tolist())))
    bins = [f"{low:g} to {high:g}" for low, high in itertools.pairwise(_EDGES)]
    shown = [
        (
            item.image_id,
            item.class_name,
            *("" if quality is None else f"{quality:.2f}" for quality in item.qualities),
            *(f"{value:.2f}" for value in item.overlaps),
        )
        for item in agreement.items[:count]
    ]
    head = [f"quality of {name}" for name in agreement.names] + [f"IoU of {first} and {name}" for name in others]
    return [
        Table(
            "Runs", "Quality says how well map and mask agree.", ("", "boxes", "without a box", "median quality"), runs
        ),
        Table(
            f"IoU with the boxes of {first}",
            "How many items; apart: nothing in common, or one of the boxes is missing.",
            ("", "mean", "apart", *bins),
            spread,
        ),
        Table("Items that the runs disagree on most", "", ("image", "class", *head), shown),
    ]
