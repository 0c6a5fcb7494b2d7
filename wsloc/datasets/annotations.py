"""The annotations of a data set, image by image: a bad one is reported and never stops the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from wsloc.datasets.dataset import GroundTruthSet
from wsloc.datasets.frames import Frame, place_boxes
from wsloc.errors import ItemError
from wsloc.images import ImageHeader
from wsloc.records import GroundTruth, ImageRecord


@dataclass(frozen=True, slots=True)
class Annotation:
    """What the annotation of one image says.

    Attributes:
        truth: its boxes.
        frame_is_certain: whether their frame is known; see :class:`wsloc.datasets.frames.Frame`.
        problems: one sentence for each thing that was left out or fixed.
    """

    truth: GroundTruth
    frame_is_certain: bool = True
    problems: Sequence[str] = ()


def place_annotation(
    image: ImageRecord,
    boxes_xyxy: ArrayLike,
    names: Sequence[str],
    header: ImageHeader,
    frame: Frame,
    tolerance: float = 0.0,
    difficult: Sequence[bool] | None = None,
) -> Annotation:
    """The annotation of an image from boxes in their own frame, placed by :func:`wsloc.datasets.frames.place_boxes`.

    Args:
        image: that is annotated.
        boxes_xyxy: ``(N, 4)``, half-open, finite.
        names: N class names.
        header: of the image file.
        frame: of the boxes.
        tolerance: pixels by which a box may reach over the border without being a problem.
        difficult: N flags; None for a data set that marks no object so.
    """
    placed = place_boxes(boxes_xyxy, names, frame, tolerance)
    flags = np.zeros(len(names), dtype=bool) if difficult is None else np.array(difficult, dtype=bool)
    kept = tuple(names[index] for index in placed.kept)
    lost = tuple(name for index, name in enumerate(names) if index not in placed.kept)
    truth = GroundTruth(
        image.image_id, placed.boxes_xyxy, kept, flags[placed.kept], header.size_wh, lost_class_names=lost
    )
    return Annotation(truth, frame.is_certain, placed.problems)


def read_annotations(
    images: Iterable[ImageRecord],
    read: Callable[[ImageRecord], Annotation],
    named: Callable[[ImageRecord], str],
    problems: Sequence[str] = (),
) -> GroundTruthSet:
    """The truth of images; those whose annotation raises ItemError are left out and reported.

    Args:
        images: of the data set.
        read: the annotation of one image.
        named: how problems name it.
        problems: that are known before.
    """
    found = list(problems)
    truths: dict[str, GroundTruth] = {}
    ambiguous = 0
    for image in images:
        try:
            annotation = read(image)
        except ItemError as error:
            found.append(f"{named(image)}: {error}")
            continue
        truths[image.image_id] = annotation.truth
        found += [f"{named(image)}: {sentence}" for sentence in annotation.problems]
        ambiguous += not annotation.frame_is_certain
    return GroundTruthSet(truths, tuple(found), ambiguous)
