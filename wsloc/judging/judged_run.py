"""A run evaluated against its data set's ground truth."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from wsloc.config import DataSettings
from wsloc.datasets import Dataset, GroundTruthSet, open_dataset, read_ground_truth
from wsloc.errors import UserError
from wsloc.evaluation import BASELINES, Evaluation
from wsloc.evaluation.comparison import Contender
from wsloc.evaluation.judging import Judged
from wsloc.evaluation.summary import RUN, judge_with_baselines
from wsloc.files.atomic import write_atomic
from wsloc.files.csv_lines import csv_lines
from wsloc.records import SCORES, BoxRecord, GroundTruth, first_boxes
from wsloc.runs.read_run import RunContents

_ITEM_COLUMNS = ["image_id", "class_name", "iou", "rank", "probability", "quality", "fallback", "x0", "y0", "x1", "y1"]


@dataclass(frozen=True, slots=True, eq=False)
class JudgedRun:
    """A run, the truth of its images, and how well it did.

    Attributes:
        contents: the run.
        truth: of the images that the run is judged on; None if the data set has none.
        judged: the run's boxes and the baselines', by name; None if there is no true box to judge by.
        headless: why ``judged`` is None, one sentence; else empty.
    """

    contents: RunContents
    truth: GroundTruthSet | None
    judged: dict[str, Judged] | None
    headless: str = ""


def judge_run(contents: RunContents, settings: DataSettings, dataset: Dataset) -> JudgedRun:
    """Judge a run on the data set that its settings opened; an unfinished run on the images that it has reached."""
    truth = read_ground_truth(settings, dataset)
    if truth is None:
        return JudgedRun(contents, None, None, "No ground truth, so no metrics." + _way_to_truth(settings))
    judged = judge_with_baselines(
        contents.localizations,
        reached_truth(contents, truth),
        classes_asked(settings),
        counted=not contents.by_detector,
    )
    if judged is not None:
        return JudgedRun(contents, truth, judged)
    if not contents.complete and not contents.image_ids():
        return JudgedRun(contents, truth, None, "The run has not finished any image yet, so there are no metrics.")
    return JudgedRun(
        contents, truth, None, "No image has a true box of the classes asked for, so there are no metrics."
    )


def open_images(given: DataSettings, own: DataSettings) -> Dataset:
    """The images of a run, by its own annotations where others are given, which may number images in another way.

    Args:
        given: settings of the data that the run is judged by.
        own: that the run was made with.

    Raises:
        UserError: if the data set cannot be opened.
    """
    if given.annotations != own.annotations:
        try:
            return open_dataset(replace(given, annotations=own.annotations))
        except UserError:
            pass  # They have moved, and were named anew.
    return open_dataset(given)


def reached_truth(contents: RunContents, truth: GroundTruthSet) -> dict[str, GroundTruth]:
    """The truth of the images that a run is judged on: those that it has reached if it is unfinished."""
    if contents.complete:
        return truth.images
    reached = contents.image_ids()
    return {image_id: image for image_id, image in truth.images.items() if image_id in reached}


def classes_asked(settings: DataSettings) -> tuple[str, ...] | None:
    """The classes that a run looked for; None for those that its images are labeled with, or the classifier's best."""
    return (settings.class_name,) if settings.class_name else settings.classes or None


def contender(name: str, contents: RunContents, settings: DataSettings) -> Contender:
    """A run, under the name that tables call it, as :func:`wsloc.evaluation.comparison.compare` takes it."""
    asked = classes_asked(settings)
    return Contender(
        name,
        contents.localizations,
        contents.image_ids(),
        None if asked is None else frozenset(asked),
        contents.manifest.get("dataset_fingerprint"),
        contents.complete,
        not contents.by_detector,
    )


def common_truth(
    runs: Sequence[RunContents], settings: Sequence[DataSettings], annotations: Path | None = None
) -> tuple[Dataset, dict[str, GroundTruth] | None]:
    """The images of some runs, and their true boxes; None where no data set of theirs has any.

    Args:
        runs: at least one.
        settings: of each; the first with true boxes counts. The runs themselves say which images count.
        annotations: a COCO instances file with other true boxes than those of the data set.

    Raises:
        UserError: if a data set cannot be opened.
    """
    wanted = frozenset.union(*(contents.image_ids() for contents in runs))
    for of_run in settings:
        whole = replace(of_run, ids=None, limit=None, classes=(), download=False)
        judged_by = whole if annotations is None else replace(whole, annotations=annotations)
        dataset = open_images(judged_by, whole)
        dataset = replace(dataset, images=tuple(image for image in dataset.images if image.image_id in wanted))
        truth = read_ground_truth(judged_by, dataset)
        if truth is not None:
            return dataset, truth.images
    return dataset, None


def _way_to_truth(settings: DataSettings) -> str:
    """How to add true boxes, for a data set that takes them from files of the user."""
    return " `boxes` or `masks` adds true boxes." if settings.dataset == "folder" else ""


def write_metrics(
    folder: Path, run: JudgedRun, evaluation: Evaluation, more: Mapping[str, Mapping[str, Any]] | None = None
) -> None:
    """Write metrics.json, metrics_per_class.csv and items.csv; ``more`` has groups of metrics for the first."""
    write_atomic(folder / "metrics.json", metrics_json(run, evaluation, more))
    head = ["class", "items", "corloc", "mean_iou", *(f"corloc {name}" for name in BASELINES)]
    classes = (
        [scores.class_name, scores.items, scores.corloc, scores.mean_iou, *scores.baselines.values()]
        for scores in evaluation.classes
    )
    write_atomic(folder / "metrics_per_class.csv", csv_lines([head, *classes]))
    if run.judged is not None:
        rows = item_rows(run.judged[RUN], run.contents.localizations)
        write_atomic(folder / "items.csv", csv_lines([_ITEM_COLUMNS, *rows]))


def metrics_json(run: JudgedRun, evaluation: Evaluation, more: Mapping[str, Mapping[str, Any]] | None = None) -> str:
    """The text of metrics.json; see :func:`write_metrics`."""
    document = {"complete": run.contents.complete, **asdict(evaluation), **(more or {})}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def item_rows(judged: Judged, localizations: tuple[BoxRecord, ...]) -> Iterator[list[object]]:
    """One row for each judged item, in their order; an item without a box has an IoU of 0 and nothing more."""
    found = first_boxes(localizations)
    for pair, iou in zip(judged.items.pairs(), judged.iou.tolist(), strict=True):
        record = found.get(pair)
        if record is None:
            yield [*pair, iou, *[""] * 8]
        else:
            scores = map(record.score_by, SCORES)
            yield [*pair, iou, record.rank, *scores, record.fallback or "", *record.box_xyxy]
