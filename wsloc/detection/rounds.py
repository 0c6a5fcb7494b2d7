"""The rounds of self-training as folders: each is a run, judged if there is ground truth.

round-0        the boxes as given
round-1, ...   the boxes after a training, and the detector; with folds, that is in fold-1, fold-2, ...

A finished round is read back, so a killed self-training resumes with the round that it was in.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from wsloc.config import DataSettings
from wsloc.detection.checkpoint import Detector, save_detector
from wsloc.detection.configs import SelfTrainConfig
from wsloc.detection.data import BoxedImages, from_localizations
from wsloc.detection.detector_folder import DETECTOR, data_yaml, identity_of, manifest_of, write_problems
from wsloc.detection.labels import Labels, given_boxes
from wsloc.detection.learner import fit_detector
from wsloc.detection.refine import Refine
from wsloc.detection.self_training import (
    Boxes,
    Relocalized,
    fold_of,
    given,
    of_fold,
    refine_image,
    relocalize,
    training_part,
)
from wsloc.errors import UserError
from wsloc.files.atomic import write_atomic
from wsloc.judging.judged_run import JudgedRun, judge_run
from wsloc.judging.run_summary import write_summary
from wsloc.pipeline.results import ImageResult
from wsloc.progress import Progress, silent
from wsloc.records import boxes_by_item
from wsloc.runs.read_run import RunContents, read_run
from wsloc.runs.run_folder import RunFolder, read_manifest


@dataclass(frozen=True, slots=True, eq=False)
class SelfTrainingTask:
    """What all rounds share.

    Attributes:
        config: all settings.
        labels: the boxes to begin with, and their images.
        device: where.
        threads: of PyTorch on the CPU, which change how sums round.
        command: the words of the command line, for the manifests.
        refine: improves each box; None for boxes as they are.
    """

    config: SelfTrainConfig
    labels: Labels
    device: torch.device
    threads: int
    command: tuple[str, ...]
    refine: Refine | None = None

    def identity(self) -> dict[str, object]:
        """What a resumed self-training must share."""
        return identity_of(self.labels.boxed, self.device, self.threads, self.labels.dataset.fingerprint())

    def manifest(self) -> dict[str, Any]:
        """The manifest of a self-training that has not begun; its rounds add to it."""
        return manifest_of(
            "self-training",
            self.command,
            self.identity(),
            self.labels.boxed,
            self.config.detector,
            self.config.training,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Round:
    """One round that is done.

    Attributes:
        index: from 0, the boxes as given.
        found: how many of the boxes the detector found.
        boxes: of the items that have one.
        judged: the boxes as a run, evaluated.
        problems: images, annotations and boxes of which something could not be read or fixed.
    """

    index: int
    found: int
    boxes: Boxes
    judged: JudgedRun
    problems: int


def self_train(
    task: SelfTrainingTask, out: Path, pool: Executor | None = None, progress: Progress = silent
) -> list[Round]:
    """Run the rounds, or what is left of them.

    Args:
        task: what they share.
        out: gets ``round-0``, ``round-1`` and so on, each a run folder.
        pool: reads the images; None to read them in between.
        progress: counts the steps and images of each part of a round.

    Returns:
        Round 0, the boxes as given, and the rounds after it.

    Raises:
        UserError: if a fold leaves no box to train on, and as :func:`wsloc.detection.learner.fit_detector`.
    """
    done = [_round_zero(task, out, progress)]
    for index in range(1, task.config.rounds + 1):
        done.append(_round(task, out, index, done[-1].boxes, pool, progress))
    return done


def _round_zero(task: SelfTrainingTask, out: Path, progress: Progress) -> Round:
    """The boxes as given, as a run."""
    path = round_folder(out, 0)
    if _is_finished(path):
        return _read_back(task, path, 0)
    results = list(given(task.labels.dataset.images, *given_boxes(task.labels)))
    problems = list(task.labels.boxed.problems)
    if task.refine is not None:
        refined = [refine_image(result, task.refine) for result in progress(results, "refine", "image")]
        results = [result for result, _ in refined]
        problems += [sentence for _, sentences in refined for sentence in sentences]
    return _as_run(task, path, 0, results, 0, problems)


def _round(
    task: SelfTrainingTask, out: Path, index: int, before: Boxes, pool: Executor | None, progress: Progress
) -> Round:
    path = round_folder(out, index)
    if _is_finished(path):
        return _read_back(task, path, index)
    boxed = _labels_of_round(task, index, before)
    results: dict[str, ImageResult] = {}
    found = 0
    problems: list[str] = []
    for fold in range(task.config.folds):
        unread, relocalized = _fold(task, path, index, fold, boxed, before, pool, progress)
        problems += unread
        for done in relocalized:
            results[done.result.image.image_id] = done.result
            found += done.found
            problems += done.problems
    ordered = [results[image.image_id] for image in task.labels.dataset.images]
    return _as_run(task, path, index, ordered, found, problems)


def _fold(
    task: SelfTrainingTask,
    path: Path,
    index: int,
    fold: int,
    boxed: BoxedImages,
    before: Boxes,
    pool: Executor | None,
    progress: Progress,
) -> tuple[Sequence[str], list[Relocalized]]:
    """Train on the other folds and relocalize this one; the images that could not be read, and the new boxes."""
    seed = task.config.training.seed
    part = training_part(boxed, fold, task.config.folds, seed)
    if not any(len(image.boxes_xyxy) for image in part.images):
        raise UserError(f"There is no box outside fold {fold + 1}; give fewer `folds`.")
    title = f"round {index}" + (f", fold {fold + 1}" if task.config.folds > 1 else "")
    folder = path if task.config.folds == 1 else path / f"fold-{fold + 1}"
    settings = of_fold(task.config.training, index, fold)
    trained = fit_detector(
        folder, part, task.config.detector, settings, task.device, pool, title=title, progress=progress
    )
    save_detector(folder / DETECTOR, Detector(trained.model, task.config.detector, part.class_names))
    own = [image for image in task.labels.dataset.images if fold_of(image.image_id, task.config.folds, seed) == fold]
    relocalized = relocalize(
        trained.model,
        own,
        before,
        part.class_names,
        task.device,
        min_score=task.config.min_score,
        batch_size=task.config.training.batch_size,
        pool=pool,
        refine=task.refine,
    )
    return trained.problems, list(progress(relocalized, f"{title}, boxes", "image", len(own)))


def _labels_of_round(task: SelfTrainingTask, index: int, before: Boxes) -> BoxedImages:
    """What a round learns from; the first from all that was given, also an export's uncertain boxes."""
    boxed, dataset = task.labels.boxed, task.labels.dataset
    if index == 1 and task.refine is None:
        return boxed
    without = {
        image.image_id for image in dataset.images for name in image.labels if (image.image_id, name) not in before
    }
    return from_localizations(
        dataset,
        itertools.chain.from_iterable(before.values()),
        boxed.class_names,
        drop_empty=task.config.drop_empty,
        ignore_fraction=task.config.ignore_fraction,
        without=without,
    )


def _as_run(
    task: SelfTrainingTask, path: Path, index: int, results: Sequence[ImageResult], found: int, problems: Sequence[str]
) -> Round:
    """Write the boxes of a round as a run folder, with its metrics where there is truth."""
    path.mkdir(exist_ok=True)
    with RunFolder(path) as folder:
        write_atomic(path / "config.yaml", data_yaml(task.config.detector.arch, task.labels.settings))
        of_round = {"kind": "self-training-round", "round": index, "found": found, "images": len(results)}
        manifest = task.manifest() | of_round
        folder.write_manifest(manifest)
        folder.write_part(0, results)
        folder.join()
        write_problems(path, problems)
        judged = _judge(task, replace(read_run(path), complete=True))
        counts = write_summary(judged, task.labels.dataset).counts
        folder.finish({**manifest, "counts": counts, "problems": len(problems)})
    boxes = boxes_by_item(record for result in results for item in result.items for record in item.localizations)
    return Round(index, found, boxes, judged, len(problems) + counts["images_without_truth"])


def _read_back(task: SelfTrainingTask, path: Path, index: int) -> Round:
    """A round that an earlier process finished."""
    contents = read_run(path)
    manifest = contents.manifest
    problems = manifest["problems"] + manifest["counts"]["images_without_truth"]
    return Round(index, manifest["found"], boxes_by_item(contents.localizations), _judge(task, contents), problems)


def _judge(task: SelfTrainingTask, contents: RunContents) -> JudgedRun:
    return judge_run(contents, task.labels.settings or DataSettings(), task.labels.dataset)


def round_folder(out: Path, index: int) -> Path:
    return out / f"round-{index}"


def _is_finished(path: Path) -> bool:
    return bool((read_manifest(path) or {}).get("complete"))
