"""A run's boxes as detections, and what their scores say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from wsloc.evaluation import Estimate, estimate
from wsloc.evaluation.coco_ap import coco_ap
from wsloc.evaluation.kept_curve import JudgedBoxes, area, gain, half_difference, judge_boxes, overall, rank
from wsloc.evaluation.voc_ap import voc_ap
from wsloc.judging.map_metrics import MetricGroup
from wsloc.progress import Progress, silent
from wsloc.records import SCORES, Box, GroundTruth


def scores_of(judged: JudgedBoxes) -> dict[str, NDArray[np.float64]]:
    """Each score of the boxes, float64 ``(N,)``, by its name."""
    return {name: np.array([box.score_by(name) for box in judged.localizations]) for name in SCORES}


def average_precision(
    truth: Mapping[str, GroundTruth],
    localizations: Sequence[Box],
    score: str,
    class_names: Sequence[str] | None = None,
    progress: Progress = silent,
) -> dict[str, float]:
    """COCO's and VOC's average precision of a run's boxes by name, in [0, 1]; without those that have no object."""

    def score_of(box: Box) -> float:
        return box.score_by(score)

    coco = coco_ap(truth, localizations, score_of, class_names, progress)
    voc = voc_ap(truth, localizations, score_of, class_names)
    found: dict[str, float | None] = {}
    if coco is not None:
        found |= {"COCO AP": coco.ap, "COCO AP50": coco.ap50, "COCO AP75": coco.ap75}
        found |= {"COCO AP small": coco.ap_small, "COCO AP medium": coco.ap_medium, "COCO AP large": coco.ap_large}
    if voc is not None:
        found |= {"VOC mAP, all points": voc.all_points, "VOC mAP, 11 points": voc.eleven_points}
    return {name: value for name, value in found.items() if value is not None}


def score_metrics(
    truth: Mapping[str, GroundTruth],
    localizations: Sequence[Box],
    class_names: Sequence[str] | None = None,
) -> MetricGroup | None:
    """What each score says of its boxes: precision when only the best are kept; None if there is no box."""
    judged = judge_boxes(truth, localizations, class_names)
    if judged is None:
        return None
    metrics: dict[str, Estimate] = {}
    for name, scores in scores_of(judged).items():
        ranking = rank(judged, scores, judged.right)
        if not metrics:
            metrics["precision of all boxes"] = estimate(overall, ranking)
        metrics[f"area by {name}"] = estimate(area, ranking)
        metrics[f"gain by {name}"] = estimate(gain, ranking)
        metrics[f"kept half - dropped half by {name}"] = estimate(half_difference, ranking)
    return MetricGroup("precision of the boxes kept when sorted by a score", metrics)
