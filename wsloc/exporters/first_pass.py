"""The first of two passes over a run: what must be known of all boxes before the first is written."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from wsloc.errors import UserError
from wsloc.exporters.export_settings import SelectionSettings
from wsloc.exporters.read_boxes import ImageBoxes, iter_images
from wsloc.exporters.review import Review, count_unknown, read_review
from wsloc.exporters.selection import NO_REVIEW, Selected, TopFraction, select
from wsloc.exporters.split import ShownClasses
from wsloc.files.names import flat_stem
from wsloc.records import BoxRecord, Failure, Pair


@dataclass(frozen=True, slots=True, eq=False)
class FirstPass:
    """What the first pass found.

    Attributes:
        class_names: of all boxes, sorted.
        failed: ids of the images with a failed item.
        images: how often :func:`wsloc.exporters.read_boxes.iter_images` gives one.
        numeric_ids: whether all image ids are whole numbers, written as such.
        shared_stems: names, without folder and suffix and with their case folded, that several images have.
        val: ids of the images of the split ``val``.
        scores: of the boxes that :func:`wsloc.exporters.selection.select` keeps, by class, in the order of the run;
            infinity for what a person accepted.
        review: marks of a person.
        unknown_marks: how many marks of the review are of items without a box.
    """

    class_names: tuple[str, ...]
    failed: frozenset[str]
    images: int
    numeric_ids: bool
    shared_stems: frozenset[str]
    val: frozenset[str]
    scores: dict[str, array[float]]
    review: Review
    unknown_marks: int


def first_pass(
    run: Path, records: Iterable[BoxRecord | Failure], settings: SelectionSettings, val_fraction: float
) -> FirstPass:
    """Read a run once.

    Args:
        run: its folder, for sentences.
        records: of the run, as :func:`wsloc.runs.read_run.open_records` gives them.
        settings: which boxes to keep.
        val_fraction: of the images, for the split ``val``.

    Raises:
        UserError: if it has no box, or none that the settings keep, or the review cannot be read or is of another run.
    """
    review = NO_REVIEW if settings.review is None else read_review(settings.review)
    class_names: set[str] = set()
    marked, known_marks = review.accepted | review.rejected, set[Pair]()
    failed: set[str] = set()
    reasons: Counter[str] = Counter()
    scores: dict[str, array[float]] = {}
    numeric, images = True, 0
    stem_of: dict[str, str] = {}
    shared_stems: set[str] = set()
    shown = ShownClasses() if val_fraction else None
    for image in iter_images(records):
        selected = sort_out(image, settings, review)
        class_names.update(record.class_name for record in image.boxes)
        known_marks.update(marked.intersection((image.image_id, record.class_name) for record in image.boxes))
        reasons.update(reason for _, reason in selected.left_out)
        for box in selected.kept:
            scores.setdefault(box.record.class_name, array("d")).append(math.inf if box.accepted else box.score)
        if shown is not None:
            shown.add(image.image_id, selected.kept)
        images += 1
        if image.failed:
            failed.add(image.image_id)
        numeric = numeric and _is_number(image.image_id)
        # An image comes twice where its failures are apart from its boxes.
        if stem_of.setdefault(stem := flat_stem(image.file).casefold(), image.file) != image.file:
            shared_stems.add(stem)
    if not class_names and not reasons:
        raise UserError(f"{run} has no box to export: all of its {len(failed)} images failed; failures.jsonl says why.")
    unknown_marks = count_unknown(review, known_marks, run)
    if not scores:
        reason, count = reasons.most_common(1)[0]
        raise UserError(
            f"None of the {sum(reasons.values())} boxes of {run} is left to export: {count} are {reason}; select more."
        )
    top = TopFraction(dict(scores), settings.top_fraction)
    val = frozenset() if shown is None else shown.val_images(top, val_fraction, keep_empty=settings.keep_empty)
    return FirstPass(
        tuple(sorted(class_names)),
        frozenset(failed),
        images,
        numeric,
        frozenset(shared_stems),
        val,
        scores,
        review,
        unknown_marks,
    )


def sort_out(image: ImageBoxes, settings: SelectionSettings, review: Review) -> Selected:
    """The boxes of an image that are sound and selected; the others, the faulty ones among them, with their reasons."""
    selected = select(image.boxes, settings, review)
    return Selected(selected.kept, (*image.faulty, *selected.left_out))


def _is_number(image_id: str) -> bool:
    return image_id.isascii() and image_id.isdecimal() and str(int(image_id)) == image_id
