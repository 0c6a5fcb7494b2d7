"""``wsloc evaluate``: every metric of a run, or of maps from another tool."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from wsloc.cli.bars import bar
from wsloc.cli.flags import flag_of, with_flags
from wsloc.cli.outputs import free_output
from wsloc.cli.parse import parse
from wsloc.config import DataSettings, LocalizeConfig
from wsloc.config_files import settings_of_run
from wsloc.errors import UserError
from wsloc.setting_checks import optional, require_range

if TYPE_CHECKING:
    from wsloc.datasets import Dataset
    from wsloc.judging.judged_run import JudgedRun
    from wsloc.judging.map_metrics import MapFolder, MetricGroup
    from wsloc.judging.run_metrics import Judging, MoreMetrics

_PARTS = ("classes", "class_name", "ids", "limit")
"""Settings that choose a part of a run."""


@dataclass(frozen=True)
class EvaluateConfig:
    """Compute every metric of a run, or of maps from another tool (--maps and --dataset).

    The data set is that of the run; flags such as --root name its present folder, and --annotations FILE (COCO) has
    other true boxes, such as corrected ones. Writes metrics.json, metrics_per_class.csv, and items.csv into the run
    folder, unless flags select a part of the run.
    """

    run: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="[RUN]", help_behavior_hint="")] = None
    """run folder; it may be unfinished"""
    maps: Annotated[Path | None, optional("DIR", "RUN/maps if it exists")] = None
    """folder of saved maps: a run's archives, IMAGE/CLASS.npy, or IMAGE.npy"""
    protocol: Literal["wsloc", "wsol"] = "wsloc"
    """arithmetic of MaxBoxAcc and PxAP: exact, or as in the code published by Choe et al. 2020"""
    held_out: Annotated[Path | None, optional("RUN", "none: only the oracle threshold")] = None
    """run on other images, with saved maps, that chooses the thresholds of MaxBoxAcc"""
    score: Literal["quality", "probability"] = "quality"
    """score that sorts the boxes for average precision"""
    insertion_deletion: int = 0
    """compute insertion and deletion AUC for this many items, spread evenly; runs the network (>= 0)"""
    out: Annotated[Path | None, optional("FILE", "none")] = None
    """JSON file for the metrics, instead of the files in the run folder"""
    data: DataSettings = field(default_factory=DataSettings)

    def __post_init__(self) -> None:
        require_range(self, "insertion_deletion", 0)


def read_config(arguments: Sequence[str]) -> EvaluateConfig:
    """The flags, on top of the settings of the run's data."""
    config = parse(EvaluateConfig, "evaluate", arguments)
    if config.run is None:
        return config
    return parse(EvaluateConfig, "evaluate", arguments, EvaluateConfig(data=settings_of_run(config.run).data))


def run(config: EvaluateConfig, _command: Sequence[str]) -> int:
    """Print all metrics. Returns 1 if an annotation or a map could not be read, else 0."""
    from wsloc.datasets import open_dataset
    from wsloc.judging.judged_run import open_images

    if config.out is not None:
        free_output(config.out, overwrite=True, make_folder=True)
    if (folder := config.run) is None:
        _check_maps_alone(config)
        return _judge_maps_alone(config, open_dataset(config.data))
    of_run = settings_of_run(folder)
    part = [flag_of(name) for name in _PARTS if getattr(config.data, name) != getattr(of_run.data, name)]
    _check_run(config, folder, part)
    images = open_images(config.data, of_run.data)
    return _judge_run(config, folder, replace(of_run, data=config.data), images, part)


def _check_maps_alone(config: EvaluateConfig) -> None:
    if config.maps is None:
        raise UserError("Nothing to evaluate: give a run folder, or --maps DIR and --dataset.")
    if config.data.dataset is None:
        raise UserError("--maps without a run folder needs --dataset NAME, the data set of the maps.")
    if config.insertion_deletion:
        raise UserError("--insertion-deletion needs the network of a run: give a run folder, too.")


def _check_run(config: EvaluateConfig, folder: Path, part: Sequence[str]) -> None:
    """Checked before the work rather than after."""
    if config.out is None and not part and not os.access(folder, os.W_OK):
        raise UserError(f"The metrics cannot be written to {folder}; name another file by --out FILE.json.")
    needs_maps = "--held-out" if config.held_out is not None else "--insertion-deletion"
    if (config.held_out is not None or config.insertion_deletion) and _map_folder(config, folder) is None:
        raise UserError(f"{needs_maps} needs maps, and {folder} has none; run wsloc localize with --save-maps.")


def _map_folder(config: EvaluateConfig, folder: Path) -> Path | None:
    """The given maps, else those of the run; None if it has none."""
    from wsloc.runs.map_store import MAPS

    own = folder / MAPS
    return config.maps or (own if own.is_dir() else None)


def _judge_run(
    config: EvaluateConfig, folder: Path, of_run: LocalizeConfig, dataset: Dataset, part: Sequence[str]
) -> int:
    from wsloc.evaluation.table import format_percent
    from wsloc.judging.judged_run import judge_run
    from wsloc.judging.run_metrics import differences, evaluate_run
    from wsloc.runs.read_run import read_run

    contents = read_run(folder)
    judged = judge_run(contents, config.data, dataset)
    how = _judging(config, _map_folder(config, folder))
    more = evaluate_run(judged, config.data, how, bar)
    if config.insertion_deletion and judged.judged is not None:
        more = replace(more, groups=(*more.groups, _insertion_deletion(config, of_run, dataset, judged, how.maps)))
    if not contents.complete:
        print(f"{folder} is unfinished: {len(contents.image_ids())} of {len(dataset.images)} images are judged.\n")
    for line in differences(contents, dataset):
        print(with_flags(line) + "\n")
    counts, text, written = _written(config, judged, dataset, more, part)
    print(with_flags(text))
    if more.average_precision:
        print(f"\naverage precision, boxes sorted by {config.score}; percent")
        _print_rows([(name, format_percent(value)) for name, value in more.average_precision.items()])
    noted = _print_groups(more.groups)
    print(f"\n{written}")
    return 1 if counts["images_without_truth"] or contents.notes or noted else 0


def _written(
    config: EvaluateConfig, run: JudgedRun, dataset: Dataset, more: MoreMetrics, part: Sequence[str]
) -> tuple[dict[str, int], str, str]:
    """The counts of the run, the summary of its boxes, and where that was written."""
    from wsloc.files.atomic import write_atomic
    from wsloc.judging.judged_run import metrics_json
    from wsloc.judging.run_summary import summarize_run, write_summary

    folder = run.contents.path
    if config.out is None and not part:
        summary = write_summary(run, dataset, more=more.as_json(), progress=bar)
        files = f"Written: {folder / 'metrics.json'}, metrics_per_class.csv, items.csv"
        return summary.counts, summary.text, files if summary.evaluation is not None else ""
    summary = summarize_run(run, dataset, progress=bar)
    if summary.evaluation is None:
        return summary.counts, summary.text, ""
    if config.out is None:
        kept = f"{', '.join(part)}: a part of the run, so {folder} keeps its metrics; --out FILE.json writes these."
        return summary.counts, summary.text, kept
    write_atomic(config.out, metrics_json(run, summary.evaluation, more.as_json()))
    return summary.counts, summary.text, f"Written: {config.out}"


def _judge_maps_alone(config: EvaluateConfig, dataset: Dataset) -> int:
    from wsloc.files.atomic import write_atomic
    from wsloc.judging.run_metrics import evaluate_maps

    items, metrics, problems = evaluate_maps(config.data, dataset, _judging(config, config.maps), bar)
    print(f"{len(items)} items in {len(items.image_ids)} images of {dataset.name}")
    noted = _print_groups(metrics.groups)
    if config.out is not None:
        write_atomic(config.out, json.dumps(metrics.as_json(), indent=2, ensure_ascii=False) + "\n")
    return 1 if problems or noted else 0


def _judging(config: EvaluateConfig, maps: Path | None) -> Judging:
    from wsloc.judging.map_metrics import MapFolder
    from wsloc.judging.run_metrics import Judging

    held_out = None if config.held_out is None else (config.held_out, settings_of_run(config.held_out).data)
    return Judging(None if maps is None else MapFolder(maps), config.protocol, config.score, held_out)


def _insertion_deletion(
    config: EvaluateConfig, of_run: LocalizeConfig, dataset: Dataset, run: JudgedRun, maps: MapFolder | None
) -> MetricGroup:
    from wsloc.datasets import asked_classes
    from wsloc.evaluation.summary import RUN
    from wsloc.judging.faithfulness import insertion_and_deletion
    from wsloc.pipeline import make_localizer

    assert run.judged is not None
    assert maps is not None
    model = make_localizer(of_run, asked_classes(of_run.data, dataset)).model
    items = run.judged[RUN].items
    return insertion_and_deletion(model, dataset, items, maps, config.insertion_deletion, bar)


def _print_groups(groups: Sequence[MetricGroup]) -> int:
    """Print the groups; returns how many notes they have."""
    from wsloc.evaluation.table import format_interval

    for group in groups:
        print(f"\n{group.title}; percent, with 95 % bootstrap intervals over images")
        _print_rows([(name, format_interval(value)) for name, value in group.metrics.items()])
        for note in group.notes[:5]:
            print(f"  {with_flags(note)}")
        if len(group.notes) > 5:
            print(f"  ... and {len(group.notes) - 5} more")
    return sum(len(group.notes) for group in groups)


def _print_rows(rows: Sequence[tuple[str, str]]) -> None:
    from wsloc.evaluation.table import columns

    for line in columns(rows) if rows else []:
        print(f"  {line}")
