"""Runs from Python: started, evaluated, exported and reported."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from wsloc.classifiers import Classifier
from wsloc.config import LocalizeConfig
from wsloc.config_files import settings_of_run, settings_of_runs
from wsloc.datasets import open_dataset
from wsloc.errors import UserError, counted
from wsloc.evaluation import Evaluation
from wsloc.evaluation import evaluate as evaluate_boxes
from wsloc.evaluation.summary import summarize
from wsloc.evaluation.table import format_evaluation
from wsloc.exporters.export_settings import LayoutSettings, SelectionSettings
from wsloc.exporters.exporting import export_run
from wsloc.exporters.formats import Export
from wsloc.exporters.source import source_of_run
from wsloc.judging.judged_run import judge_run
from wsloc.main_job import run_main_job
from wsloc.plugins import trusting
from wsloc.progress import Progress, silent
from wsloc.records import Box, BoxRecord, Detection, Failure, GroundTruth
from wsloc.reporting.writing import MAX_ITEMS, page_of_run, page_of_runs, write_page
from wsloc.runs.read_run import read_run

PathLike = str | os.PathLike[str]


@dataclass(frozen=True, slots=True, eq=False)
class RunResult:
    """The result of a run.

    Attributes:
        path: its folder.
        boxes: in the order of the images.
        failures: what has no box, and why.
        evaluation: its metrics; None if there is no ground truth.
    """

    path: Path
    boxes: tuple[BoxRecord, ...]
    failures: tuple[Failure, ...]
    evaluation: Evaluation | None

    def __repr__(self) -> str:
        said = f"RunResult({str(self.path)!r}, {counted(len(self.boxes), 'box')}, "
        said += f"{counted(len(self.failures), 'failure')})"
        return said if self.evaluation is None else f"{said}\n{format_evaluation(self.evaluation)}"


def run(config: LocalizeConfig, classifier: Classifier | None = None, progress: Progress = silent) -> RunResult:
    """The main job: localize every labeled class of every image of a data set, evaluate the boxes, and save everything.

    Args:
        config: all settings; ``config.output`` says where the run folder is.
        classifier: your own; None to load what the configuration names.
        progress: shows the progress over the images.

    Raises:
        UserError: if anything is wrong with the data set, the network or the run folder.
    """
    done = run_main_job(config, classifier=classifier, progress=progress)
    contents = done.judged.contents
    return RunResult(contents.path, contents.localizations, contents.failures, done.summary.evaluation)


def evaluate(
    boxes: PathLike | Iterable[Box],
    truth: Mapping[str, GroundTruth] | None = None,
    progress: Progress = silent,
    *,
    trust: bool = False,
) -> Evaluation | None:
    """How often the boxes are right, next to the center box and the full image, with bootstrap intervals.

    Args:
        boxes: a run folder; or boxes, as the result of :func:`wsloc.localize` holds them.
        truth: the true boxes of their images by image id, for boxes that are not a run.
        progress: counts the metrics.
        trust: whether the settings of the run may name code to run, such as a data set of your own.

    Returns:
        None if there is no ground truth.

    Raises:
        UserError: if the folder is not a run, or its data set cannot be opened.
    """
    if not isinstance(boxes, str | os.PathLike):
        if truth is None:
            raise UserError("Boxes that are not a run need `truth`, such as wsloc.read_ground_truth(...).images.")
        records = list(boxes)
        counted = not any(isinstance(record, Detection) for record in records)
        return evaluate_boxes(records, truth, progress=progress, counted=counted)
    folder = Path(boxes)
    with trusting(trust):
        settings = settings_of_run(folder).data
    judged = judge_run(read_run(folder), settings, open_dataset(replace(settings, download=False)))
    return None if judged.judged is None else summarize(judged.judged, progress)


def export(
    run: PathLike,
    format: str,
    out: PathLike | None = None,
    *,
    overwrite: bool = False,
    trust: bool = False,
    progress: Progress = silent,
    **settings: Any,
) -> Export:
    """Write the boxes of a run for a detector or an annotation tool.

    Args:
        run: its folder; it may be unfinished.
        format: ``coco``, ``voc``, ``yolo``, ``imagefolder``, ``label-studio`` or ``cvat``.
        out: folder to write; None for ``exports/FORMAT`` of the run folder.
        overwrite: whether to replace an existing export.
        trust: as in :func:`evaluate`.
        progress: shows the progress over the images.
        settings: of :class:`~wsloc.exporters.export_settings.SelectionSettings` and
            :class:`~wsloc.exporters.export_settings.LayoutSettings` by their names, such as ``min_score=0.5``.

    Raises:
        UserError: if the run or the folder cannot be used, or there is no such setting.
    """
    selection = {field.name for field in fields(SelectionSettings)}
    layout = {field.name for field in fields(LayoutSettings)}
    if unknown := sorted(settings.keys() - selection - layout):
        known = ", ".join(sorted(selection | layout))
        raise UserError(f"There is no setting {unknown[0]!r} of an export; there are {known}.")
    folder = Path(run)
    with trusting(trust):
        source = source_of_run(folder)
    return export_run(
        folder,
        source,
        format,
        None if out is None else Path(out),
        SelectionSettings(**{name: value for name, value in settings.items() if name in selection}),
        LayoutSettings(**{name: value for name, value in settings.items() if name in layout}),
        overwrite=overwrite,
        progress=progress,
    )


def report(
    runs: PathLike | Sequence[PathLike],
    out: PathLike | None = None,
    *,
    gallery: int = MAX_ITEMS,
    trust: bool = False,
    progress: Progress = silent,
) -> Path:
    """Write a page about a run, or about several and their differences from the first.

    Args:
        runs: run folders; they may be unfinished.
        out: page to write; None for ``report.html`` in the folder of the (first) run.
        gallery: maximum number of items with pictures.
        trust: as in :func:`evaluate`.
        progress: shows the progress over metrics and pictures.

    Returns:
        The page; the Markdown version is next to it.

    Raises:
        UserError: if a folder is not a run, or its data set cannot be opened.
    """
    folders = [Path(runs)] if isinstance(runs, str | os.PathLike) else [Path(run) for run in runs]
    contents = [read_run(folder) for folder in folders]
    with trusting(trust):
        configs = settings_of_runs(folders)
    page = Path(out) if out is not None else folders[0] / "report.html"
    if len(contents) > 1:
        written = page_of_runs(contents, configs, gallery, progress)
    else:
        dataset = open_dataset(replace(configs[0].data, download=False))
        written = page_of_run(
            judge_run(contents[0], configs[0].data, dataset), configs[0], dataset, gallery, progress=progress
        )
    write_page(page, *written)
    return page
