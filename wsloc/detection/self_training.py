"""Self-training: a detector learns the pseudo-boxes, finds better boxes of the labeled classes, and so on, in rounds.

After each round the detector's boxes of each labeled class of each training image replace the ones before; they may
be several, one for each object. No true box is opened here.

With folds (Cinbis et al. 2014, multi-fold training), the boxes of one part of the images come from a detector that
was trained on the others: a detector that has seen an image finds there, more or less, the box that it was shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from wsloc.boxes import iou_matrix
from wsloc.detection.data import BoxedImages
from wsloc.detection.detector_settings import TrainingSettings
from wsloc.detection.inference import detect
from wsloc.detection.refine import Refine, refined
from wsloc.errors import ItemError
from wsloc.images import read_image
from wsloc.pipeline.results import ImageResult, ItemResult
from wsloc.records import DETECTED, BoxRecord, BoxXyxy, Detection, Failure, ImageRecord, Pair
from wsloc.seeding import stable_hash

_SAME_PLACE = 0.5
"""The least IoU of detections of two classes in one place."""
_SAME_OBJECT = 0.3
"""The least IoU of two detections of one object; a detector leaves boxes up to 0.5."""
_AGREES = 0.7
"""The least IoU of a detection with a box before that is as good."""
Boxes = Mapping[Pair, Sequence[BoxRecord]]
"""The boxes of an item, at least one, by image id and class name."""


@dataclass(frozen=True, slots=True, eq=False)
class Relocalized:
    """One image after a round.

    Attributes:
        result: its boxes of each labeled class.
        found: how many of them the detector found.
        problems: one sentence for each box that could not be refined.
    """

    result: ImageResult
    found: int
    problems: tuple[str, ...] = ()


def fold_of(image_id: str, folds: int, seed: int) -> int:
    """The fold of an image, from 0; it depends on nothing but the arguments."""
    return stable_hash(seed, image_id, "fold") % folds


def training_part(labels: BoxedImages, fold: int, folds: int, seed: int) -> BoxedImages:
    """What the detector of a fold learns from: all other folds; everything if there is one fold."""
    if folds == 1:
        return labels
    others = tuple(boxed for boxed in labels.images if fold_of(boxed.image.image_id, folds, seed) != fold)
    return replace(labels, images=others)


def of_fold(settings: TrainingSettings, index: int, fold: int) -> TrainingSettings:
    """The settings of one training, with a seed of its own."""
    return replace(settings, seed=stable_hash(settings.seed, f"round {index}", f"fold {fold}"))


def relocalize(
    model: nn.Module,
    images: Sequence[ImageRecord],
    before: Boxes,
    class_names: Sequence[str],
    device: torch.device,
    *,
    min_score: float,
    batch_size: int = 8,
    pool: Executor | None = None,
    refine: Refine | None = None,
) -> Iterator[Relocalized]:
    """The detector's boxes of each labeled class, or the boxes before, in the order of the images.

    The boxes before stay where :func:`objects_of` gives none; where the two agree, it is their mean that counts.

    Args:
        model: in evaluation mode, on the device.
        images: with their image-level labels; classes that the detector does not know keep their boxes.
        before: the boxes of the round before.
        class_names: of the detector's outputs 1, 2 and so on.
        device: where the model is.
        min_score: of a box that counts.
        batch_size: images per batch.
        pool: reads the images.
        refine: see :mod:`wsloc.detection.refine`.
    """
    for result in detect(model, images, class_names, device, batch_size=batch_size, pool=pool):
        image = result.image
        unread = next((item.failure.reason for item in result.items if item.failure is not None), "")
        items, found = [], 0
        for name in image.labels:
            old = before.get((image.image_id, name), ())
            records = [averaged(record, old) for record in objects_of(result, name, min_score)]
            found += len(records)
            items.append(_item(image, name, records or old, unread))
        changed = ImageResult(image, tuple(items))
        if refine is None:
            yield Relocalized(changed, found)
        else:
            changed, problems = refine_image(changed, refine, lambda record: record.method == DETECTED)
            yield Relocalized(changed, found, problems)


def objects_of(found: ImageResult, class_name: str, min_score: float) -> list[Detection]:
    """The detections of a class that stand for an object each, best first.

    These have a score of at least ``min_score``, overlap no better one, and no other class has a higher score on about
    the same place.

    Args:
        found: all detections on an image, the best of each class first.
        class_name: the class.
        min_score: in [0, 1].
    """
    candidates = [record for item in found.items for record in item.localizations]
    objects: list[Detection] = []
    for record in candidates:
        score = record.score_by("probability")
        if record.class_name != class_name or score < min_score:
            continue
        rivals = [
            other.box_xyxy
            for other in candidates
            if other.class_name != class_name and other.score_by("probability") > score
        ]
        better = [other.box_xyxy for other in objects]
        if not _overlaps(record, rivals, _SAME_PLACE) and not _overlaps(record, better, _SAME_OBJECT):
            assert isinstance(record, Detection)
            objects.append(replace(record, index=len(objects)))
    return objects


def averaged(record: Detection, before: Sequence[BoxRecord]) -> Detection:
    """A detection with the mean of its box and the box before that it agrees with best, if there is one.

    Two boxes of an object err in different ways, so that their mean is nearer to it than either (box voting, Gidaris
    and Komodakis 2015).
    """
    overlaps = iou_matrix(record.box_xyxy, [other.box_xyxy for other in before])[0]
    if not len(before) or overlaps.max() < _AGREES:
        return record
    mean_xyxy = (np.array(record.box_xyxy) + before[int(overlaps.argmax())].box_xyxy) / 2
    x0, y0, x1, y1 = mean_xyxy.tolist()
    width, height = record.size_wh
    return replace(record, box_xyxy=(x0, y0, x1, y1), area_fraction=(x1 - x0) * (y1 - y0) / (width * height))


def _overlaps(record: BoxRecord, others: Sequence[BoxXyxy], least: float) -> bool:
    return bool((iou_matrix(record.box_xyxy, others) >= least).any())


def given(images: Iterable[ImageRecord], boxes: Boxes, unread: Mapping[str, str]) -> Iterator[ImageResult]:
    """Boxes that are there already, in the order of the images.

    Args:
        images: with their image-level labels.
        boxes: their boxes; an item without one becomes a failure.
        unread: by the id of an image, why it cannot be read.
    """
    for image in images:
        reason = unread.get(image.image_id, "")
        items = (_item(image, name, boxes.get((image.image_id, name), ()), reason) for name in image.labels)
        yield ImageResult(image, tuple(items))


def refine_image(
    result: ImageResult, refine: Refine, wanted: Callable[[BoxRecord], bool] = lambda _record: True
) -> tuple[ImageResult, tuple[str, ...]]:
    """The boxes of an image refined, and a sentence for each that could not be and stays as it was."""
    if not any(wanted(record) for item in result.items for record in item.localizations):
        return result, ()
    try:
        image_rgb = read_image(result.image.path)
    except ItemError as error:
        return result, (f"{result.image.file}: {error}",)
    items, problems = [], []
    for item in result.items:
        records = []
        for record in item.localizations:
            try:
                records.append(refined(record, image_rgb, refine) if wanted(record) else record)
            except ItemError as error:
                problems.append(f"{result.image.file}, {item.class_name}: {error}")
                records.append(record)
        items.append(replace(item, localizations=tuple(records)))
    return replace(result, items=tuple(items)), tuple(problems)


def _item(image: ImageRecord, class_name: str, records: Sequence[BoxRecord], unread: str) -> ItemResult:
    if records:
        return ItemResult(class_name, tuple(records))
    reason = unread or f"neither the labels nor the detector have a box of {class_name}"
    stage = "read" if unread else "detect"
    return ItemResult(class_name, failure=Failure(image.image_id, image.file, class_name, stage, reason))
