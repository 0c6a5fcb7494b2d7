"""The frozen records that pass between the stages of the pipeline."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from wsloc.errors import UserError

Source = Path | bytes | NDArray[np.uint8]
BoxXyxy = tuple[float, float, float, float]
"""Half-open, 0-based, pixels of the image after EXIF transposition."""
Pair = tuple[str, str]
"""Image id and class name."""
DETECTED = "detector"
"""The ``method`` of a box that a detector found."""
REFINED = "+refined"
"""Ends the ``method`` of a box that a function of the user's improved."""
SCORES = ("probability", "quality")
"""What boxes can be sorted by."""


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image and its image-level labels: all that code that makes boxes may read.

    Attributes:
        image_id: unique within its data set.
        file: what records call the image file: relative to the data set's root, with forward slashes.
        source: where the image is, a file or a :class:`wsloc.files.image_path.ImagePath` in a tar; or its bytes; or the
            image itself, RGB uint8 ``(H, W, 3)``.
        labels: names of the classes that the image is labeled to show; empty if unlabeled.
    """

    image_id: str
    file: str
    source: Source
    labels: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """Where the image file is.

        Raises:
            UserError: if the image is not a file.
        """
        if not isinstance(self.source, Path):
            raise UserError(f"The image {self.image_id} is in memory, and only image files can be used here.")
        return self.source


@dataclass(frozen=True, slots=True)
class AskedClasses:
    """The classes that boxes are wanted of, and what is known of their names.

    Attributes:
        names: of the classes; empty for all that the classifier knows.
        label_map: the built-in label map that knows these names, or ``in-order``; None for none.
        in_order: all classes of the data set, for ``in-order``.
    """

    names: tuple[str, ...]
    label_map: str | None = None
    in_order: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GroundTruth:
    """The true boxes of one image; opened by evaluation alone.

    Attributes:
        image_id: as in :class:`ImageRecord`.
        boxes_xyxy: float64 ``(N, 4)``, half-open, pixels of the image after EXIF transposition.
        class_names: N class names.
        difficult: bool ``(N,)``, the VOC flag; False where the data set has none.
        size_wh: width and height in pixels after EXIF transposition.
        crowd_xyxy: float64 ``(M, 4)``, regions that hold many objects of a class and count neither as found nor as
            missed (COCO's ``iscrowd``).
        crowd_class_names: M class names.
        areas: float64 ``(N,)``, of the objects in square pixels where the data set tells (COCO's ``area``), which size
            groups go by; None for those of the boxes.
        lost_class_names: of boxes that are malformed and were left out.
    """

    image_id: str
    boxes_xyxy: NDArray[np.float64]
    class_names: tuple[str, ...]
    difficult: NDArray[np.bool_]
    size_wh: tuple[int, int]
    crowd_xyxy: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 4)))
    crowd_class_names: tuple[str, ...] = ()
    areas: NDArray[np.float64] | None = None
    lost_class_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class TrueMasks:
    """The true masks of one image after EXIF transposition; opened by evaluation alone.

    Attributes:
        masks: bool ``(N, H, W)``, one for each object; they cover the whole image, mostly pixel by pixel.
        class_names: N class names.
        ignored: bool ``(H, W)``: pixels that count neither as object nor as background, and lie on no mask.
    """

    masks: NDArray[np.bool_]
    class_names: tuple[str, ...]
    ignored: NDArray[np.bool_]


class Box(Protocol):
    """What the evaluation needs to know about a box, however it was made.

    Attributes:
        image_id: as in :class:`ImageRecord`.
        class_name: the class of the object in the box.
        box_xyxy: the box.
        size_wh: width and height of the image after EXIF transposition.
        index: 0 for the first box of its (image, class) pair, 1 for the next, and so on.
        rank: rank of the class on the image, from 1; None if there was nothing to compare it with.
        mask_rle: a mask over the whole image as COCO's compressed run lengths; None if the box has none.
    """

    @property
    def image_id(self) -> str: ...
    @property
    def class_name(self) -> str: ...
    @property
    def box_xyxy(self) -> BoxXyxy: ...
    @property
    def size_wh(self) -> tuple[int, int]: ...
    @property
    def index(self) -> int: ...
    @property
    def rank(self) -> int | None: ...
    @property
    def mask_rle(self) -> Mapping[str, Any] | None: ...

    def score_by(self, name: str) -> float:
        """The score of that name, one of :data:`SCORES`."""


AnyBox = TypeVar("AnyBox", bound=Box)


def first_boxes(boxes: Iterable[AnyBox]) -> dict[Pair, AnyBox]:
    """The one box that counts for its (image, class) pair: the largest component, or the best detection."""
    return {(box.image_id, box.class_name): box for box in boxes if box.index == 0}


def boxes_by_item(boxes: Iterable[AnyBox]) -> dict[Pair, list[AnyBox]]:
    """All boxes of each (image, class) pair, in their order."""
    found: dict[Pair, list[AnyBox]] = {}
    for box in boxes:
        found.setdefault((box.image_id, box.class_name), []).append(box)
    return found


@dataclass(frozen=True, slots=True)
class Localization:
    """One box found for one (image, class) pair; a :class:`Box`.

    Attributes:
        image_id: as in :class:`ImageRecord`.
        file: as in :class:`ImageRecord`.
        class_name: the class that was asked for.
        box_xyxy: the box.
        probability: what the classifier gives the class on this image, in [0, 1].
        quality: how well the mask and the saliency map agree, in [0, 1]; made without ground truth.
        area_fraction: area of the box over area of the image, in (0, 1].
        method: saliency method.
        segmenter: what turned the map into a mask.
        fallback: None, or the name of what stood in for an empty mask.
        component: 0 for the largest connected component, 1 for the next, and so on.
        size_wh: width and height of the image after EXIF transposition.
        rank: rank of the class among all that the classifier was asked for, by its probability on this image, from 1;
            None if there was nothing to compare with.
        mask_rle: the component's mask at working resolution, which covers the whole image, as COCO's compressed
            run lengths (``size`` height and width, ``counts``); None if the box has no mask.
    """

    image_id: str
    file: str
    class_name: str
    box_xyxy: BoxXyxy
    probability: float
    quality: float
    area_fraction: float
    method: str
    segmenter: str
    fallback: str | None
    component: int
    size_wh: tuple[int, int]
    rank: int | None = None
    mask_rle: Mapping[str, Any] | None = None

    @property
    def index(self) -> int:
        """The component."""
        return self.component

    def score_by(self, name: str) -> float:
        """The probability or the quality."""
        return self.quality if name == "quality" else self.probability


@dataclass(frozen=True, slots=True)
class Detection:
    """One box that came without a map: a detector's, or a label that one was trained on; a :class:`Box`.

    Attributes:
        image_id: as in :class:`ImageRecord`.
        file: as in :class:`ImageRecord`.
        class_name: the class of the object in the box.
        box_xyxy: the box.
        score: how certain the box is, in [0, 1].
        area_fraction: area of the box over area of the image, in (0, 1].
        method: ``detector``, or ``pseudo-label`` for a box that self-training began with.
        index: 0 for the best box of its class on the image, 1 for the next, and so on.
        size_wh: width and height of the image after EXIF transposition.
        rank: rank of the class among all that were found on the image, by its best score, from 1; None if there
            was nothing to compare with.
    """

    image_id: str
    file: str
    class_name: str
    box_xyxy: BoxXyxy
    score: float
    area_fraction: float
    method: str
    index: int
    size_wh: tuple[int, int]
    rank: int | None = None

    @property
    def fallback(self) -> None:
        """There is no mask that could be empty."""

    @property
    def mask_rle(self) -> None:
        """There is no mask."""

    def score_by(self, name: str) -> float:  # noqa: ARG002
        """The only score."""
        return self.score


BoxRecord = Localization | Detection
"""The boxes that a run holds."""


def with_scores(record: BoxRecord, change: Callable[[float], float]) -> BoxRecord:
    """A box with each of its scores changed."""
    if isinstance(record, Detection):
        return replace(record, score=change(record.score))
    return replace(record, probability=change(record.probability), quality=change(record.quality))


@dataclass(frozen=True, slots=True)
class Failure:
    """An image, or one (image, class) pair, that has no box, and why.

    Attributes:
        image_id: as in :class:`ImageRecord`.
        file: as in :class:`ImageRecord`.
        class_name: the class that was asked for; empty if none was known.
        stage: where it failed: ``read``, ``saliency``, ``refine``, ``cut`` or ``detect``.
        reason: one sentence.
        rank: as in :class:`Localization`; None also where the network was not asked.
    """

    image_id: str
    file: str
    class_name: str
    stage: str
    reason: str
    rank: int | None = None
