"""Which items a page shows, and what it shows of each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from wsloc.evaluation.summary import RUN
from wsloc.judging.judged_run import JudgedRun
from wsloc.records import BoxRecord, BoxXyxy, Failure, GroundTruth, Pair

State = Literal["box", "fallback", "failed", "missing"]


@dataclass(frozen=True, slots=True)
class GalleryItem:
    """One (image, class) pair of a run.

    Attributes:
        image_id: of the image.
        file: of the image; empty if the run has no record of the item.
        class_name: of the item; empty for an image that failed before a class was known.
        state: ``box``; ``fallback`` for a box in place of an empty mask; ``failed`` for a recorded failure;
            ``missing`` where the truth has the item and the run has no record of it.
        iou: in [0, 1]; None if there is nothing to judge by.
        probability: in [0, 1]; None without a box.
        quality: likewise.
        boxes_xyxy: found, the largest component first, in pixels of the image after EXIF transposition.
        true_xyxy: true boxes of the class, likewise.
        difficult: one flag for each true box.
        size_wh: of the image; None if unknown.
        reason: why there is no box, or what replaces it; empty for a plain box.
    """

    image_id: str
    file: str
    class_name: str
    state: State
    iou: float | None
    probability: float | None
    quality: float | None
    boxes_xyxy: tuple[BoxXyxy, ...]
    true_xyxy: tuple[BoxXyxy, ...]
    difficult: tuple[bool, ...]
    size_wh: tuple[int, int] | None
    reason: str

    @property
    def pair(self) -> Pair:
        """Image id and class name."""
        return self.image_id, self.class_name


def gallery_items(run: JudgedRun) -> tuple[GalleryItem, ...]:
    """All items of a run: those with a box, then those that failed, then those that it has no record of."""
    ious = _ious(run)
    truth = {} if run.truth is None else run.truth.images
    found: dict[Pair, list[BoxRecord]] = defaultdict(list)
    for record in run.contents.localizations:
        found[record.image_id, record.class_name].append(record)
    failed = {(record.image_id, record.class_name): record for record in run.contents.failures}
    pairs = list(dict.fromkeys([*found, *failed, *ious]))
    return tuple(
        _item(pair, found.get(pair, []), failed.get(pair), ious.get(pair), truth.get(pair[0])) for pair in pairs
    )


def _ious(run: JudgedRun) -> dict[Pair, float]:
    if run.judged is None:
        return {}
    judged = run.judged[RUN]
    return dict(zip(judged.items.pairs(), judged.iou.tolist(), strict=True))


def _item(
    pair: Pair, found: list[BoxRecord], failure: Failure | None, iou: float | None, truth: GroundTruth | None
) -> GalleryItem:
    components = sorted(found, key=lambda record: record.index)
    first = components[0] if components else None
    true, difficult, size_wh = true_boxes_of(truth, pair[1])
    state: State = "missing"
    reason = "The run has no record of this item."
    if first is not None:
        state, reason = "box", ""
        if first.fallback is not None:
            state, reason = "fallback", f"The cut found no foreground: the box is that of the {first.fallback}."
    elif failure is not None:
        state, reason = "failed", f"Failed in {failure.stage}: {failure.reason.rstrip('.')}."
    record = first or failure
    return GalleryItem(
        image_id=pair[0],
        file=record.file if record is not None else "",
        class_name=pair[1],
        state=state,
        iou=iou,
        probability=first.score_by("probability") if first is not None else None,
        quality=first.score_by("quality") if first is not None else None,
        boxes_xyxy=tuple(component.box_xyxy for component in components),
        true_xyxy=true,
        difficult=difficult,
        size_wh=first.size_wh if first is not None else size_wh,
        reason=reason,
    )


def true_boxes_of(
    truth: GroundTruth | None, class_name: str
) -> tuple[tuple[BoxXyxy, ...], tuple[bool, ...], tuple[int, int] | None]:
    """True boxes of a class in an image, which of them are difficult, and the image's size; nothing without truth."""
    if truth is None:
        return (), (), None
    own = [index for index, name in enumerate(truth.class_names) if name == class_name]
    boxes: list[BoxXyxy] = [(x0, y0, x1, y1) for x0, y0, x1, y1 in truth.boxes_xyxy[own].tolist()]
    return tuple(boxes), tuple(bool(truth.difficult[index]) for index in own), truth.size_wh


def choose(
    items: Sequence[GalleryItem], max_items: int, pictured: frozenset[Pair] = frozenset()
) -> tuple[GalleryItem, ...]:
    """At most ``max_items`` items, in their order, the same ones at each call.

    Fallbacks and items without a box come first, up to half of them. The rest is divided among the classes as
    evenly as can be, and in each class spread evenly over the order of IoU (of quality if there is none), its
    best and its worst item included.

    Args:
        items: of a run.
        pictured: items that the run kept pictures of; if there are enough of them, only they are chosen.
    """
    if len(items) <= max_items:
        return tuple(items)
    odd = [index for index, item in enumerate(items) if item.state != "box"]
    boxed = [index for index, item in enumerate(items) if item.state == "box"]
    chosen = _spread(odd, min(len(odd), max(max_items // 2, max_items - len(boxed))))
    kept = [index for index in boxed if items[index].pair in pictured]
    plain: dict[str, list[int]] = defaultdict(list)
    for index in kept if len(kept) >= max_items - len(chosen) else boxed:
        plain[items[index].class_name].append(index)
    room = _divide({name: len(indices) for name, indices in plain.items()}, max_items - len(chosen))
    for name, indices in plain.items():
        chosen += _spread(sorted(indices, key=lambda index: (_order(items[index]), index)), room[name])
    return tuple(items[index] for index in sorted(chosen))


def _order(item: GalleryItem) -> tuple[float, float]:
    """Items without an IoU among those that have one come first."""
    iou = -1.0 if item.iou is None else item.iou
    return iou, item.quality or 0.0


def _spread(values: Sequence[int], count: int) -> list[int]:
    """``count`` of the values at even distances, the first and the last included."""
    if count == 1:
        return [values[len(values) // 2]]
    return [values[index] for index in np.linspace(0, len(values) - 1, count).round().astype(int)]


def _divide(sizes: Mapping[str, int], total: int) -> dict[str, int]:
    """How many items each class gets: equal counts, but no class more than it has."""
    room = dict.fromkeys(sizes, 0)
    while total > 0 and (unfilled := [name for name in sizes if room[name] < sizes[name]]):
        each = total // len(unfilled)
        if each == 0:
            for index in _spread(range(len(unfilled)), total):
                room[unfilled[index]] += 1
            break
        for name in unfilled:
            given = min(each, sizes[name] - room[name])
            room[name] += given
            total -= given
    return room
