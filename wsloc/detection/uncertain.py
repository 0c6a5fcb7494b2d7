"""Which boxes are too uncertain to learn from; they become regions to ignore, because there may be an object."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from wsloc.records import DETECTED, BoxRecord, Pair


def least_certain(records: Iterable[BoxRecord], fraction: float) -> frozenset[Pair]:
    """The items whose boxes rank lowest among the boxes of their class.

    Classes are ranked one by one, because the scores of one tend to lie above those of another. A box that a detector
    found ranks above one that none has replaced, whose quality is on another scale; among its kind, a box ranks by its
    score or quality.

    Args:
        records: at most one box for each item.
        fraction: of the boxes of each class, in [0, 1); their number is rounded down.
    """
    by_class: dict[str, list[BoxRecord]] = defaultdict(list)
    for record in records:
        by_class[record.class_name].append(record)
    lowest: list[BoxRecord] = []
    for own in by_class.values():
        own.sort(key=lambda record: (record.method.removesuffix("+refined") == DETECTED, record.score_by("quality")))
        lowest += own[: int(fraction * len(own))]
    return frozenset((record.image_id, record.class_name) for record in lowest)
