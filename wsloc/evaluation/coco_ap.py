"""Average precision as COCO defines it, by pycocotools, or by faster-coco-eval where that is installed.

The mean over IoU thresholds 0.5, 0.55, ... 0.95 and over classes of the precision at 101 recalls; at most 100 boxes of
an image and class, those of the highest score. Size groups by the area of the true box: below 32 x 32 pixels, to
96 x 96, above. It is the ``area`` that COCO's annotations give, of the object's outline; elsewhere that of its box.
"""

from __future__ import annotations

import contextlib
import io
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsloc import boxes
from wsloc.progress import Progress, silent
from wsloc.records import Box, GroundTruth

try:
    # The same figures (tests/evaluation/test_coco_ap.py) in a fraction of the time.
    from faster_coco_eval import COCO
    from faster_coco_eval import COCOeval_faster as COCOeval
except ImportError:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

_OUTSIDE_EVERY_SIZE = -1.0
"""As the area of a true box it makes COCOeval ignore the box. There is no other way: its ``ignore`` flag is
overwritten with ``iscrowd``, and a crowd region is matched by another IoU and any number of times."""
_LOWEST = -sys.float_info.max
_ALL, _SMALL, _MEDIUM, _LARGE = range(4)
_MAX_BOXES = -1
_IOU_50, _IOU_75 = 0, 5


@dataclass(frozen=True, slots=True)
class ClassCocoAp:
    """AP and AP50 of one class, in [0, 1]."""

    ap: float
    ap50: float


@dataclass(frozen=True, slots=True)
class CocoAp:
    """COCO's figures, in [0, 1], means over classes; those of a size are None if no true box has it."""

    ap: float
    ap50: float
    ap75: float
    ap_small: float | None
    ap_medium: float | None
    ap_large: float | None
    classes: dict[str, ClassCocoAp]


def coco_ap(
    truth: Mapping[str, GroundTruth],
    localizations: Iterable[Box],
    score_of: Callable[[Box], float],
    class_names: Sequence[str] | None = None,
    progress: Progress = silent,
) -> CocoAp | None:
    """Average precision of boxes, all components of an item among them.

    A difficult object is neither found nor missed: one box that fits it, and no other object, counts as nothing. A
    second box on it is a miss, other than in VOC. In a crowd region any number of boxes of its class count as nothing.

    Args:
        truth: the true boxes of some images, by image id.
        localizations: boxes on other images are left out.
        score_of: how certain a box is; NaN comes last.
        class_names: only these classes; None for all.
        progress: counts the classes.

    Returns:
        Classes by name; one without a true box that is not difficult is left out. None if no class is left.
    """
    ordinary = {
        name
        for image in truth.values()
        for name, difficult in zip(image.class_names, image.difficult, strict=True)
        if not difficult
    }
    names = sorted(ordinary if class_names is None else ordinary.intersection(class_names))
    if not names:
        return None
    true, found = _true_annotations(truth, names), _boxes(truth, localizations, score_of, names)
    precisions = np.stack(
        [_precision(true[name], found[name]) for name in progress(names, "average precision", "class")]
    )
    by_class = {
        name: ClassCocoAp(float(precision[..., _ALL].mean()), float(precision[_IOU_50, :, _ALL].mean()))
        for name, precision in zip(names, precisions, strict=True)
    }
    return CocoAp(
        float(precisions[..., _ALL].mean()),
        float(precisions[:, _IOU_50, :, _ALL].mean()),
        float(precisions[:, _IOU_75, :, _ALL].mean()),
        _mean_where_known(precisions[..., _SMALL]),
        _mean_where_known(precisions[..., _MEDIUM]),
        _mean_where_known(precisions[..., _LARGE]),
        by_class,
    )


def _mean_where_known(precisions: NDArray[np.float64]) -> float | None:
    """The mean over classes, ``(K, 10, 101)``; COCOeval marks one without a true box of the size with -1."""
    known = precisions[precisions >= 0]
    return float(known.mean()) if len(known) else None


def _true_annotations(truth: Mapping[str, GroundTruth], names: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """By class; image ids are their order, from 1."""
    of_class: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for image_id, image in enumerate(truth.values(), start=1):
        own = boxes.area(image.boxes_xyxy) if image.areas is None else image.areas
        sizes = np.where(image.difficult, _OUTSIDE_EVERY_SIZE, own)
        for class_names, boxes_xyxy, areas, crowd in (
            (image.class_names, image.boxes_xyxy, sizes, 0),
            (image.crowd_class_names, image.crowd_xyxy, boxes.area(image.crowd_xyxy), 1),
        ):
            for name, box, area in zip(class_names, boxes.to_xywh(boxes_xyxy).tolist(), areas.tolist(), strict=True):
                if name in of_class:
                    of_class[name].append({"image_id": image_id, "bbox": box, "area": area, "iscrowd": crowd})
    return of_class


def _boxes(
    truth: Mapping[str, GroundTruth],
    localizations: Iterable[Box],
    score_of: Callable[[Box], float],
    names: Sequence[str],
) -> dict[str, list[dict[str, Any]]]:
    coco_id = {image_id: index for index, image_id in enumerate(truth, start=1)}
    of_class: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for record in localizations:
        if record.class_name in of_class and record.image_id in coco_id:
            x0, y0, x1, y1 = record.box_xyxy
            width, height = x1 - x0, y1 - y0
            entry: dict[str, Any] = {
                "image_id": coco_id[record.image_id],
                "bbox": [x0, y0, width, height],
                "area": width * height,
            }
            score = score_of(record)
            # faster-coco-eval refuses NaN.
            entry |= {"iscrowd": 0, "score": _LOWEST if math.isnan(score) else float(score)}
            of_class[record.class_name].append(entry)
    return of_class


def _precision(true: list[dict[str, Any]], found: list[dict[str, Any]]) -> NDArray[np.float64]:
    """COCOeval's precision of one class: ``(10, 101, 4)`` by IoU, recall and size.

    One class at a time, over the images that have anything of it: an image without takes part in nothing, and
    COCOeval would loop over all images for every class.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator = COCOeval(_as_coco(true, found, true), _as_coco(true, found, found), "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
    return np.asarray(evaluator.eval["precision"][:, :, 0, :, _MAX_BOXES])


def _as_coco(true: list[dict[str, Any]], found: list[dict[str, Any]], annotations: list[dict[str, Any]]) -> COCO:
    """One side of the comparison. Ids start at 1, for COCOeval takes 0 for "not matched"."""
    image_ids = sorted({annotation["image_id"] for annotation in [*true, *found]})
    coco = COCO()
    coco.dataset = {
        "images": [{"id": image_id} for image_id in image_ids],
        "categories": [{"id": 1}],
        "annotations": [{**fields, "id": key, "category_id": 1} for key, fields in enumerate(annotations, start=1)],
    }
    coco.createIndex()
    return coco
