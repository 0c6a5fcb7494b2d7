"""What an export holds and what it left out, counted; the warnings that come of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wsloc.errors import listed
from wsloc.exporters import media
from wsloc.exporters.read_boxes import CUT_OFF, SCORE_FIXED
from wsloc.exporters.selection import BELOW_MIN_SCORE
from wsloc.records import BoxRecord

NO_BOX = "without a box"
NOT_USABLE = "missing, unreadable or of another size"
_MAX_NAMED = 10


@dataclass(slots=True)
class ClassCounts:
    """Of one class: boxes to learn from, regions to ignore, images with a box, boxes left out by reason."""

    boxes: int = 0
    ignored: int = 0
    images: int = 0
    left_out: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Counts:
    """Of a whole export, filled as it goes.

    Attributes:
        classes: by name, all that the export knows.
        images: of each split.
        images_left_out: by reason.
        boxes_fixed: by what was wrong with them.
        media: what was done with the images.
        incomplete: images that lack the box of a class they were asked for, so that its object is background.
        without_mask: boxes whose mask picture is missing.
    """

    classes: dict[str, ClassCounts]
    images: Counter[str] = field(default_factory=Counter)
    images_left_out: Counter[str] = field(default_factory=Counter)
    boxes_fixed: Counter[str] = field(default_factory=Counter)
    media: Counter[str] = field(default_factory=Counter)
    incomplete: int = 0
    without_mask: int = 0

    def leave_out(self, record: BoxRecord, reason: str) -> None:
        """Count a box that is not exported."""
        self.classes.setdefault(record.class_name, ClassCounts()).left_out[reason] += 1

    def as_fields(self) -> dict[str, Any]:
        """For the manifest, in a fixed order."""
        classes = self.classes.values()
        return {
            "images": dict(self.images),
            "boxes": sum(counts.boxes for counts in classes),
            "ignored": sum(counts.ignored for counts in classes),
            "boxes_left_out": _sorted(sum((counts.left_out for counts in classes), Counter())),
            "boxes_fixed": _sorted(self.boxes_fixed),
            "images_left_out": _sorted(self.images_left_out),
            "media": _sorted(self.media),
        }

    def classes_as_fields(self, category_ids: Mapping[str, int]) -> list[dict[str, Any]]:
        """One entry per class, for the manifest."""
        return [
            {
                "name": name,
                "id": category_ids.get(name),
                "images": counts.images,
                "boxes": counts.boxes,
                "ignored": counts.ignored,
                "left_out": _sorted(counts.left_out),
            }
            for name, counts in self.classes.items()
        ]

    def warnings(self) -> list[str]:
        """One sentence for each thing that may surprise those who train on it."""
        counted = (
            (
                self.incomplete,
                "images lack the box of a class that they were labeled with, so that its object counts as background",
            ),
            (
                self.images_left_out[NOT_USABLE],
                "images are missing, unreadable or of another size than in the run, and were left out; problems.txt "
                "names them",
            ),
            (self.boxes_fixed[CUT_OFF], "boxes reach over the border of their image, and were cut off there"),
            (
                self.boxes_fixed[SCORE_FIXED],
                "boxes have a score outside 0 to 1, which is clipped, or one that is not a number, which counts as 0",
            ),
            (
                self.media[media.MISSING],
                "images are not where the run found them; their boxes were written all the same",
            ),
            (
                self.media[media.TURNED],
                "images have an EXIF orientation and stayed as they are: their boxes are right for readers that turn "
                "them, such as OpenCV and browsers, and wrong for Pillow and torchvision; `media='copy'` turns them",
            ),
            (self.media[media.NOT_LINKED], "images were copied, because they cannot be linked from where they are"),
            (self.without_mask, "boxes have no mask, and no mask picture"),
        )
        return [*self._lost_classes(), *(f"{count} {what}." for count, what in counted if count)]

    def _lost_classes(self) -> list[str]:
        """A sentence on the classes that have boxes in the run, and none in the export."""
        lost = {name: own.left_out for name, own in self.classes.items() if own.left_out and not own.boxes}
        if not lost:
            return []
        named = [f"{name} ({reasons.total()}, {reasons.most_common(1)[0][0]})" for name, reasons in lost.items()]
        by_score = any(reasons[BELOW_MIN_SCORE] for reasons in lost.values())
        remedy = "; `top_fraction` instead of `min_score` keeps the best of each class" if by_score else ""
        return [f"No box is left of {listed(named, _MAX_NAMED)}{remedy}."]


def _sorted(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: counts[name] for name in sorted(counts) if counts[name]}
