"""Which boxes are too uncertain to learn from; they become regions to ignore, because there may be an object."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from wsloc.records import DETECTED, REFINED, BoxRecord


def by_certainty(records: Sequence[BoxRecord], fraction: float) -> tuple[list[BoxRecord], list[BoxRecord]]:
    """Boxes to learn from, and those that rank lowest among the boxes of their class, both in the given order.

    Classes are ranked one by one, because the scores of one tend to lie above those of another. A box that a detector
    found ranks above one that none has replaced, whose quality is on another scale; among its kind, a box ranks by its
    score or quality.

    Args:
        records: boxes of any images and classes.
        fraction: of the boxes of each class that rank lowest, in [0, 1); their number is rounded down.
    """
    by_class: dict[str, list[int]] = defaultdict(list)
    for position, record in enumerate(records):
        by_class[record.class_name].append(position)
    lowest: set[int] = set()
    for own in by_class.values():
        own.sort(key=lambda position: _certainty(records[position]))
        lowest.update(own[: int(round(fraction * len(own), 9))])
    certain = [record for position, record in enumerate(records) if position not in lowest]
    return certain, [records[position] for position in sorted(lowest)]


def _certainty(record: BoxRecord) -> tuple[bool, float]:
    return record.method.removesuffix(REFINED) == DETECTED, record.score_by("quality")
