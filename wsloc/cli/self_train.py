"""``wsloc self-train``: boxes that a detector, trained on the boxes, finds where the labels say; in rounds."""

from __future__ import annotations

import csv
import dataclasses
import io
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from tqdm import tqdm

from wsloc.cli.detector_flags import (
    Labels,
    TrainingImages,
    boxes_by_item,
    data_yaml,
    open_labels,
    plan_training,
    train_with_bar,
)
from wsloc.config import optional, require
from wsloc.detection.settings import DetectorSettings, TrainingSettings
from wsloc.errors import UserError

if TYPE_CHECKING:
    from concurrent.futures import Executor

    import torch

    from wsloc.detection.data import BoxedImages
    from wsloc.detection.refine import Refine
    from wsloc.pipeline.results import ImageResult
    from wsloc.records import Localization
    from wsloc.runs import JudgedRun, RunFolder

_COLUMNS = ("CorLoc class-wise", "CorLoc image-wise", "mean IoU")
Boxes = dict[tuple[str, str], "Localization"]


@dataclass(frozen=True)
class SelfTrainConfig:
    """Train a detector on pseudo-boxes, look for better boxes with it where the image-level labels say, and repeat.

    Writes DIR/round-0 (the boxes as given), round-1 and so on, each a run folder, and rounds.csv. True boxes, where the
    data set has any, are opened for the figures alone.
    """

    labels_from: Annotated[str, tyro.conf.arg(name="labels", metavar="RUN|EXPORT")]
    """boxes to begin with: a run folder, or a COCO export (with --dataset: on that data set's images and labels)"""
    rounds: int = 3
    """how often a detector is trained and asked (>= 1)"""
    folds: int = 1
    """parts of the images; the boxes of one come from a detector that was trained on the others (1: from one that was
    trained on all)"""
    least_score: float = 0.05
    """least score of a detection that takes the place of a box (0 to 1)"""
    refine: Annotated[str | None, optional("MODULE:FUNCTION", "none")] = None
    """a function refine(image, box, mask) of your own that mends each box (docs/training.md)"""
    detector: DetectorSettings = field(default_factory=DetectorSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    drop_empty: bool = False
    """leave out images without a box; else they show what no object looks like"""
    data: TrainingImages = field(default_factory=TrainingImages)
    out: Annotated[Path | None, optional("DIR", "runs/self-train-LABELS-ARCH-NNN")] = None
    """folder"""
    resume: bool = False
    """go on with an unfinished self-training: --out, or the newest one of the same settings"""
    overwrite: bool = False
    """replace the folder that --out names"""

    def __post_init__(self) -> None:
        require(
            self.labels_from != "truth", "Self-training begins with boxes that are not true: give a run or an export."
        )
        require(self.rounds >= 1, f"--rounds must be at least 1, not {self.rounds}.")
        require(1 <= self.folds <= 20, f"--folds must lie between 1 and 20, not {self.folds}.")
        require(0 <= self.least_score <= 1, f"--least-score must lie between 0 and 1, not {self.least_score}.")
        require(not (self.resume and self.overwrite), "--resume and --overwrite exclude each other: give only one.")


@dataclass(frozen=True, eq=False)
class _Job:
    """What all rounds share."""

    config: SelfTrainConfig
    labels: Labels
    device: torch.device
    threads: int
    pool: Executor | None
    refine: Refine | None
    command: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Round:
    """One round: how many of its boxes the detector found, and the boxes as a run, held against the truth."""

    number: int
    found: int
    boxes: Boxes
    judged: JudgedRun
    problems: int


def run(arguments: Sequence[str]) -> int:
    """Run the rounds and print their figures.

    Returns 1 if an image or annotation could not be read or a box not refined, 130 if interrupted, else 0.
    """
    config = tyro.cli(
        SelfTrainConfig, prog="wsloc self-train", args=list(arguments), config=(tyro.conf.OmitArgPrefixes,)
    )
    try:
        return _all_rounds(config, ("wsloc", "self-train", *arguments))
    except KeyboardInterrupt:
        print("wsloc: interrupted; the same command with --resume goes on with the rounds.", file=sys.stderr)
        return 130


def _all_rounds(config: SelfTrainConfig, command: tuple[str, ...]) -> int:
    # Only now, so that --help and a misspelt flag answer before torch is loaded.
    from wsloc.detection.folder import as_comments, describe, require_same
    from wsloc.detection.models import require_backbone
    from wsloc.detection.refine import load_refine
    from wsloc.pipeline import applied, choose_device
    from wsloc.runs.opening import open_run_folder

    refine = load_refine(config.refine) if config.refine else None
    device = choose_device(config.training.device)
    labels = open_labels(config.labels_from, config.data, drop_empty=config.drop_empty)
    require_backbone(config.detector)
    plan = plan_training(device)
    text = "# Settings of wsloc self-train\n" + as_comments(_plain(config))
    stem = f"self-train-{labels.boxed.name}-{config.detector.arch}"
    folder, resumed = open_run_folder(config.out, stem, text, resume=config.resume, overwrite=config.overwrite)
    with folder:
        fingerprint = labels.dataset.fingerprint()
        manifest = describe(
            labels.boxed, config.detector, config.training, device, plan.network, command, fingerprint
        ) | {"kind": "self-training"}
        if resumed:
            require_same(folder, manifest)
        folder.write_manifest(manifest)
        print(f"{'Going on with' if resumed else 'Writing'} {folder.path}", file=sys.stderr)
        with applied(plan) as pool:
            job = _Job(config, labels, device, plan.network, pool, refine, command)
            rounds = [_round_zero(job, folder.path)]
            for number in range(1, config.rounds + 1):
                rounds.append(_round(job, folder.path, number, rounds[-1].boxes))
        _write_table(folder.path / "rounds.csv", rounds)
        folder.finish({**manifest, "images": len(labels.dataset.images)})
    _say(folder.path, rounds, readable=labels.settings is not None)
    return 1 if any(done.problems for done in rounds) else 0


def _round_zero(job: _Job, out: Path) -> _Round:
    """The boxes as given, as a run."""
    from wsloc.detection.self_training import given, refine_image
    from wsloc.runs import read_manifest

    path = out / "round-0"
    if (read_manifest(path) or {}).get("complete"):
        return _read_back(job, path, 0)
    results = list(given(job.labels.dataset.images, *boxes_by_item(job.labels)))
    problems = list(job.labels.boxed.problems)
    if job.refine is not None:
        mended = [refine_image(result, job.refine) for result in tqdm(results, unit="image", desc="refine")]
        results = [result for result, _ in mended]
        problems += [sentence for _, sentences in mended for sentence in sentences]
    return _as_run(job, out, 0, results, 0, problems)


def _round(job: _Job, out: Path, number: int, before: Boxes) -> _Round:
    from wsloc.detection.checkpoint import Detector, save_detector
    from wsloc.detection.data import from_localizations
    from wsloc.detection.folder import DETECTOR
    from wsloc.detection.self_training import fold_of, of_fold, relocalize, training_part
    from wsloc.runs import read_manifest

    path = out / f"round-{number}"
    if (read_manifest(path) or {}).get("complete"):
        return _read_back(job, path, number)
    config, dataset = job.config, job.labels.dataset
    # The first round learns from all that was given, also from further boxes of a class and from uncertain ones.
    boxed = job.labels.boxed
    if number > 1 or job.refine is not None:
        without = {
            image.image_id for image in dataset.images for name in image.labels if (image.image_id, name) not in before
        }
        boxed = from_localizations(
            dataset, before.values(), boxed.class_names, drop_empty=config.drop_empty, without=without
        )
    found = 0
    problems: list[str] = []
    results: dict[str, ImageResult] = {}
    for fold in range(config.folds):
        settings = of_fold(config.training, number, fold)
        part = training_part(boxed, fold, config.folds, config.training.seed)
        _require_boxes(part, fold)
        title = f"round {number}" + (f", fold {fold + 1}" if config.folds > 1 else "")
        place = path if config.folds == 1 else path / f"fold-{fold + 1}"
        model, log = train_with_bar(
            place, part, config.detector, settings, job.device, job.pool, title=title, resumed=place.exists()
        )
        save_detector(place / DETECTOR, Detector(model, config.detector, part.class_names))
        problems += [f"{failure.file}: {failure.reason}" for failure in log.failures]
        own = [image for image in dataset.images if fold_of(image.image_id, config.folds, config.training.seed) == fold]
        asked = relocalize(
            model,
            own,
            before,
            part.class_names,
            job.device,
            least_score=config.least_score,
            batch_size=config.training.batch_size,
            pool=job.pool,
            refine=job.refine,
        )
        for done in tqdm(asked, total=len(own), unit="image", desc=f"{title}, boxes", dynamic_ncols=True):
            results[done.result.image.image_id] = done.result
            found += done.found
            problems += done.problems
    ordered = [results[image.image_id] for image in dataset.images]
    return _as_run(job, out, number, ordered, found, problems)


def _require_boxes(part: BoxedImages, fold: int) -> None:
    if not any(len(boxed.boxes_xyxy) for boxed in part.images):
        raise UserError(f"There is no box outside fold {fold + 1}; give fewer --folds.")


def _as_run(
    job: _Job, out: Path, number: int, results: Sequence[ImageResult], found: int, problems: Sequence[str]
) -> _Round:
    """Write the boxes of a round as a run folder, with its metrics where there is truth."""
    from wsloc.detection.folder import CHECKPOINTS, PROBLEMS, describe, finish
    from wsloc.detection.self_training import boxes_of
    from wsloc.runs import RunFolder
    from wsloc.runs.atomic import write_atomic

    path = out / f"round-{number}"
    path.mkdir(exist_ok=True)
    config, labels = job.config, job.labels
    with RunFolder(path) as folder:
        write_atomic(path / "config.yaml", data_yaml(config.detector.arch, labels.settings))
        manifest = describe(
            labels.boxed,
            config.detector,
            config.training,
            job.device,
            job.threads,
            job.command,
            labels.dataset.fingerprint(),
        ) | {"kind": "self-training-round", "round": number, "found": found, "images": len(results)}
        folder.write_manifest(manifest)
        folder.write_part(0, results)
        folder.join()
        if problems:
            write_atomic(path / PROBLEMS, (f"{problem}\n" for problem in dict.fromkeys(problems)))
        judged, counts = _judge(job, folder)
        finish(folder, {**manifest, "counts": counts, "problems": len(problems)})
    for states in path.glob(f"fold-*/{CHECKPOINTS}"):
        shutil.rmtree(states, ignore_errors=True)
    return _Round(number, found, boxes_of(results), judged, len(problems) + counts["images_without_truth"])


def _judge(job: _Job, folder: RunFolder) -> tuple[JudgedRun, dict[str, int]]:
    from wsloc.config import DataSettings
    from wsloc.runs import judge_run, read_run, write_summary

    contents = replace(read_run(folder.path), complete=True)
    judged = judge_run(contents, job.labels.settings or DataSettings(), job.labels.dataset)
    return judged, write_summary(judged, job.labels.dataset).counts


def _read_back(job: _Job, path: Path, number: int) -> _Round:
    """A round that an earlier process finished."""
    from wsloc.config import DataSettings
    from wsloc.runs import judge_run, read_run

    contents = read_run(path)
    judged = judge_run(contents, job.labels.settings or DataSettings(), job.labels.dataset)
    boxes = {(record.image_id, record.class_name): record for record in contents.localizations}
    told = contents.manifest
    return _Round(number, told["found"], boxes, judged, told["problems"] + told["counts"]["images_without_truth"])


def _rows(rounds: Sequence[_Round]) -> list[list[object]]:
    """A row for each round; the last columns are the gain in class-wise CorLoc over round 0, paired by image."""
    from wsloc.evaluation import METRICS, estimate
    from wsloc.evaluation.summary import RUN

    rows: list[list[object]] = []
    for done in rounds:
        row: list[object] = [done.number, len(done.boxes), done.found]
        if done.judged.judged is not None and rounds[0].judged.judged is not None:
            own, first = done.judged.judged[RUN], rounds[0].judged.judged[RUN]
            for name in _COLUMNS:
                value = estimate(METRICS[name], own)
                row += [value.value, value.low, value.high]
            gain = estimate(METRICS[_COLUMNS[0]], own, first)
            row += [gain.value, gain.low, gain.high]
        rows.append(row)
    return rows


def _write_table(path: Path, rounds: Sequence[_Round]) -> None:
    from wsloc.runs.atomic import write_atomic

    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    figures = [f"{name}{end}" for name in (*_COLUMNS, "gain over round 0") for end in ("", " low", " high")]
    rows = _rows(rounds)
    writer.writerow(["round", "boxes", "found", *(figures if len(rows[0]) > 3 else [])])
    writer.writerows(rows)
    write_atomic(path, table.getvalue())


def _say(out: Path, rounds: Sequence[_Round], *, readable: bool) -> None:
    from wsloc.evaluation import Estimate
    from wsloc.evaluation.table import format_interval

    print(f"{'round':<7}{'boxes':>7}{'found':>7}   {_COLUMNS[0]:<22}{'gain over round 0'}")
    for row in _rows(rounds):
        number, boxes, found, *figures = row
        numbers = [float(str(value)) for value in figures]
        told = ""
        if numbers:
            told = f"{format_interval(Estimate(*numbers[:3])):<22}{format_interval(Estimate(*numbers[-3:]))}"
        print(f"{number:<7}{boxes:>7}{found:>7}   {told}")
    folders = [shlex.quote(str(out / f"round-{done.number}")) for done in rounds]
    print(f"\nRounds: {out / 'rounds.csv'}")
    if not readable:
        print("The rounds know no data set, so nothing else reads them; --dataset NAME beside the export changes that.")
        return
    best, note = _best_round(rounds)
    print(note)
    print("Next:")
    print(f"  a page to look at     wsloc report {' '.join(folders)}")
    print(f"  a detector of them    wsloc train-detector --labels {folders[best]}")


def _best_round(rounds: Sequence[_Round]) -> tuple[int, str]:
    """The round whose boxes to train on, and why; the last, where no true boxes tell."""
    from wsloc.evaluation import METRICS, estimate
    from wsloc.evaluation.summary import RUN

    judged = [done.judged.judged for done in rounds]
    if any(result is None for result in judged):
        return len(rounds) - 1, "Which round is best cannot be told without true boxes."
    values = [estimate(METRICS[_COLUMNS[0]], result[RUN]).value for result in judged if result is not None]
    best = max(range(len(values)), key=lambda number: values[number])
    return best, f"The highest {_COLUMNS[0]} is that of round {best}; whoever chooses by it has looked at true boxes."


def _plain(config: SelfTrainConfig) -> dict[str, Any]:
    """The settings that tell two self-trainings apart."""
    flat: dict[str, Any] = {}
    for group in dataclasses.fields(config):
        value = getattr(config, group.name)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            flat |= dataclasses.asdict(value)
        elif group.name not in ("out", "resume", "overwrite"):
            flat[group.name] = value
    return {key: str(value) if isinstance(value, Path) else value for key, value in flat.items()}
