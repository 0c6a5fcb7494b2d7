"""Runs compared on the same items: which differs, by how much, and where.

Differences are to the first run, paired by image: the bootstrap draws the same images for both. A metric *differs*
where the 95 % interval of its difference excludes zero. On fewer than ten items nothing is said to differ, nor where
the interval has no width: the items are then too few, or too much alike, for the bootstrap to tell what chance does.

By class, CorLoc also has the exact two-sided McNemar test: of the items that one run alone finds, could a fair coin
give so uneven a split? Its p-values are not corrected for the number of classes: of twenty classes between which
nothing differs, one falls below 0.05 on average.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsloc.errors import UserError, counted, listed
from wsloc.evaluation.bootstrap import Estimate, estimate
from wsloc.evaluation.corloc import IOU_THRESHOLD, METRICS, defined_metrics
from wsloc.evaluation.items import Items, ItemValues, judged_items, mean_over_items
from wsloc.evaluation.judging import Judged, TrueBoxes, judge_localizations, true_boxes
from wsloc.evaluation.object_groups import count_groups, largest_fraction, object_counts, size_groups
from wsloc.progress import Progress, silent
from wsloc.records import Box, BoxXyxy, GroundTruth, first_boxes

MIN_ITEMS = 10
"""On fewer items no run is called better by an interval."""
_MAX_NAMED = 3


@dataclass(frozen=True, slots=True, eq=False)
class Contender:
    """One run that is compared.

    Attributes:
        name: what tables call it.
        localizations: its boxes; no item twice.
        image_ids: the images that it has a record of, failures included.
        class_names: the classes that it was asked for; None for all.
        fingerprint: of the data set that it ran on.
        complete: False for a run that was killed or is still running.
        counted: False for boxes listed down to any score, whose number is meaningless.
    """

    name: str
    localizations: Sequence[Box]
    image_ids: frozenset[str]
    class_names: frozenset[str] | None = None
    fingerprint: str | None = None
    complete: bool = True
    counted: bool = True


@dataclass(frozen=True, slots=True)
class Row:
    """A figure of R runs, and its differences to the first run's, one for each of the others."""

    name: str
    items: int
    values: tuple[Estimate, ...]
    differences: tuple[Estimate, ...]


@dataclass(frozen=True, slots=True)
class ClassRow:
    """CorLoc of one class.

    Attributes:
        corloc: as :class:`Row`.
        found_alone: for each run but the first, how many items the first run alone finds, and how many this one alone.
        p_values: McNemar's, for each run but the first; not corrected for the number of classes.
    """

    corloc: Row
    found_alone: tuple[tuple[int, int], ...]
    p_values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ItemRow:
    """One item as R runs see it.

    Attributes:
        image_id: of the image.
        class_name: of the item.
        object_fraction: fraction of the image that the largest true box of the class covers.
        objects: true boxes of the class in the image, difficult ones included.
        ious: of each run, in [0, 1]; 0 without a box.
        boxes_xyxy: of each run; None if it has no box.
    """

    image_id: str
    class_name: str
    object_fraction: float
    objects: int
    ious: tuple[float, ...]
    boxes_xyxy: tuple[BoxXyxy | None, ...]

    def change(self, run: int = -1) -> float:
        """IoU of a run, by default the last, minus that of the first."""
        return self.ious[run] - self.ious[0]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two or more runs on the same items.

    Attributes:
        names: of the runs.
        images: how many all runs judged.
        metrics: those of the summary.
        classes: CorLoc class by class.
        sizes: fraction of items found, by the size of the largest object.
        counts: fraction of items found, by the number of objects.
        items: in the order of the images.
        notes: one sentence for each thing that a reader must know.
    """

    names: tuple[str, ...]
    images: int
    metrics: tuple[Row, ...]
    classes: tuple[ClassRow, ...]
    sizes: tuple[Row, ...]
    counts: tuple[Row, ...]
    items: tuple[ItemRow, ...]
    notes: tuple[str, ...]

    def most_changed(self, count: int, run: int = -1) -> list[ItemRow]:
        """The items whose IoU changed most from the first run to another, by default the last; the largest first."""
        changed = [item for item in self.items if item.change(run) != 0]
        return sorted(changed, key=lambda item: -abs(item.change(run)))[:count]


def compare(
    contenders: Sequence[Contender], truth: Mapping[str, GroundTruth], progress: Progress = silent
) -> Comparison:
    """Judge runs on the items that all of them were asked for.

    Args:
        contenders: at least two; differences are to the first.
        truth: the true boxes of their images, by image id.
        progress: counts the metrics.

    Raises:
        UserError: if the runs have no image or no item in common.
    """
    if len(contenders) < 2:
        raise UserError("A comparison needs two runs; name another run folder.")
    common, notes = _common_truth(contenders, truth)
    items = _common_items(contenders, common)
    notes += _uncompared(contenders, truth, items)
    true = true_boxes(items, common)
    judged = [judge_localizations(true, run.localizations, counted=run.counted) for run in contenders]
    hits = [(run.iou > IOU_THRESHOLD).astype(np.float64) for run in judged]
    groups = {
        **{("class", name): items.class_index == k for k, name in enumerate(items.class_names)},
        **{("size", name): kept for name, kept in size_groups(true).items()},
        **{("count", name): kept for name, kept in count_groups(true).items()},
    }
    metrics, rows = [], {}
    tasks: list[str | tuple[str, str]] = [
        *defined_metrics(judged),
        *(key for key, kept in groups.items() if kept.any()),
    ]
    for task in progress(tasks, "comparison", "metric"):
        if isinstance(task, str):
            metrics.append(_metric_row(task, judged))
        else:
            rows[task] = _group_row(task[1], items, groups[task], hits)
    return Comparison(
        tuple(contender.name for contender in contenders),
        len(items.image_ids),
        tuple(metrics),
        tuple(_class_row(row, groups[key], hits) for key, row in rows.items() if key[0] == "class"),
        tuple(row for key, row in rows.items() if key[0] == "size"),
        tuple(row for key, row in rows.items() if key[0] == "count"),
        _item_rows(true, judged, contenders),
        tuple(notes),
    )


def differs(difference: Estimate, items: int) -> bool:
    """Whether a difference on so many items is more than chance, as far as its interval tells."""
    return items >= MIN_ITEMS and difference.low < difference.high and not difference.low <= 0 <= difference.high


def mcnemar_p(first_alone: int, second_alone: int) -> float:
    """The exact two-sided p-value of McNemar's test (1947), by the binomial distribution; 1 without any item."""
    total = first_alone + second_alone
    tail = term = 1
    for n in range(min(first_alone, second_alone)):
        term = term * (total - n) // (n + 1)
        tail += term
    return float(min(1, 2 * tail / 2**total))


def shared_images(contenders: Sequence[Contender]) -> tuple[frozenset[str], list[str]]:
    """The images that all runs have a record of, and notes for the reader.

    Raises:
        UserError: if there is none.
    """
    shared = frozenset.intersection(*(contender.image_ids for contender in contenders))
    if not shared:
        raise UserError("The runs have no image in common, so there is nothing to compare; give runs of one data set.")
    notes = [
        f"{run.name} is not finished: only the images done so far count." for run in contenders if not run.complete
    ]
    if len({run.fingerprint for run in contenders} - {None}) > 1:
        notes.append("The runs were not asked for the same items; only what all of them were asked for is compared.")
    return shared, notes


def _common_truth(
    contenders: Sequence[Contender], truth: Mapping[str, GroundTruth]
) -> tuple[dict[str, GroundTruth], list[str]]:
    """The truth of the images that all runs have a record of and saw at their true size, and notes for the reader."""
    shared, notes = shared_images(contenders)
    if unknown := sorted(shared.difference(truth)):
        notes.append(f"{counted(len(unknown), 'image')} without readable true boxes: {listed(unknown, _MAX_NAMED)}.")
    other_size = {
        record.image_id
        for run in contenders
        for record in run.localizations
        if record.image_id in shared
        and record.image_id in truth
        and tuple(record.size_wh) != tuple(truth[record.image_id].size_wh)
    }
    if other_size:
        notes.append(
            f"{counted(len(other_size), 'image')} had another size in a run than in the data set; left out: "
            f"{listed(sorted(other_size), _MAX_NAMED)}."
        )
    common = {key: image for key, image in truth.items() if key in shared and key not in other_size}
    if not common:
        raise UserError(
            "No image of the runs has true boxes in this data set at the size that the runs saw; "
            "give runs of one data set, and its folder as `root`."
        )
    return common, notes


def _common_items(contenders: Sequence[Contender], common: Mapping[str, GroundTruth]) -> Items:
    asked = [run.class_names for run in contenders if run.class_names is not None]
    items = judged_items(common, sorted(frozenset.intersection(*asked)) if asked else None)
    if not items:
        raise UserError(
            "The runs have no item with a true box in common; give runs that were asked for the same classes."
        )
    return items


def _uncompared(contenders: Sequence[Contender], truth: Mapping[str, GroundTruth], items: Items) -> list[str]:
    """A sentence for each run that judged items which are not compared."""
    compared = frozenset(items.pairs())
    notes = []
    for run in contenders:
        own = {image_id: image for image_id, image in truth.items() if image_id in run.image_ids}
        every = judged_items(own, None if run.class_names is None else sorted(run.class_names)).pairs()
        if others := [f"{name} in {image_id}" for image_id, name in every if (image_id, name) not in compared]:
            are = "is" if len(others) == 1 else "are"
            named = listed(others, _MAX_NAMED)
            notes.append(f"{counted(len(others), 'item')} of {run.name} {are} not compared: {named}.")
    return notes


def _metric_row(name: str, judged: Sequence[Judged]) -> Row:
    metric, (first, *others) = METRICS[name], judged
    return Row(
        name,
        len(first.items),
        tuple(estimate(metric, run) for run in judged),
        tuple(estimate(metric, run, first) for run in others),
    )


def _group_row(name: str, items: Items, kept: NDArray[np.bool_], hits: Sequence[NDArray[np.float64]]) -> Row:
    """Fraction of found items among some, over the images that have such."""
    of_group = items.keep(kept)
    found = [ItemValues(of_group, hit[kept]) for hit in hits]
    return Row(
        name,
        len(of_group),
        tuple(estimate(mean_over_items, values) for values in found),
        tuple(estimate(mean_over_items, values, found[0]) for values in found[1:]),
    )


def _class_row(corloc: Row, kept: NDArray[np.bool_], hits: Sequence[NDArray[np.float64]]) -> ClassRow:
    first, *others = (hit[kept] > 0 for hit in hits)
    alone = tuple((int(np.sum(first & ~other)), int(np.sum(other & ~first))) for other in others)
    return ClassRow(corloc, alone, tuple(mcnemar_p(*counts) for counts in alone))


def _item_rows(true: TrueBoxes, judged: Sequence[Judged], contenders: Sequence[Contender]) -> tuple[ItemRow, ...]:
    found = [
        {pair: box.box_xyxy for pair, box in first_boxes(contender.localizations).items()} for contender in contenders
    ]
    ious = np.stack([run.iou for run in judged], axis=1).tolist()
    return tuple(
        ItemRow(
            *pair,
            of_image,
            objects,
            tuple(of_runs),
            tuple(boxes_of.get(pair) for boxes_of in found),
        )
        for pair, of_image, objects, of_runs in zip(
            true.items.pairs(), largest_fraction(true).tolist(), object_counts(true).tolist(), ious, strict=True
        )
    )
