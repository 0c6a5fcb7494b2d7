"""Metrics of saved maps, of a run or of another tool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wsloc.datasets import GroundTruthSet
from wsloc.errors import ItemError
from wsloc.evaluation import Estimate, estimate
from wsloc.evaluation.box_curves import BoxCurves
from wsloc.evaluation.items import Items, mean_over_classes, mean_over_items
from wsloc.evaluation.judging import true_boxes
from wsloc.evaluation.map_boxes import Protocol, judge_maps
from wsloc.evaluation.map_masks import JudgedMasks, judge_masks
from wsloc.evaluation.map_source import Map, MapOf
from wsloc.evaluation.max_box_acc import ORACLE_METRICS, held_out_metrics
from wsloc.evaluation.pxap import pxap
from wsloc.progress import Progress, silent
from wsloc.records import Box, GroundTruth
from wsloc.runs.map_store import SavedMaps


@dataclass(frozen=True, slots=True)
class MetricGroup:
    """Metrics by name under a title of one line; a note for each thing that was left out or counted as missed."""

    title: str
    metrics: dict[str, Estimate]
    notes: tuple[str, ...] = ()


class MapFolder:
    """Saved maps by image and class; remembers those that cannot be read, which count as missing."""

    def __init__(self, folder: Path) -> None:
        """Raises UserError if the folder does not exist."""
        self.folder = folder
        self._saved = SavedMaps(folder)
        self.unreadable: dict[str, None] = {}

    def __call__(self, image_id: str, class_name: str) -> Map | None:
        try:
            return self._saved(image_id, class_name)
        except ItemError as error:
            self.unreadable[f"{image_id}, {class_name}: {error}."] = None
            return None


def map_metrics(
    items: Items,
    truth: Mapping[str, GroundTruth],
    maps: MapFolder,
    protocol: Protocol = "wsloc",
    held_out: tuple[str, BoxCurves] | None = None,
    progress: Progress = silent,
) -> MetricGroup:
    """MaxBoxAcc, MaxBoxAccV2 and the two pointing games.

    Args:
        items: what is judged.
        truth: by image id.
        maps: of the items.
        protocol: of the thresholds and boxes.
        held_out: name and curves of a set that chooses the thresholds; None for oracle thresholds alone.
        progress: counts the items.
    """
    judged = judge_maps(true_boxes(items, truth), maps, protocol, progress)
    statistics = {**ORACLE_METRICS, **(held_out_metrics(held_out[1], held_out[0]) if held_out else {})}
    metrics = {name: estimate(statistic, judged.curves) for name, statistic in statistics.items()}
    metrics["pointing game"] = estimate(mean_over_classes, judged.hits)
    metrics["energy-based pointing"] = estimate(mean_over_items, judged.energy)
    return MetricGroup(f"maps, protocol {protocol}", metrics, _notes(len(judged.without_map), len(items), maps))


def mask_metrics(
    items: Items,
    truth: GroundTruthSet,
    localizations: Sequence[Box],
    maps: MapFolder | None = None,
    protocol: Protocol = "wsloc",
    progress: Progress = silent,
) -> MetricGroup | None:
    """PxAP of maps and the mean IoU of the boxes' masks; None if the data set has no true masks.

    Args:
        items: what is judged.
        truth: of their images.
        localizations: of a run, or none.
        maps: None if there are none.
        protocol: of PxAP.
        progress: counts the images.
    """
    if truth.read_masks is None:
        return None
    map_of: MapOf | None = maps
    judged = judge_masks(
        items.image_ids, truth.read_masks, map_of, localizations, frozenset(items.pairs()), protocol, progress
    )
    if judged is None:
        return MetricGroup("masks", {}, ("No judged image has a true mask of its classes.",))
    metrics = {}
    if judged.histograms is not None and judged.histograms.on_object.any():
        metrics["PxAP"] = estimate(pxap, judged.histograms)
    if judged.iou is not None:
        metrics["mean mask IoU"] = estimate(mean_over_items, judged.iou)
    notes = _mask_notes(judged)
    title = f"masks, {len(judged.items)} items in {len(judged.items.image_ids)} images, protocol {protocol}"
    return MetricGroup(title, metrics, notes)


def _notes(missing: int, items: int, maps: MapFolder) -> tuple[str, ...]:
    said = [f"{missing} of {items} items have no map in {maps.folder}, and count as missed."] if missing else []
    return (*said, *maps.unreadable)


def _mask_notes(judged: JudgedMasks) -> tuple[str, ...]:
    empty = judged.histograms is not None and not judged.histograms.on_object.any()
    said = ["No true mask has a pixel, so there is no PxAP."] if empty else []
    return (*said, *(f"{problem}." for problem in judged.problems))
