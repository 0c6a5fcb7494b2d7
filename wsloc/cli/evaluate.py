"""``wsloc evaluate``: every metric of a run, or of the maps of another tool."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tqdm import tqdm

from wsloc.cli.options import parse_localize
from wsloc.config import DataSettings, LocalizeConfig, optional, require
from wsloc.errors import UserError

if TYPE_CHECKING:
    from wsloc.datasets import Dataset
    from wsloc.evaluation.box_curves import BoxCurves
    from wsloc.evaluation.items import Items
    from wsloc.records import GroundTruth
    from wsloc.runs import JudgedRun, RunContents
    from wsloc.runs.map_metrics import MapFolder, MetricGroup


@dataclass(frozen=True)
class EvaluateConfig:
    """Judge a run by every metric, or the maps of another tool (--maps and --dataset).

    The data set is the run's own; flags such as --root say where it lies now. Writes metrics.json,
    metrics_per_class.csv and items.csv into the run folder.
    """

    run: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="[RUN]", help_behavior_hint="")] = None
    """run folder; it may be unfinished"""
    maps: Annotated[Path | None, optional("DIR", "RUN/maps where there is one")] = None
    """folder of saved maps: IMAGE/CLASS.npy or IMAGE.npy"""
    protocol: Literal["wsloc", "wsol"] = "wsloc"
    """arithmetic of MaxBoxAcc and PxAP: exact, or that of the code published by Choe et al. 2020"""
    held_out: Annotated[Path | None, optional("RUN", "none: the oracle threshold alone")] = None
    """a run on other images, with saved maps, that chooses the thresholds of MaxBoxAcc"""
    score: Literal["probability", "quality"] = "probability"
    """what sorts the boxes for average precision"""
    insertion_deletion: int = 0
    """insertion and deletion AUC of this many items, spread evenly; asks the network (>= 0)"""
    out: Annotated[Path | None, optional("FILE", "none")] = None
    """with --maps and no run: a JSON file for the metrics"""
    data: DataSettings = field(default_factory=DataSettings)

    def __post_init__(self) -> None:
        require(self.insertion_deletion >= 0, "--insertion-deletion must be at least 0.")


def run(arguments: Sequence[str]) -> int:
    """Print all metrics. Returns 1 if an annotation or a map could not be read, else 0."""
    config = _parse(arguments, DataSettings())
    # Only now, so that --help and a misspelt flag answer at once.
    from wsloc.datasets import open_dataset

    if (folder := config.run) is None:
        _refuse_for_maps_alone(config)
        return _judge_maps_alone(config, open_dataset(config.data))
    of_run = _config_of_run(folder)
    # Once more, for the run's own settings lie below the flags.
    config = _parse(arguments, of_run.data)
    _refuse_for_a_run(config, folder)
    return _judge_run(config, folder, replace(of_run, data=config.data), open_dataset(config.data))


def _config_of_run(folder: Path) -> LocalizeConfig:
    """The settings that a run had."""
    from wsloc.runs.reading import read_run_manifest

    read_run_manifest(folder)
    return parse_localize(["--config", str(folder / "config.yaml")])


def _refuse_for_maps_alone(config: EvaluateConfig) -> None:
    if config.maps is None:
        raise UserError("Nothing to evaluate: give a run folder, or --maps DIR and --dataset.")
    if config.data.dataset is None:
        raise UserError("--maps without a run folder needs --dataset NAME, the data set that the maps are of.")
    if config.insertion_deletion:
        raise UserError("--insertion-deletion asks the network of a run: give a run folder, too.")
    if config.out is not None and config.out.is_dir():
        raise UserError(f"{config.out} is a folder; --out names a JSON file.")


def _refuse_for_a_run(config: EvaluateConfig, folder: Path) -> None:
    """Looked at before the work rather than after."""
    if config.out is not None:
        raise UserError("--out goes with --maps and no run; the metrics of a run are written into its folder.")
    if not os.access(folder, os.W_OK):
        raise UserError(f"{folder} cannot be written, and the metrics go there; copy the run folder to another place.")
    if config.held_out is not None and _map_folder(config, folder) is None:
        raise UserError(
            f"--held-out chooses thresholds for maps, and {folder} has none; run wsloc localize with --save-maps."
        )


def _map_folder(config: EvaluateConfig, folder: Path) -> Path | None:
    """The maps that were named, else those of the run; None where it has none."""
    from wsloc.runs.saved_maps import MAPS

    own = folder / MAPS
    return config.maps or (own if own.is_dir() else None)


def _parse(arguments: Sequence[str], data: DataSettings) -> EvaluateConfig:
    return tyro.cli(
        EvaluateConfig,
        prog="wsloc evaluate",
        args=list(arguments),
        default=EvaluateConfig(data=data),
        config=(tyro.conf.OmitArgPrefixes,),
    )


def _judge_run(config: EvaluateConfig, folder: Path, of_run: LocalizeConfig, dataset: Dataset) -> int:
    from wsloc.evaluation.summary import RUN
    from wsloc.runs import judge_run, read_run, write_summary

    contents = read_run(folder)
    judged = judge_run(contents, config.data, dataset)
    groups: list[MetricGroup] = []
    more: dict[str, Mapping[str, Any]] = {}
    if judged.judged is not None and judged.truth is not None:
        items = judged.judged[RUN].items
        map_folder = _map_folder(config, folder)
        maps = None if map_folder is None else _opened_maps(map_folder)
        groups = [*_score_groups(config, judged), *_map_groups(config, items, judged, maps)]
        more["average precision"] = _average_precision(config, judged)
        if config.insertion_deletion:
            groups.append(_insertion_deletion(config, of_run, dataset, items, maps))
    more |= {group.title: {name: asdict(value) for name, value in group.metrics.items()} for group in groups}
    summary = write_summary(judged, dataset, more=more, track=partial(_bar, what="metrics", unit="metric"))
    if not contents.complete:
        print(
            f"{contents.path} is unfinished: {len(contents.image_ids())} of {len(dataset.images)} images are judged.\n"
        )
    for line in _differences(contents, dataset):
        print(line)
    print(summary.text)
    if "average precision" in more:
        print(f"\naverage precision, boxes sorted by {config.score}; percent")
        _print_rows((name, f"{100 * value:.1f}") for name, value in more["average precision"].items())
    noted = _print_groups(groups)
    print(f"\nWritten: {contents.path / 'metrics.json'}, metrics_per_class.csv, items.csv" if judged.judged else "")
    return 1 if summary.counts["images_without_truth"] or contents.notes or noted else 0


def _judge_maps_alone(config: EvaluateConfig, dataset: Dataset) -> int:
    from wsloc.datasets import read_ground_truth
    from wsloc.evaluation.items import judged_items
    from wsloc.runs.atomic import write_atomic
    from wsloc.runs.judged import classes_asked
    from wsloc.runs.map_metrics import map_metrics, mask_metrics

    assert config.maps is not None
    truth = read_ground_truth(config.data, dataset)
    items = judged_items(truth.images, classes_asked(config.data)) if truth is not None else None
    if truth is None or not items:
        raise UserError("The data set has no true box to judge the maps by; --dataset folder takes --boxes CSV.")
    maps = _opened_maps(config.maps)
    track = partial(_bar, what="maps", unit="item")
    held_out = _held_out(config, frozenset(items.image_ids))
    groups = [map_metrics(items, truth.images, maps, config.protocol, held_out, track)]
    masks = mask_metrics(items, truth, (), maps, config.protocol, track)
    groups += [masks] if masks else []
    print(f"{len(items)} items in {len(items.image_ids)} images of {dataset.name}")
    noted = _print_groups(groups)
    if config.out is not None:
        document = {group.title: {name: asdict(value) for name, value in group.metrics.items()} for group in groups}
        write_atomic(config.out, json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    return 1 if truth.problems or noted else 0


def _opened_maps(folder: Path) -> MapFolder:
    from wsloc.runs.map_metrics import MapFolder

    return MapFolder(folder)


def _differences(contents: RunContents, dataset: Dataset) -> Iterator[str]:
    """What the run and the data set of today do not have in common."""
    recorded = contents.image_ids()
    known = {image.image_id for image in dataset.images}
    if lost := recorded - known:
        yield f"{len(lost)} images of the run are not in the data set, or not chosen by the flags, and are left out.\n"
    if contents.complete and (new := known - recorded):
        yield f"{len(new)} images of the data set have no record in the run; their items count as missed.\n"


def _score_groups(config: EvaluateConfig, run: JudgedRun) -> list[MetricGroup]:
    from wsloc.runs.detection_metrics import score_metrics
    from wsloc.runs.judged import classes_asked

    group = score_metrics(_truth_of(run), run.contents.localizations, classes_asked(config.data))
    return [group] if group else []


def _average_precision(config: EvaluateConfig, run: JudgedRun) -> dict[str, float]:
    from wsloc.runs.detection_metrics import average_precision
    from wsloc.runs.judged import classes_asked

    track = partial(_bar, what="average precision", unit="class")
    asked = classes_asked(config.data)
    return average_precision(_truth_of(run), run.contents.localizations, config.score, asked, track)


def _map_groups(config: EvaluateConfig, items: Items, run: JudgedRun, maps: MapFolder | None) -> list[MetricGroup]:
    from wsloc.runs.map_metrics import map_metrics, mask_metrics

    assert run.truth is not None
    track = partial(_bar, what="maps", unit="item")
    groups = []
    if maps is not None:
        held_out = _held_out(config, frozenset(items.image_ids))
        groups.append(map_metrics(items, _truth_of(run), maps, config.protocol, held_out, track))
    masks = mask_metrics(items, run.truth, run.contents.localizations, maps, config.protocol, track)
    return [*groups, masks] if masks else groups


def _held_out(config: EvaluateConfig, judged: frozenset[str]) -> tuple[str, BoxCurves] | None:
    """The curves of the held-out run.

    Raises:
        UserError: if it shares an image with those that are judged, or has no maps or no truth.
    """
    if config.held_out is None:
        return None
    from wsloc.datasets import open_dataset, read_ground_truth
    from wsloc.evaluation.items import judged_items
    from wsloc.runs import read_run
    from wsloc.runs.judged import classes_asked, reached_truth
    from wsloc.runs.map_metrics import held_out_curves
    from wsloc.runs.saved_maps import MAPS

    contents = read_run(config.held_out)
    settings = parse_localize(["--config", str(config.held_out / "config.yaml")]).data
    dataset = open_dataset(settings)
    truth = read_ground_truth(settings, dataset)
    images = {} if truth is None else reached_truth(contents, truth)
    items = judged_items(images, classes_asked(settings))
    if not items:
        raise UserError(f"{config.held_out} has no true box, so it cannot choose a threshold.")
    if common := judged.intersection(items.image_ids):
        raise UserError(
            f"--held-out {config.held_out} has {len(common)} of the judged images; thresholds are chosen on others."
        )
    maps = _opened_maps(config.held_out / MAPS)
    track = partial(_bar, what="held-out maps", unit="item")
    return contents.name, held_out_curves(items, images, maps, config.protocol, track)


def _insertion_deletion(
    config: EvaluateConfig, of_run: LocalizeConfig, dataset: Dataset, items: Items, maps: MapFolder | None
) -> MetricGroup:
    from wsloc.pipeline import make_localizer
    from wsloc.runs.faithfulness import insertion_and_deletion

    if maps is None:
        raise UserError("--insertion-deletion needs the run's maps; run wsloc localize with --save-maps.")
    localizer = make_localizer(of_run, dataset)
    track = partial(_bar, what="insertion, deletion", unit="item")
    return insertion_and_deletion(localizer, dataset, items, maps, config.insertion_deletion, track)


def _truth_of(run: JudgedRun) -> dict[str, GroundTruth]:
    from wsloc.runs.judged import reached_truth

    assert run.truth is not None
    return reached_truth(run.contents, run.truth)


def _bar(sequence: Sequence[Any], what: str, unit: str) -> Iterable[Any]:
    return tqdm(sequence, desc=what, unit=unit, dynamic_ncols=True, leave=False)


def _print_groups(groups: Sequence[MetricGroup]) -> int:
    """Print the groups; returns how many notes they have."""
    from wsloc.evaluation.table import format_interval

    for group in groups:
        print(f"\n{group.title}; percent, with 95 % bootstrap intervals over images")
        _print_rows((name, format_interval(value)) for name, value in group.metrics.items())
        for note in group.notes[:5]:
            print(f"  {note}")
        if len(group.notes) > 5:
            print(f"  ... and {len(group.notes) - 5} more")
    return sum(len(group.notes) for group in groups)


def _print_rows(rows: Iterator[tuple[str, str]]) -> None:
    shown = list(rows)
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        print(f"  {name:<{width}}  {value:>20}")
