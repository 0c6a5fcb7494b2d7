"""Average precision as PASCAL VOC defines it (Everingham et al. 2010, section 4.2, and the development kit).

The boxes of a class are gone through from the highest score down, equal scores in the order in which the boxes are
given. A box is matched with the true box of its image and class with which it has the largest IoU. With an IoU of at
least 0.5 it is a hit if it is the first on that object and a miss if not; on a difficult object it is neither; below
0.5 it is a miss. The development kit computes areas of whole-numbered, inclusive boxes, width ``xmax - xmin + 1``:
those of the half-open boxes here are the same.

- *all points* (VOC 2010 and after): the area under precision over recall, precision made to fall monotonically.
- *11 points* (VOC 2007): the mean of that precision at recalls 0, 0.1, ... 1. Recall is compared as the whole
  numbers hits and objects. The kit's floating-point 0.3 is a little above 3 / 10, so that a class with 10 objects
  and exactly 3 hits scores less there.

VOC has no crowd regions. A miss that lies to half of its area in one of its class is left out here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsloc.evaluation.pairing import best_matches, boxes_of, crowds_of, largest_fraction_inside, objects_of
from wsloc.records import Box, GroundTruth

IOU_THRESHOLD = 0.5
"""The least IoU of a hit."""


@dataclass(frozen=True, slots=True)
class ClassVocAp:
    """One class.

    Attributes:
        objects: true boxes that are not difficult.
        boxes: that were judged, those on difficult objects included.
        all_points: average precision since VOC 2010, in [0, 1].
        eleven_points: average precision of VOC 2007, in [0, 1].
    """

    objects: int
    boxes: int
    all_points: float
    eleven_points: float


@dataclass(frozen=True, slots=True)
class VocAp:
    """The means over classes (mAP), in [0, 1], and the classes by name."""

    all_points: float
    eleven_points: float
    classes: dict[str, ClassVocAp]


def voc_ap(
    truth: Mapping[str, GroundTruth],
    localizations: Iterable[Box],
    score_of: Callable[[Box], float],
    class_names: Sequence[str] | None = None,
) -> VocAp | None:
    """Average precision of boxes, all components of an item among them.

    If boxes were found from image-level labels, no box is on an image without its class, and the figure is above
    that of a detector, which has to tell such images apart.

    Args:
        truth: the true boxes of some images, by image id.
        localizations: boxes on other images are left out.
        score_of: how certain a box is; NaN comes last.
        class_names: only these classes; None for all.

    Returns:
        Classes by name; one without a true box that is not difficult is left out. None if no class is left.
    """
    objects = objects_of(truth, class_names)
    names = sorted(
        {name for (_, name), difficult in zip(objects.keys, objects.difficult, strict=True) if not difficult}
    )
    if not names:
        return None
    class_index = {name: index for index, name in enumerate(names)}
    found = [record for record in localizations if record.class_name in class_index and record.image_id in truth]
    boxes_xyxy, keys = boxes_of(found), [(record.image_id, record.class_name) for record in found]
    match = best_matches(boxes_xyxy, keys, objects.boxes_xyxy, objects.keys)
    in_crowd = largest_fraction_inside(boxes_xyxy, keys, crowds_of(truth)) >= IOU_THRESHOLD
    scores = np.array([score_of(record) for record in found], dtype=np.float64)

    order = np.argsort(-scores, kind="stable")
    near = match.iou >= IOU_THRESHOLD
    ignored = np.zeros(len(found), dtype=bool)
    ignored[near] = objects.difficult[match.true[near]]
    hit = np.zeros(len(found), dtype=bool)
    candidates = order[(near & ~ignored)[order]]
    hit[candidates[np.unique(match.true[candidates], return_index=True)[1]]] = True
    counted = ~ignored & (hit | ~in_crowd)

    class_of = np.array([class_index[record.class_name] for record in found], dtype=np.int64)
    by_class = order[np.argsort(class_of[order], kind="stable")]
    ends = np.cumsum(np.bincount(class_of, minlength=len(names)))
    ordinary = np.array([class_index.get(name, -1) for _, name in objects.keys], dtype=np.int64)[~objects.difficult]
    counts = np.bincount(ordinary, minlength=len(names))
    classes = {}
    for name, own, count in zip(names, np.split(by_class, ends[:-1]), counts.tolist(), strict=True):
        all_points, eleven_points = average_precisions(hit[own[counted[own]]], count)
        classes[name] = ClassVocAp(count, len(own), all_points, eleven_points)
    return VocAp(
        float(np.mean([scored.all_points for scored in classes.values()])),
        float(np.mean([scored.eleven_points for scored in classes.values()])),
        classes,
    )


def average_precisions(hit: NDArray[np.bool_], objects: int) -> tuple[float, float]:
    """Average precision by all points and by 11 points.

    Args:
        hit: bool ``(N,)``, whether each box is a hit (else a miss), the highest score first.
        objects: how many there were to find, at least 1.
    """
    hits = np.cumsum(hit)
    precision = hits / np.arange(1, len(hit) + 1)
    highest_from = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    first_at = np.searchsorted(10 * hits, np.arange(11) * objects)
    return float(highest_from[:-1][hit].sum() / objects), float(highest_from[first_at].mean())
