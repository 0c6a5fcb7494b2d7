"""A classifier's training from its first image to its outcome; a killed one resumes from its folder."""

from __future__ import annotations

from concurrent.futures import Executor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsloc.fitting.batches import ImageBatches
from wsloc.fitting.examples import Examples
from wsloc.fitting.features import compute_features, finite_rows, open_features, why_unreadable
from wsloc.fitting.learner import score_groups
from wsloc.fitting.report import Outcome
from wsloc.fitting.task import ClassifierTask, head_trainer, image_batches, network_trainer, with_head
from wsloc.progress import Progress, silent
from wsloc.records import ImageRecord
from wsloc.training.loop import Trainer, resume, train
from wsloc.training.read_batches import in_batches


def fit(task: ClassifierTask, folder: Path, pool: Executor | None = None, progress: Progress = silent) -> Outcome:
    """Train, take the best epoch, and score the held-out images and those to test on.

    Args:
        task: the training.
        folder: of the training, held by this process, which may hold the state of an earlier one; features are cached
            beside it.
        pool: reads the images; None to read them between the batches.
        progress: counts the images of ``features`` and ``test features``, the steps of ``training``, and the batches of
            ``test``.

    Raises:
        UserError: if no image can be read, the loss is no longer finite, or the disk is full.
    """
    return (_fit_network if task.settings.fine_tune else _fit_head)(task, folder, pool, progress)


def _fit_head(task: ClassifierTask, folder: Path, pool: Executor | None, progress: Progress) -> Outcome:
    cache = folder.parent / "features"
    features = _features(task, task.examples, cache, pool, progress, mirrored=True)
    missing = _without_features(task.examples, features)
    trainer, learner = head_trainer(task, features)
    _train(trainer, folder, progress)
    held_out = learner.scored(learner.held_out) if len(learner.held_out) else None
    test = None
    if task.test is not None:
        of_test = _features(task, task.test, cache, pool, progress, mirrored=False)
        missing += _without_features(task.test, of_test)
        batches = in_batches(np.flatnonzero(finite_rows(of_test)), task.compute.batch_size)
        test = score_groups(learner.module, learner.inputs.over(of_test).plain(batches), task.test.present)
    problems = {image.file: why_unreadable(image) for image in missing}
    network = with_head(task.backbone, learner.inputs.folded())
    return Outcome(network, trainer.history, trainer.best_epoch, held_out, test, problems)


def _fit_network(task: ClassifierTask, folder: Path, pool: Executor | None, progress: Progress) -> Outcome:
    trainer, learner = network_trainer(task, pool)
    _train(trainer, folder, progress)
    held_out = learner.scored(learner.held_out) if len(learner.held_out) else None
    problems = _by_file(learner.inputs)
    test = None
    if task.test is not None:
        of_test = image_batches(task, task.test, learner.module, pool)
        batches = in_batches(np.arange(len(task.test.images)), task.compute.batch_size)
        groups = progress(of_test.plain(batches), "test", "batch", len(batches))
        test = score_groups(learner.module, groups, task.test.present, task.precision)
        problems |= _by_file(of_test)
    return Outcome(learner.module, trainer.history, trainer.best_epoch, held_out, test, problems)


def _train(trainer: Trainer, folder: Path, progress: Progress) -> None:
    resume(trainer, folder)
    for _ in progress(train(trainer, folder), "training", "step", trainer.steps_left):
        pass


def _features(
    task: ClassifierTask, examples: Examples, cache: Path, pool: Executor | None, progress: Progress, *, mirrored: bool
) -> NDArray[np.float32]:
    wanted = task.features_of(examples, mirrored=mirrored)
    path = wanted.path(cache)
    compute_features(path, wanted, pool, progress, "features" if mirrored else "test features")
    return open_features(path, wanted)


def _without_features(examples: Examples, features: NDArray[np.float32]) -> list[ImageRecord]:
    return [image for image, finite in zip(examples.images, finite_rows(features), strict=True) if not finite]


def _by_file(images: ImageBatches) -> dict[str, str]:
    return {images.examples.images[row].file: reason for row, reason in sorted(images.problems.items())}
