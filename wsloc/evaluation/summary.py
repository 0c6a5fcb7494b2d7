"""The metrics of one run beside the baselines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsloc import boxes
from wsloc.evaluation.bootstrap import Estimate, estimate
from wsloc.evaluation.corloc import METRICS, per_class_corloc
from wsloc.evaluation.judging import judge_baseline, judge_localizations, judged_items
from wsloc.records import GroundTruth, Localization

BASELINES: dict[str, Callable[[tuple[int, int]], NDArray[np.float64]]] = {
    "centre box": boxes.centered,
    "full image": boxes.full_image,
}
"""Ways to make a box without looking at the image."""


@dataclass(frozen=True, slots=True)
class Scores:
    """One row of the summary: who made the boxes, and its metrics by name."""

    name: str
    metrics: dict[str, Estimate]


@dataclass(frozen=True, slots=True)
class ClassScores:
    """One class: the number of its items, and its CorLoc by each way of making boxes, in [0, 1]."""

    class_name: str
    items: int
    corloc: float
    mean_iou: float
    baselines: dict[str, float]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a run is worth.

    Attributes:
        images: judged.
        items: judged (image, class) pairs; an item without a box counts as not found.
        rows: the run first, then the baselines.
        classes: by name.
    """

    images: int
    items: int
    rows: tuple[Scores, ...]
    classes: tuple[ClassScores, ...]


def evaluate(
    localizations: Iterable[Localization],
    truth: Mapping[str, GroundTruth],
    class_names: Sequence[str] | None = None,
) -> Evaluation | None:
    """Judge boxes against ground truth.

    Args:
        localizations: the boxes of a run.
        truth: the true boxes of its images, by image id.
        class_names: the classes that were asked for; None for all.

    Returns:
        None if there is no item to judge.
    """
    items = judged_items(truth, class_names)
    if not items.image_ids:
        return None
    judged = {"wsloc": judge_localizations(items, truth, localizations)}
    judged |= {name: judge_baseline(items, truth, make_box) for name, make_box in BASELINES.items()}
    per_class = {name: per_class_corloc(result) for name, result in judged.items()}
    ious = judged["wsloc"].iou
    classes = tuple(
        ClassScores(
            name,
            int(items.present[:, k].sum()),
            float(per_class["wsloc"][k]),
            float(np.nanmean(ious[:, k])),
            {baseline: float(per_class[baseline][k]) for baseline in BASELINES},
        )
        for k, name in enumerate(items.class_names)
    )
    rows = tuple(
        Scores(name, {metric: estimate(statistic, result) for metric, statistic in METRICS.items()})
        for name, result in judged.items()
    )
    return Evaluation(len(items.image_ids), int(items.present.sum()), rows, classes)
