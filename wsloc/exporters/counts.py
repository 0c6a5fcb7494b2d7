"""What an export holds and what it left out, counted; the warnings that come of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wsloc.errors import counted, listed
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
        told = (
            (
                self.incomplete,
                "image",
                "without the box of a class in the labels, so that its object counts as background",
            ),
            (
                self.images_left_out[NOT_USABLE],
                "image",
                "missing, unreadable or of another size than in the run, and so left out; problems.txt has the names",
            ),
            (self.boxes_fixed[CUT_OFF], "box", "across the border of the image, and cut off there"),
            (
                self.boxes_fixed[SCORE_FIXED],
                "box",
                "with a score outside 0 to 1, which is clipped, or with one that is not a number, which counts as 0",
            ),
            (
                self.media[media.MISSING],
                "image",
                "no longer where the run found the file; the boxes were written all the same",
            ),
            (
                self.media[media.TURNED],
                "image",
                "with an EXIF orientation, as in the run: the boxes are right for readers that turn images, such as "
                "OpenCV and browsers, and wrong for Pillow and torchvision; `media='copy'` turns them",
            ),
            (self.media[media.NOT_LINKED], "image", "copied, because the file cannot be linked from where it is"),
            (self.without_mask, "box", "without a mask, and so without a mask picture"),
        )
        return [*self._lost_classes(), *(f"{counted(count, noun)} {what}." for count, noun, what in told if count)]

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
