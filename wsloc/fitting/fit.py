"""A training from its first image to its outcome, with a state on the disk that a killed one goes on from."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsloc.files.atomic import write_atomic
from wsloc.fitting.examples import Examples
from wsloc.fitting.features import compute_features, finite_rows, open_features, why_unreadable
from wsloc.fitting.folder import STATE
from wsloc.fitting.job import Job, head_trainer, image_material, network_trainer, scored, with_head
from wsloc.fitting.loop import EpochRecord, Trainer, history_csv, restore, state_bytes, take_best, train_epoch
from wsloc.fitting.material import FeatureMaterial, ImageMaterial
from wsloc.fitting.report import Outcome

SECONDS_BETWEEN_STATES = 2.0
"""A longer epoch is written as soon as it is done; of shorter ones, a killed training loses as many seconds."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a stage of a training has come.

    Attributes:
        stage: ``features``, ``training``, ``test features`` or ``test``.
        done: images so far; of the training, those of all epochs.
        total: images in all; a training may stop earlier.
        last: the last whole epoch, while training; None before.
    """

    stage: str
    done: int
    total: int
    last: EpochRecord | None = None


Show = Callable[[Progress], None]


def fit(job: Job, folder: Path, resumed: bool, pool: Executor | None, show: Show) -> Outcome:
    """Train, take the best epoch, and score the held-out images and those to test on.

    Args:
        job: the training.
        folder: of the training, held by this process; features are cached beside it.
        resumed: whether to go on from the state in the folder, if there is one yet.
        pool: reads the images; None to read them in between.
        show: is told after each batch how far it is.

    Raises:
        UserError: if no image can be read, the loss is no longer finite, or the disk is full.
    """
    cache = folder.parent / "features"
    if job.settings.fine_tune:
        tuned, images = network_trainer(job, pool)
        _train(tuned, folder, resumed, show)
        return _outcome_of_images(job, tuned, images, pool, show)
    trainer, features = head_trainer(job, _features(job, job.examples, cache, pool, show, mirrored=True))
    _train(trainer, folder, resumed, show)
    return _outcome_of_features(job, trainer, features, cache, pool, show)


def _features(
    job: Job, examples: Examples, cache: Path, pool: Executor | None, show: Show, *, mirrored: bool
) -> NDArray[np.float32]:
    wanted = job.features_of(examples, mirrored=mirrored)
    path = wanted.path(cache)
    stage = "features" if mirrored else "test features"
    for done in compute_features(path, wanted, pool):
        show(Progress(stage, done, len(examples.images)))
    return open_features(path, wanted)


def _train(trainer: Trainer, folder: Path, resumed: bool, show: Show) -> None:
    if resumed and (folder / STATE).exists():
        restore(trainer, (folder / STATE).read_bytes())
    written = time.monotonic()
    images = len(trainer.training)

    def tell(done: int) -> None:
        last = trainer.history[-1] if trainer.history else None
        show(Progress("training", len(trainer.history) * images + done, trainer.plan.epochs * images, last))

    tell(0)
    while not trainer.finished:
        train_epoch(trainer, tell)
        # Forcing a file to the disk takes longer than an epoch of a linear head.
        if trainer.finished or time.monotonic() - written >= SECONDS_BETWEEN_STATES:
            write_atomic(folder / "epochs.csv", history_csv(trainer.history))
            write_atomic(folder / STATE, state_bytes(trainer))
            written = time.monotonic()
        tell(0)
    take_best(trainer)


def _outcome_of_features(
    job: Job, trainer: Trainer, material: FeatureMaterial, cache: Path, pool: Executor | None, show: Show
) -> Outcome:
    held_out = scored(job, material, job.examples, trainer.held_out) if len(trainer.held_out) else None
    used = {*trainer.training.tolist(), *trainer.held_out.tolist()}
    missing = [image for row, image in enumerate(job.examples.images) if row not in used]
    test = None
    if job.test is not None:
        features = _features(job, job.test, cache, pool, show, mirrored=False)
        finite = finite_rows(features)
        missing += [job.test.images[row] for row in np.flatnonzero(~finite)]
        test = scored(job, material.over(features), job.test, np.flatnonzero(finite))
    problems = {image.file: why_unreadable(image) for image in missing}
    network = with_head(job.backbone, material.folded())
    return Outcome(network, trainer.history, trainer.best_epoch, held_out, test, problems)


def _outcome_of_images(
    job: Job, trainer: Trainer, material: ImageMaterial, pool: Executor | None, show: Show
) -> Outcome:
    held_out = scored(job, material, job.examples, trainer.held_out) if len(trainer.held_out) else None
    problems = _by_file(material)
    test = None
    if job.test is not None:
        total = len(job.test.images)
        of_test = image_material(job, job.test, material.module, pool)
        test = scored(job, of_test, job.test, np.arange(total), lambda done: show(Progress("test", done, total)))
        problems |= _by_file(of_test)
    return Outcome(material.module, trainer.history, trainer.best_epoch, held_out, test, problems)


def _by_file(material: ImageMaterial) -> dict[str, str]:
    return {material.examples.images[row].file: reason for row, reason in sorted(material.problems.items())}
