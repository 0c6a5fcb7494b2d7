"""The rounds of self-training as folders: each is a run, held against the truth where there is any.

round-0        the boxes as given
round-1, ...   the boxes after a training, with what is left of it; with folds, that lies in fold-1, fold-2, ...

A finished round is read back, so a killed self-training goes on with the one that it was in.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from wsloc.config import DataSettings
from wsloc.detection.checkpoint import Detector, save_detector
from wsloc.detection.data import BoxedImages, from_localizations
from wsloc.detection.folder import CHECKPOINTS, DETECTOR, PROBLEMS, data_yaml, describe, finish
from wsloc.detection.labels import Labels, boxes_by_item
from wsloc.detection.progress import Watch, unwatched
from wsloc.detection.refine import Refine
from wsloc.detection.self_training import (
    Boxes,
    boxes_of,
    fold_of,
    given,
    of_fold,
    refine_image,
    relocalize,
    training_part,
)
from wsloc.detection.settings import DetectorSettings, TrainingSettings
from wsloc.detection.training import train_in_folder
from wsloc.errors import UserError
from wsloc.files.atomic import write_atomic
from wsloc.judging.judged_run import JudgedRun, judge_run
from wsloc.judging.run_summary import write_summary
from wsloc.pipeline.results import ImageResult
from wsloc.runs.read_run import RunContents, read_run
from wsloc.runs.run_folder import RunFolder, read_manifest


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """What all rounds share.

    Attributes:
        labels: the boxes to begin with, and their images.
        detector: what is trained.
        training: how.
        device: where.
        threads: of PyTorch on the CPU, which change how sums round.
        command: the words of the command line, for the manifests.
        folds: parts of the images; the boxes of one come from a detector that was trained on the others (1: from one
            that was trained on all).
        min_score: of a detection that takes the place of a box, in [0, 1].
        drop_empty: leave out images without a box.
        refine: mends each box; None for boxes as they are.
    """

    labels: Labels
    detector: DetectorSettings
    training: TrainingSettings
    device: torch.device
    threads: int
    command: tuple[str, ...]
    folds: int = 1
    min_score: float = 0.05
    drop_empty: bool = False
    refine: Refine | None = None

    def manifest(self) -> dict[str, Any]:
        """Of a self-training that has not begun; its rounds add to it."""
        fingerprint = self.labels.dataset.fingerprint()
        return describe(
            self.labels.boxed, self.detector, self.training, self.device, self.threads, self.command, fingerprint
        ) | {"kind": "self-training"}


@dataclass(frozen=True, slots=True, eq=False)
class Round:
    """One round that is done.

    Attributes:
        number: from 0, the boxes as given.
        found: how many of the boxes the detector found.
        boxes: of the items that have one.
        judged: the boxes as a run, held against the truth.
        problems: images, annotations and boxes of which something could not be read or mended.
    """

    number: int
    found: int
    boxes: Boxes
    judged: JudgedRun
    problems: int


def self_train(job: Job, out: Path, rounds: int, pool: Executor | None = None, watch: Watch = unwatched) -> list[Round]:
    """Run the rounds, or what is left of them.

    Args:
        job: what they share.
        out: gets ``round-0``, ``round-1`` and so on, each a run folder.
        rounds: how often a detector is trained and asked (>= 1).
        pool: reads the images; None to read them in between.
        watch: shows the progress of each part of a round.

    Returns:
        Round 0, the boxes as given, and one more than ``rounds`` in all.

    Raises:
        UserError: if a fold leaves no box to train on, and as :func:`wsloc.detection.training.train_in_folder`.
    """
    done = [_round_zero(job, out, watch)]
    for number in range(1, rounds + 1):
        done.append(_round(job, out, number, done[-1].boxes, pool, watch))
    return done


def _round_zero(job: Job, out: Path, watch: Watch) -> Round:
    """The boxes as given, as a run."""
    path = _place(out, 0)
    if _is_finished(path):
        return _read_back(job, path, 0)
    results = list(given(job.labels.dataset.images, *boxes_by_item(job.labels)))
    problems = list(job.labels.boxed.problems)
    if job.refine is not None:
        with watch("refine", "image", len(results)) as show:
            for place, result in enumerate(results):
                results[place], sentences = refine_image(result, job.refine)
                problems += sentences
                show(place + 1, "")
    return _as_run(job, path, 0, results, 0, problems)


def _round(job: Job, out: Path, number: int, before: Boxes, pool: Executor | None, watch: Watch) -> Round:
    path = _place(out, number)
    if _is_finished(path):
        return _read_back(job, path, number)
    boxed = _labels_of_round(job, number, before)
    seed = job.training.seed
    found = 0
    problems: list[str] = []
    results: dict[str, ImageResult] = {}
    for fold in range(job.folds):
        part = training_part(boxed, fold, job.folds, seed)
        _require_boxes(part, fold)
        title = f"round {number}" + (f", fold {fold + 1}" if job.folds > 1 else "")
        place = path if job.folds == 1 else path / f"fold-{fold + 1}"
        settings = of_fold(job.training, number, fold)
        model, log = train_in_folder(
            place, part, job.detector, settings, job.device, pool, title=title, resumed=place.exists(), watch=watch
        )
        save_detector(place / DETECTOR, Detector(model, job.detector, part.class_names))
        problems += [f"{failure.file}: {failure.reason}" for failure in log.failures]
        own = [image for image in job.labels.dataset.images if fold_of(image.image_id, job.folds, seed) == fold]
        asked = relocalize(
            model,
            own,
            before,
            part.class_names,
            job.device,
            min_score=job.min_score,
            batch_size=job.training.batch_size,
            pool=pool,
            refine=job.refine,
        )
        with watch(f"{title}, boxes", "image", len(own)) as show:
            for count, done in enumerate(asked, start=1):
                results[done.result.image.image_id] = done.result
                found += done.found
                problems += done.problems
                show(count, "")
    ordered = [results[image.image_id] for image in job.labels.dataset.images]
    return _as_run(job, path, number, ordered, found, problems)


def _labels_of_round(job: Job, number: int, before: Boxes) -> BoxedImages:
    """What a round learns from; the first from all that was given, also further boxes of a class and uncertain ones."""
    boxed, dataset = job.labels.boxed, job.labels.dataset
    if number == 1 and job.refine is None:
        return boxed
    without = {
        image.image_id for image in dataset.images for name in image.labels if (image.image_id, name) not in before
    }
    return from_localizations(dataset, before.values(), boxed.class_names, drop_empty=job.drop_empty, without=without)


def _require_boxes(part: BoxedImages, fold: int) -> None:
    if not any(len(boxed.boxes_xyxy) for boxed in part.images):
        raise UserError(f"There is no box outside fold {fold + 1}; give fewer `folds`.")


def _as_run(
    job: Job, path: Path, number: int, results: Sequence[ImageResult], found: int, problems: Sequence[str]
) -> Round:
    """Write the boxes of a round as a run folder, with its metrics where there is truth."""
    path.mkdir(exist_ok=True)
    with RunFolder(path) as folder:
        write_atomic(path / "config.yaml", data_yaml(job.detector.arch, job.labels.settings))
        of_round = {"kind": "self-training-round", "round": number, "found": found, "images": len(results)}
        manifest = job.manifest() | of_round
        folder.write_manifest(manifest)
        folder.write_part(0, results)
        folder.join()
        if problems:
            write_atomic(path / PROBLEMS, (f"{problem}\n" for problem in dict.fromkeys(problems)))
        judged = _judge(job, replace(read_run(path), complete=True))
        counts = write_summary(judged, job.labels.dataset).counts
        finish(folder, {**manifest, "counts": counts, "problems": len(problems)})
    for states in path.glob(f"fold-*/{CHECKPOINTS}"):
        shutil.rmtree(states, ignore_errors=True)
    return Round(number, found, boxes_of(results), judged, len(problems) + counts["images_without_truth"])


def _read_back(job: Job, path: Path, number: int) -> Round:
    """A round that an earlier process finished."""
    contents = read_run(path)
    boxes = {(record.image_id, record.class_name): record for record in contents.localizations}
    told = contents.manifest
    problems = told["problems"] + told["counts"]["images_without_truth"]
    return Round(number, told["found"], boxes, _judge(job, contents), problems)


def _judge(job: Job, contents: RunContents) -> JudgedRun:
    return judge_run(contents, job.labels.settings or DataSettings(), job.labels.dataset)


def _place(out: Path, number: int) -> Path:
    return out / f"round-{number}"


def _is_finished(path: Path) -> bool:
    return bool((read_manifest(path) or {}).get("complete"))
