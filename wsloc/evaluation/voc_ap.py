"""Average precision as PASCAL VOC defines it (Everingham et al. 2010, section 4.2, and the development kit).

Boxes are matched with true boxes as :mod:`wsloc.evaluation.matching` says.

- *all points* (VOC 2010 and after): the area under precision over recall, precision made to fall monotonically.
- *11 points* (VOC 2007): the mean of that precision at recalls 0, 0.1, ... 1. Recall is compared as the whole
  numbers hits and objects. The kit's floating-point 0.3 is a little above 3 / 10, so that a class with 10 objects
  and exactly 3 hits scores less there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsloc.evaluation.matching import match_one_to_one
from wsloc.evaluation.pairing import boxes_of, crowds_of, objects_of
from wsloc.records import Box, GroundTruth


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
    scores = np.array([score_of(record) for record in found], dtype=np.float64)
    keys = [(record.image_id, record.class_name) for record in found]
    matched = match_one_to_one(boxes_of(found), keys, scores, objects, crowds_of(truth))
    order = np.argsort(-scores, kind="stable")

    class_of = np.array([class_index[record.class_name] for record in found], dtype=np.int64)
    by_class = order[np.argsort(class_of[order], kind="stable")]
    ends = np.cumsum(np.bincount(class_of, minlength=len(names)))
    ordinary = np.array([class_index.get(name, -1) for _, name in objects.keys], dtype=np.int64)[~objects.difficult]
    counts = np.bincount(ordinary, minlength=len(names))
    classes = {}
    for name, own, count in zip(names, np.split(by_class, ends[:-1]), counts.tolist(), strict=True):
        all_points, eleven_points = average_precisions(matched.hit[own[matched.counted[own]]], count)
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
