"""All metrics of a run, or of the maps of another tool."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from wsloc.config import DataSettings
from wsloc.datasets import Dataset, open_dataset, read_ground_truth
from wsloc.errors import UserError
from wsloc.evaluation.box_curves import BoxCurves
from wsloc.evaluation.items import Items, judged_items
from wsloc.evaluation.judging import true_boxes
from wsloc.evaluation.map_boxes import Protocol, judge_maps
from wsloc.evaluation.summary import RUN
from wsloc.judging.detection_metrics import average_precision, score_metrics
from wsloc.judging.judged_run import JudgedRun, classes_asked, reached_truth
from wsloc.judging.map_metrics import MapFolder, MetricGroup, map_metrics, mask_metrics
from wsloc.progress import Progress, silent
from wsloc.runs.map_store import MAPS
from wsloc.runs.read_run import RunContents, read_run


@dataclass(frozen=True, slots=True)
class Judging:
    """How boxes and maps are judged.

    Attributes:
        maps: None if there are none.
        protocol: of the thresholds, boxes and PxAP.
        score: what sorts the boxes for average precision, one of :data:`wsloc.records.SCORES`.
        held_out: a run on other images, with saved maps, that chooses thresholds, and its data settings; None for
            oracle thresholds alone.
    """

    maps: MapFolder | None
    protocol: Protocol = "wsloc"
    score: str = "quality"
    held_out: tuple[Path, DataSettings] | None = None


@dataclass(frozen=True, slots=True)
class MoreMetrics:
    """What goes beyond the headline metrics; average precision by name, in [0, 1]."""

    average_precision: Mapping[str, float]
    groups: tuple[MetricGroup, ...]

    def as_json(self) -> dict[str, Mapping[str, Any]]:
        """As metrics.json holds them, by the title of the group."""
        of_groups = {
            group.title: {name: asdict(value) for name, value in group.metrics.items()} for group in self.groups
        }
        return {**({"average precision": self.average_precision} if self.average_precision else {}), **of_groups}


def evaluate_run(run: JudgedRun, settings: DataSettings, how: Judging, progress: Progress = silent) -> MoreMetrics:
    """Average precision, the metrics of the scores, and those of maps and masks if there are any.

    Args:
        run: as judged.
        settings: which images and classes it is judged on.
        how: with which maps, protocol and score.
        progress: counts the items of each part.

    Raises:
        UserError: if the held-out run cannot choose thresholds for this one.
    """
    if run.judged is None or run.truth is None:
        return MoreMetrics({}, ())
    truth, asked, found = reached_truth(run.contents, run.truth), classes_asked(settings), run.contents.localizations
    items = run.judged[RUN].items
    precision = average_precision(truth, found, how.score, asked, progress)
    groups = [score_metrics(truth, found, asked)]
    if how.maps is not None:
        curves = _held_out_curves(how, items, progress)
        groups.append(map_metrics(items, truth, how.maps, how.protocol, curves, progress))
    groups.append(mask_metrics(items, run.truth, found, how.maps, how.protocol, progress))
    return MoreMetrics(precision, tuple(group for group in groups if group is not None))


def evaluate_maps(
    settings: DataSettings, dataset: Dataset, how: Judging, progress: Progress = silent
) -> tuple[Items, MoreMetrics, tuple[str, ...]]:
    """The metrics of maps that another tool wrote; arguments as in :func:`evaluate_run`.

    Returns:
        The judged items, the metrics, and the problems of the annotations.

    Raises:
        UserError: if there is no true box, or the held-out run cannot choose thresholds.
    """
    assert how.maps is not None
    truth = read_ground_truth(settings, dataset)
    items = judged_items(truth.images, classes_asked(settings)) if truth is not None else None
    if truth is None or not items:
        raise UserError("The data set has no true box to judge the maps by; `dataset='folder'` takes `boxes`.")
    curves = _held_out_curves(how, items, progress)
    of_maps = map_metrics(items, truth.images, how.maps, how.protocol, curves, progress)
    of_masks = mask_metrics(items, truth, (), how.maps, how.protocol, progress)
    groups = (of_maps,) if of_masks is None else (of_maps, of_masks)
    return items, MoreMetrics({}, groups), truth.problems


def differences(contents: RunContents, dataset: Dataset) -> list[str]:
    """What differs between a run and the current data set, one sentence each."""
    recorded = contents.image_ids()
    known = {image.image_id for image in dataset.images}
    said = []
    if lost := recorded - known:
        said.append(f"{len(lost)} images of the run are not in the data set, or not chosen by the settings; left out.")
    if contents.complete and (new := known - recorded):
        said.append(f"{len(new)} images of the data set have no record in the run; their items count as missed.")
    return said


def _held_out_curves(how: Judging, judged: Items, progress: Progress) -> tuple[str, BoxCurves] | None:
    """The name of the held-out run and its curves.

    Raises:
        UserError: if it shares an image with those that are judged, or has no maps or no truth.
    """
    if how.held_out is None:
        return None
    folder, settings = how.held_out
    contents = read_run(folder)
    truth = read_ground_truth(settings, open_dataset(settings))
    images = {} if truth is None else reached_truth(contents, truth)
    items = judged_items(images, classes_asked(settings))
    if not items:
        raise UserError(f"{folder} has no true box, so it cannot choose a threshold.")
    if common := set(judged.image_ids).intersection(items.image_ids):
        raise UserError(f"`held_out` {folder} has {len(common)} of the judged images; thresholds are chosen on others.")
    judged_maps = judge_maps(true_boxes(items, images), MapFolder(folder / MAPS), how.protocol, progress)
    return contents.name, judged_maps.curves
