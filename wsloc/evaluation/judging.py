"""Boxes held against ground truth: the IoU of every item, and of one box for every image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsloc import boxes
from wsloc.records import GroundTruth, Localization


@dataclass(frozen=True, slots=True, eq=False)
class Items:
    """The (image, class) pairs that are judged: those with a true box that is not difficult.

    Attributes:
        image_ids: the N images.
        class_names: the K classes.
        present: bool ``(N, K)``: which pairs are items.
    """

    image_ids: tuple[str, ...]
    class_names: tuple[str, ...]
    present: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """How well one way to make boxes did on some items.

    Attributes:
        iou: float64 ``(N, K)``: of the item's box with the best box of its class, difficult ones included;
            0 for an item without a box, NaN where there is no item.
        image_iou: float64 ``(N,)``: of the image's one box with the best box of any class.
    """

    iou: NDArray[np.float64]
    image_iou: NDArray[np.float64]

    def __len__(self) -> int:
        """N, the number of images."""
        return len(self.image_iou)


def judged_items(truth: Mapping[str, GroundTruth], class_names: Sequence[str] | None = None) -> Items:
    """The items of some images.

    Args:
        truth: by image id; its order is kept.
        class_names: only these classes; None for all that occur.
    """
    found = {name for image in truth.values() for name in _classes_of(image)}
    names = tuple(sorted(found) if class_names is None else sorted(found.intersection(class_names)))
    column = {name: k for k, name in enumerate(names)}
    present = np.zeros((len(truth), len(names)), dtype=bool)
    for n, image in enumerate(truth.values()):
        for name in _classes_of(image).intersection(column):
            present[n, column[name]] = True
    kept = np.flatnonzero(present.any(axis=1))
    every_id = tuple(truth)
    image_ids = tuple(every_id[n] for n in kept)
    return Items(image_ids, names, present[kept])


def judge_localizations(
    items: Items, truth: Mapping[str, GroundTruth], localizations: Iterable[Localization]
) -> Judged:
    """The boxes of a run; of several components of an item the largest alone.

    The one box of an image is that of its most probable class, among all boxes that the run made for
    it; of equal ones the first.
    """
    of_item: dict[tuple[str, str], tuple[float, ...]] = {}
    of_image: dict[str, Localization] = {}
    for record in localizations:
        if record.component == 0:
            of_item[record.image_id, record.class_name] = record.box_xyxy
            best = of_image.get(record.image_id)
            if best is None or record.probability > best.probability:
                of_image[record.image_id] = record
    return _judge(
        items,
        truth,
        lambda image, name: of_item.get((image.image_id, name), ()),
        lambda image: of_image[image.image_id].box_xyxy if image.image_id in of_image else (),
    )


def judge_baseline(
    items: Items, truth: Mapping[str, GroundTruth], make_box: Callable[[tuple[int, int]], NDArray[np.float64]]
) -> Judged:
    """One box for every item of an image, made from the image's width and height alone."""
    return _judge(items, truth, lambda image, _name: make_box(image.size_wh), lambda image: make_box(image.size_wh))


BoxOrNone = Sequence[float] | NDArray[np.float64]
"""Four numbers ``xyxy`` (or a ``(1, 4)`` array), or nothing."""


def _judge(
    items: Items,
    truth: Mapping[str, GroundTruth],
    item_box: Callable[[GroundTruth, str], BoxOrNone],
    image_box: Callable[[GroundTruth], BoxOrNone],
) -> Judged:
    iou = np.full(items.present.shape, np.nan)
    image_iou = np.zeros(len(items.image_ids))
    for n, image_id in enumerate(items.image_ids):
        image = truth[image_id]
        image_iou[n] = _best_iou(image_box(image), image.boxes_xyxy)
        for k in np.flatnonzero(items.present[n]):
            name = items.class_names[k]
            of_class = image.boxes_xyxy[[other == name for other in image.class_names]]
            iou[n, k] = _best_iou(item_box(image, name), of_class)
    return Judged(iou, image_iou)


def _best_iou(box_xyxy: BoxOrNone, true_xyxy: NDArray[np.float64]) -> float:
    return float(boxes.iou_matrix(box_xyxy, true_xyxy).max(initial=0.0))


def _classes_of(image: GroundTruth) -> set[str]:
    return {name for name, difficult in zip(image.class_names, image.difficult, strict=True) if not difficult}
