"""The boxes of a run, image by image, with what no format can hold sorted out."""

from __future__ import annotations

import itertools
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from wsloc import boxes
from wsloc.records import SCORES, BoxRecord, Failure, with_scores
from wsloc.runs.read_run import sound_score

TWICE = "occurs twice"
NOT_FINITE = "not finite"
EMPTY = "empty, or outside the image"
TWO_SIZES = "of another image size than the first box"
OUTSIDE = "of a file outside the data set"
CUT_OFF = "cut off at the border of the image"
SCORE_FIXED = "with a score outside 0 to 1, or none"
_SEPARATORS = tuple(filter(None, (os.sep, os.altsep)))


@dataclass(frozen=True, slots=True)
class ImageBoxes:
    """What a run says of one image.

    Attributes:
        image_id: as in :class:`wsloc.records.ImageRecord`.
        file: likewise.
        boxes: inside the image, not empty, scores in [0, 1]; no item twice.
        faulty: boxes that cannot be exported, each with its reason.
        failed: whether an item of the image failed.
        fixed: how many of the boxes were fixed, by what was wrong.
    """

    image_id: str
    file: str
    boxes: tuple[BoxRecord, ...]
    faulty: tuple[tuple[BoxRecord, str], ...]
    failed: bool
    fixed: Counter[str]


def iter_images(records: Iterable[BoxRecord | Failure]) -> Iterator[ImageBoxes]:
    """The images of a run in its order; in a finished run those that have nothing but failures come last.

    An image whose failures are apart from its boxes comes once more, without boxes; boxes there are faulty.

    Args:
        records: of the run, as :func:`wsloc.runs.read_run.open_records` gives them.

    Raises:
        UserError: if a file of the run cannot be read.
    """
    seen: set[str] = set()
    for image_id, group in itertools.groupby(records, key=lambda record: record.image_id):
        found: dict[tuple[str, int], BoxRecord] = {}
        faulty: list[tuple[BoxRecord, str]] = []
        failed, file = False, None
        fixes: Counter[str] = Counter()
        for record in group:
            file = record.file if file is None else file
            if isinstance(record, Failure):
                failed = True
                continue
            first = next(iter(found.values()), record)
            fixed, fault, own_fixes = _fixed(record)
            key = (record.class_name, record.index)
            if key in found or image_id in seen:
                faulty.append((record, TWICE))
            elif fault:
                faulty.append((record, fault))
            elif record.size_wh != first.size_wh:
                faulty.append((record, TWO_SIZES))
            else:
                found[key] = fixed
                fixes.update(own_fixes)
        assert file is not None
        seen.add(image_id)
        yield ImageBoxes(image_id, file, tuple(found.values()), tuple(faulty), failed, fixes)


def leaves_root(file: str) -> bool:
    """Whether the name of a file that a run gives leads out of the data set's folder."""
    drive, path = os.path.splitdrive(file)
    # A backslash separates folders on Windows alone, where an export of another system may be used.
    return bool(drive) or path.startswith(_SEPARATORS) or (".." in path and ".." in re.split(r"[/\\]", path))


def _fixed(record: BoxRecord) -> tuple[BoxRecord, str, tuple[str, ...]]:
    """The box inside its image with sound scores; its fault, empty if it has none; and what was fixed."""
    fixed: tuple[str, ...] = ()
    if not all(map(math.isfinite, record.box_xyxy)):
        return record, NOT_FINITE, ()
    if leaves_root(record.file):
        return record, OUTSIDE, ()
    width, height = record.size_wh
    x0, y0, x1, y1 = record.box_xyxy
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        x0, y0, x1, y1 = boxes.clip(record.box_xyxy, record.size_wh)[0].tolist()
        if not (x0 < x1 and y0 < y1):
            return record, EMPTY, ()
        record, fixed = replace(record, box_xyxy=(x0, y0, x1, y1)), (CUT_OFF,)
    if not all(0 <= record.score_by(name) <= 1 for name in SCORES):
        record = with_scores(record, sound_score)
        fixed = (*fixed, SCORE_FIXED)
    return record, "", fixed
