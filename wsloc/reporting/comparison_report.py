"""The contents of the page of several runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from wsloc.config import LocalizeConfig
from wsloc.evaluation.comparison import Comparison, Contender, ItemRow, compare
from wsloc.evaluation.items import items_of
from wsloc.evaluation.judging import Judged
from wsloc.evaluation.kept_curve import judge_boxes, kept_curve
from wsloc.judging.detection_metrics import average_precision, scores_of
from wsloc.judging.judged_run import contender
from wsloc.progress import Progress, silent
from wsloc.records import SCORES, GroundTruth
from wsloc.reporting.charts import Chart, Line, thinned
from wsloc.reporting.figures import kept_of, sweep, sweep_of
from wsloc.reporting.gallery import GalleryItem, true_boxes_of
from wsloc.reporting.run_pictures import Pictures
from wsloc.reporting.summary_rows import SummaryRow, run_rows
from wsloc.runs.read_run import RunContents

_RUN_COLORS = (0, 1, 5, 6, 7, 3)
"""No gray, which is a baseline's, and no green, which is that of the true boxes."""


@dataclass(frozen=True, slots=True)
class RunHead:
    """One of the runs: its name in tables, its folder, what it was, and notes on it."""

    name: str
    path: str
    complete: bool
    summary_rows: tuple[SummaryRow, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ComparisonReport:
    """The page of several runs; differences are to the first.

    Attributes:
        comparison: metrics on the items that all of the runs were asked for.
        average_precision: by name, of each run in [0, 1], boxes sorted by quality, on the images that all runs have.
        charts: each has a curve for each run.
        chosen: the items to show, those whose IoU differs most first.
        shown: the same with their true boxes.
        pictures: photographs of their images, filled in later.
    """

    runs: tuple[RunHead, ...]
    comparison: Comparison
    average_precision: Mapping[str, tuple[float, ...]]
    charts: tuple[Chart, ...]
    chosen: tuple[ItemRow, ...]
    shown: tuple[GalleryItem, ...]
    pictures: Pictures = field(default_factory=Pictures)


def build_comparison_report(
    runs: Sequence[RunContents],
    configs: Sequence[LocalizeConfig],
    truth: Mapping[str, GroundTruth],
    max_items: int,
    progress: Progress = silent,
) -> ComparisonReport:
    """Judge runs on the same items.

    Args:
        runs: at least two.
        configs: of each.
        truth: the true boxes of their images, by image id.
        max_items: of the gallery.
        progress: counts the metrics.

    Raises:
        UserError: if the runs have no image or no item in common.
    """
    names = run_names(runs)
    contenders = [
        contender(name, contents, config.data) for name, contents, config in zip(names, runs, configs, strict=True)
    ]
    comparison = compare(contenders, truth, progress)
    chosen = sorted(comparison.items, key=lambda item: min(item.ious) - max(item.ious))[:max_items]
    files = {record.image_id: record.file for contents in runs for record in contents.localizations}
    return ComparisonReport(
        run_heads(names, runs, configs),
        comparison,
        _average_precision(comparison, contenders, truth, progress),
        tuple(_charts(comparison, contenders, truth)),
        tuple(chosen),
        tuple(_shown(item, files, truth[item.image_id]) for item in chosen),
    )


def run_heads(
    names: Sequence[str], runs: Sequence[RunContents], configs: Sequence[LocalizeConfig]
) -> tuple[RunHead, ...]:
    """What pages of several runs say of each."""
    return tuple(
        RunHead(name, str(contents.path), contents.complete, run_rows(contents, config), contents.notes)
        for name, contents, config in zip(names, runs, configs, strict=True)
    )


def run_color(index: int) -> int:
    """The index of a run's color, the same in charts, tables and pictures."""
    return _RUN_COLORS[index % len(_RUN_COLORS)]


def run_names(runs: Sequence[RunContents]) -> tuple[str, ...]:
    """The names of the runs in tables: those of their folders, or the whole paths if two of those are equal."""
    names = [contents.name for contents in runs]
    if len(set(names)) < len(names):
        names = [str(contents.path) for contents in runs]
    return tuple(names if len(set(names)) == len(names) else (f"{k} {name}" for k, name in enumerate(names, start=1)))


def _average_precision(
    comparison: Comparison, contenders: Sequence[Contender], truth: Mapping[str, GroundTruth], progress: Progress
) -> dict[str, tuple[float, ...]]:
    # Images without an item count too: whatever a detector finds there is wrong.
    shared = frozenset.intersection(*(run.image_ids for run in contenders))
    common = {image_id: image for image_id, image in truth.items() if image_id in shared}
    classes = [row.corloc.name for row in comparison.classes]
    of_runs = [average_precision(common, run.localizations, "quality", classes, progress) for run in contenders]
    return {name: tuple(found[name] for found in of_runs) for name in of_runs[0]}


def _shown(item: ItemRow, files: Mapping[str, str], truth: GroundTruth) -> GalleryItem:
    true, difficult, size_wh = true_boxes_of(truth, item.class_name)
    return GalleryItem(
        image_id=item.image_id,
        file=files.get(item.image_id, item.image_id),
        class_name=item.class_name,
        state="box",
        iou=max(item.ious) - min(item.ious),
        probability=None,
        quality=None,
        boxes_xyxy=(),
        true_xyxy=true,
        difficult=difficult,
        size_wh=size_wh,
        reason="",
    )


def _charts(comparison: Comparison, contenders: Sequence[Contender], truth: Mapping[str, GroundTruth]) -> list[Chart]:
    names, judged = comparison.names, _judged(comparison)
    colors = [run_color(index) for index in range(len(names))]
    curves = [Line(name, _curve(of_run), color) for name, of_run, color in zip(names, judged, colors, strict=True)]
    charts = [sweep_of(tuple(curves))]
    images = {item.image_id for item in comparison.items}
    classes = sorted({item.class_name for item in comparison.items})
    common = {image_id: truth[image_id] for image_id in sorted(images)}
    boxes = [judge_boxes(common, contender.localizations, classes) for contender in contenders]
    scores = [None if kept is None else scores_of(kept) for kept in boxes]
    for score in SCORES:
        lines = []
        for name, kept, own, color in zip(names, boxes, scores, colors, strict=True):
            if kept is not None and own is not None:
                curve = kept_curve(kept, own[score], kept.right)
                lines.append(Line(name, thinned(curve.fraction, curve.precision), color))
        charts.append(
            kept_of(
                lines,
                f"kept-{score}",
                f"Precision against fraction kept, by {score}",
                f"The fraction of right boxes (IoU > 0.5) among those of the highest {score}.",
            )
        )
    return charts


def _curve(judged: Judged) -> tuple[tuple[float, float], ...]:
    values = sweep(judged)
    return tuple(zip(np.linspace(0, 1, len(values)).tolist(), values, strict=True))


def _judged(comparison: Comparison) -> list[Judged]:
    """The IoUs of each run in the form that the metrics take."""
    items = items_of([(item.image_id, item.class_name) for item in comparison.items])
    ious = np.array([item.ious for item in comparison.items])
    return [Judged(items, ious[:, run], np.zeros(len(items.image_ids))) for run in range(ious.shape[1])]
