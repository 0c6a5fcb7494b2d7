"""The metrics of one run next to the baselines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsloc import boxes
from wsloc.evaluation.bootstrap import Estimate, estimate
from wsloc.evaluation.corloc import defined_metrics, per_class_corloc
from wsloc.evaluation.items import class_means, judged_items
from wsloc.evaluation.judging import Judged, judge_baseline, judge_localizations, true_boxes
from wsloc.progress import Progress, silent
from wsloc.records import Box, GroundTruth

BASELINES: dict[str, Callable[[tuple[int, int]], NDArray[np.float64]]] = {
    "center box": boxes.centered,
    "full image": boxes.full_image,
}
"""Ways to make a box without looking at the image."""
RUN = "wsloc"
"""What the boxes of a run are called next to the baselines."""


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
    """The metrics of a run.

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
    localizations: Iterable[Box],
    truth: Mapping[str, GroundTruth],
    class_names: Sequence[str] | None = None,
    progress: Progress = silent,
    *,
    counted: bool = True,
) -> Evaluation | None:
    """Judge boxes against ground truth.

    Args:
        localizations: the boxes of a run.
        truth: the true boxes of its images, by image id.
        class_names: the classes that were asked for; None for all.
        progress: counts the metrics.
        counted: False for boxes listed down to any score, whose number is meaningless.

    Returns:
        None if there is no item to judge.
    """
    judged = judge_with_baselines(localizations, truth, class_names, counted=counted)
    return None if judged is None else summarize(judged, progress)


def judge_with_baselines(
    localizations: Iterable[Box],
    truth: Mapping[str, GroundTruth],
    class_names: Sequence[str] | None = None,
    *,
    counted: bool = True,
) -> dict[str, Judged] | None:
    """The boxes of a run and of the baselines, by name, judged against the truth.

    Args:
        localizations: as of :func:`evaluate`, like the next two.
        truth: likewise.
        class_names: likewise.
        counted: likewise.

    Returns:
        None if there is no item to judge.
    """
    items = judged_items(truth, class_names)
    if not items:
        return None
    true = true_boxes(items, truth)
    own = judge_localizations(true, localizations, counted=counted)
    return {RUN: own} | {name: judge_baseline(true, make, own.rank) for name, make in BASELINES.items()}


def summarize(judged: Mapping[str, Judged], progress: Progress = silent) -> Evaluation:
    """The metrics of the boxes of a run and of the baselines, as :func:`judge_with_baselines` gives them."""
    own = judged[RUN]
    per_class = {name: per_class_corloc(result) for name, result in judged.items()}
    ious = class_means(np.ones((1, len(own))), own.items, own.iou)[0]
    classes = tuple(
        ClassScores(
            name,
            int(items),
            float(per_class[RUN][k]),
            float(ious[k]),
            {baseline: float(per_class[baseline][k]) for baseline in BASELINES},
        )
        for k, (name, items) in enumerate(zip(own.items.class_names, own.items.counts(), strict=True))
    )
    shown = defined_metrics(judged.values())
    rows: dict[str, dict[str, Estimate]] = {name: {} for name in judged}
    pairs = [(name, metric) for name in judged for metric in shown]
    for name, metric in progress(pairs, "metrics", "metric"):
        rows[name][metric] = estimate(shown[metric], judged[name])
    return Evaluation(len(own), len(own.items), tuple(Scores(*row) for row in rows.items()), classes)
