"""Boxes judged against ground truth: the IoU of every item, and of one box for every image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from wsloc import boxes
from wsloc.evaluation.items import Items
from wsloc.evaluation.matching import match_one_to_one
from wsloc.evaluation.pairing import Objects, crowds_of
from wsloc.records import Box, GroundTruth


@dataclass(frozen=True, slots=True, eq=False)
class BoxCounts:
    """All boxes of each item matched one to one with all true boxes of its class, as PASCAL VOC does.

    Attributes:
        hits: float64 ``(N,)``: boxes that are the first on an object that is not difficult.
        boxes: float64 ``(N,)``: without those on a difficult object or in a crowd region.
        objects: float64 ``(N,)``: true boxes that are not difficult, at least 1.
    """

    hits: NDArray[np.float64]
    boxes: NDArray[np.float64]
    objects: NDArray[np.float64]


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
        counts: of all boxes; None for boxes listed down to any score, whose number is meaningless.
    """

    items: Items
    iou: NDArray[np.float64]
    image_iou: NDArray[np.float64]
    rank: NDArray[np.float64] | None = None
    counts: BoxCounts | None = None

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
        difficult: bool ``(M,)``.
        crowds: the crowd regions of all classes.
    """

    items: Items
    boxes_xyxy: NDArray[np.float64]
    image: NDArray[np.int64]
    item: NDArray[np.int64]
    size_wh: NDArray[np.int64]
    difficult: NDArray[np.bool_]
    crowds: Objects


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
        np.concatenate([np.zeros(0, dtype=bool), *(image.difficult for image in images)]),
        crowds_of({image.image_id: image for image in images}),
    )


def judge_localizations(true: TrueBoxes, localizations: Iterable[Box], *, counted: bool = True) -> Judged:
    """The boxes of a run: the first box of each item for the IoU, and all boxes for the counts.

    The one box of an image is that of its most probable class, among all boxes that the run made for
    it; of equal ones the first.

    Args:
        true: what is judged.
        localizations: the boxes.
        counted: False for boxes listed down to any score, whose number is meaningless.
    """
    items = true.items
    index_of = items.index_of()
    image_of = {image_id: index for index, image_id in enumerate(items.image_ids)}
    of_item, rank = np.full((len(items), 4), np.nan), np.full(len(items), np.inf)
    of_image, best = np.full((len(items.image_ids), 4), np.nan), np.full(len(items.image_ids), -np.inf)
    ranked, every = True, list[tuple[int, Box]]()
    for record in localizations:
        item = index_of.get((record.image_id, record.class_name))
        if item is not None and counted:
            every.append((item, record))
        if record.index != 0:
            continue
        ranked &= record.rank is not None
        if item is not None:
            of_item[item], rank[item] = record.box_xyxy, record.rank or np.inf
        image = image_of.get(record.image_id)
        if image is not None and (score := record.score_by("probability")) > best[image]:
            of_image[image], best[image] = record.box_xyxy, score
    judged = _judge(true, of_item, of_image, rank if ranked else None)
    if not counted:
        return judged
    boxes_xyxy = np.array([record.box_xyxy for _, record in every], dtype=np.float64).reshape(-1, 4)
    scores = np.array([record.score_by("quality") for _, record in every], dtype=np.float64)
    of_items = np.array([item for item, _ in every], dtype=np.int64)
    return replace(judged, counts=_count(true, boxes_xyxy, of_items, scores))


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
    of_item, count = made[true.items.image_index], len(true.items)
    judged = _judge(true, of_item, made, rank)
    return replace(judged, counts=_count(true, of_item, np.arange(count), np.zeros(count)))


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


def _count(
    true: TrueBoxes, boxes_xyxy: NDArray[np.float64], item: NDArray[np.int64], scores: NDArray[np.float64]
) -> BoxCounts:
    """Boxes ``(P, 4)`` of the items ``(P,)``, with their scores ``(P,)``."""
    pairs, count = true.items.pairs(), len(true.items)
    own = true.item >= 0
    true_item, difficult = true.item[own], true.difficult[own]
    objects = Objects(true.boxes_xyxy[own], [pairs[index] for index in true_item], difficult)
    found = match_one_to_one(boxes_xyxy, [pairs[index] for index in item], scores, objects, true.crowds)
    hits, counted, ordinary = (
        np.bincount(of_item, minlength=count).astype(np.float64)
        for of_item in (item[found.hit], item[found.counted], true_item[~difficult])
    )
    return BoxCounts(hits, counted, ordinary)
