"""The annotations of a data set, image by image: a bad one is reported and never stops the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from wsloc.boxes import Boxes
from wsloc.datasets.dataset import GroundTruthSet
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


def truth_without_difficult(
    image: ImageRecord, boxes_xyxy: Boxes, class_names: Sequence[str], header: ImageHeader
) -> GroundTruth:
    """The truth of a data set that marks no object as difficult."""
    difficult = np.zeros(len(class_names), dtype=bool)
    return GroundTruth(image.image_id, boxes_xyxy, tuple(class_names), difficult, header.size_wh)


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
