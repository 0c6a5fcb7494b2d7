"""Boxes judged against ground truth: the IoU of every item, and of one box for every image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsloc import boxes
from wsloc.evaluation.items import Items
from wsloc.records import Box, GroundTruth


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """How well one way to make boxes did on some items; its length is the number of images.

    Attributes:
        items: N items in I images.
        iou: float64 ``(N,)``: of the item's box with the best box of its class, difficult ones included; 0 for an
            item without a box.
        image_iou: float64 ``(I,)``: of the image's one box with the best box of any class.
        rank: float64 ``(N,)``: rank of the class among the classifier's, from 1; infinite where there is no box.
            None if the classifier ranked nothing.
    """

    items: Items
    iou: NDArray[np.float64]
    image_iou: NDArray[np.float64]
    rank: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.image_iou)


@dataclass(frozen=True, slots=True, eq=False)
class TrueBoxes:
    """All true boxes of the judged images in one array.

    Attributes:
        items: N items in I images.
        boxes_xyxy: float64 ``(M, 4)``, difficult ones included.
        image: int64 ``(M,)``: index of the image.
        item: int64 ``(M,)``: index of the item; -1 where the box's class is none of the image's items.
        size_wh: int64 ``(I, 2)``, of the images.
    """

    items: Items
    boxes_xyxy: NDArray[np.float64]
    image: NDArray[np.int64]
    item: NDArray[np.int64]
    size_wh: NDArray[np.int64]


def true_boxes(items: Items, truth: Mapping[str, GroundTruth]) -> TrueBoxes:
    """The true boxes of the items' images."""
    images = [truth[image_id] for image_id in items.image_ids]
    index_of = items.index_of()
    return TrueBoxes(
        items,
        np.concatenate([np.zeros((0, 4)), *(image.boxes_xyxy for image in images)]),
        np.repeat(np.arange(len(images)), [len(image.class_names) for image in images]).astype(np.int64),
        np.array(
            [index_of.get((image.image_id, name), -1) for image in images for name in image.class_names],
            dtype=np.int64,
        ),
        np.array([image.size_wh for image in images], dtype=np.int64).reshape(-1, 2),
    )


def judge_localizations(true: TrueBoxes, localizations: Iterable[Box]) -> Judged:
    """The boxes of a run; of several components of an item the largest alone.

    The one box of an image is that of its most probable class, among all boxes that the run made for
    it; of equal ones the first.
    """
    items = true.items
    index_of = items.index_of()
    image_of = {image_id: index for index, image_id in enumerate(items.image_ids)}
    of_item, rank = np.full((len(items), 4), np.nan), np.full(len(items), np.inf)
    of_image, best = np.full((len(items.image_ids), 4), np.nan), np.full(len(items.image_ids), -np.inf)
    ranked = True
    for record in localizations:
        if record.index != 0:
            continue
        ranked &= record.rank is not None
        item = index_of.get((record.image_id, record.class_name))
        if item is not None:
            of_item[item], rank[item] = record.box_xyxy, record.rank or np.inf
        image = image_of.get(record.image_id)
        if image is not None and (score := record.score_by("probability")) > best[image]:
            of_image[image], best[image] = record.box_xyxy, score
    return _judge(true, of_item, of_image, rank if ranked else None)


def judge_baseline(
    true: TrueBoxes,
    make_box: Callable[[tuple[int, int]], NDArray[np.float64]],
    rank: NDArray[np.float64] | None = None,
) -> Judged:
    """One box for every item of an image, made from the image's width and height alone.

    Args:
        true: what is judged.
        make_box: from width and height to a ``(1, 4)`` box.
        rank: of the items' classes by the classifier, for Top-k Loc.
    """
    made = np.array([make_box((width, height))[0] for width, height in true.size_wh.tolist()]).reshape(-1, 4)
    return _judge(true, made[true.items.image_index], made, rank)


def _judge(
    true: TrueBoxes, of_item: NDArray[np.float64], of_image: NDArray[np.float64], rank: NDArray[np.float64] | None
) -> Judged:
    """Boxes ``(N, 4)`` and ``(I, 4)``, NaN if there is none."""
    items = true.items
    iou, image_iou = np.zeros(len(items)), np.zeros(len(items.image_ids))
    own = true.item >= 0
    np.maximum.at(iou, true.item[own], boxes.paired_iou(of_item[true.item[own]], true.boxes_xyxy[own]))
    np.maximum.at(image_iou, true.image, boxes.paired_iou(of_image[true.image], true.boxes_xyxy))
    return Judged(items, iou, image_iou, rank)
