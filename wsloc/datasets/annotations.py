"""The annotations of a data set, image by image: a bad one is told and never stops the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from wsloc.datasets.dataset import GroundTruthSet
from wsloc.errors import ItemError
from wsloc.records import GroundTruth, ImageRecord


@dataclass(frozen=True, slots=True)
class Annotation:
    """What the annotation of one image says.

    Attributes:
        truth: its boxes.
        frame_told: whether it tells in which frame they are; see :func:`wsloc.datasets.frames.frame_of`.
        problems: one sentence for each thing that was left out or mended.
    """

    truth: GroundTruth
    frame_told: bool
    problems: Sequence[str] = ()


def read_annotations(
    images: Iterable[ImageRecord],
    read: Callable[[ImageRecord], Annotation],
    named: Callable[[ImageRecord], str],
    problems: Sequence[str] = (),
) -> GroundTruthSet:
    """The truth of images; those whose annotation raises ItemError are left out and told.

    Args:
        images: of the data set.
        read: the annotation of one image.
        named: what a problem calls it.
        problems: that are known before.
    """
    told = list(problems)
    truths: dict[str, GroundTruth] = {}
    ambiguous = 0
    for image in images:
        try:
            annotation = read(image)
        except ItemError as error:
            told.append(f"{named(image)}: {error}")
            continue
        truths[image.image_id] = annotation.truth
        told += [f"{named(image)}: {sentence}" for sentence in annotation.problems]
        ambiguous += not annotation.frame_told
    return GroundTruthSet(truths, tuple(told), ambiguous)
