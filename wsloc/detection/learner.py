"""A detector as the training loop sees it, and its training in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wsloc.detection.augmentation import Example, augmented, example_of
from wsloc.detection.data import BoxedImages
from wsloc.detection.detector_settings import DetectorSettings, TrainingSettings
from wsloc.detection.models import Architecture, build_detector
from wsloc.errors import UserError
from wsloc.images import read_image
from wsloc.progress import Progress, silent
from wsloc.registries import DETECTORS
from wsloc.training.history import EpochRecord
from wsloc.training.loop import Plan, Trainer, resume, train
from wsloc.training.read_batches import read_batches, shuffled_batches
from wsloc.training.schedule import warmup_cosine

_BATCH_OF_LEARNING_RATE = 8
_MAX_WARMUP_STEPS = 500
_WARMUP_START = 1e-3
_MAX_GRADIENT_NORM = 10.0
"""Ordinary steps stay near or below it. Without a limit, fixed statistics and weights with folded batch normalization
let a few large steps grow without end."""


@dataclass(frozen=True, slots=True, eq=False)
class DetectorLearner:
    """Images with boxes, and the detector that learns them; see :class:`wsloc.training.loop.Learner`.

    Attributes:
        module: as :func:`wsloc.detection.models.build_detector` made it, on ``device``.
        labels: the images.
        settings: of the training.
        device: where inputs go.
        pool: reads the images; None to read them between the steps.
        problems: why an image could not be read, by its index.
    """

    module: nn.Module
    labels: BoxedImages
    settings: TrainingSettings
    device: torch.device
    pool: Executor | None = None
    problems: dict[int, str] = field(default_factory=dict)

    @property
    def steps_per_epoch(self) -> int:
        """Batches of the images."""
        return len(self._shuffled(1))

    def batches(self, epoch: int) -> Iterator[tuple[list[Example], int]]:
        """The images in the epoch's order, each read and changed."""

        def read(index: int) -> Example:
            boxed = self.labels.images[index]
            example = example_of(read_image(boxed.image.source), boxed)
            rng = np.random.default_rng([self.settings.seed, epoch, index])
            return augmented(example, rng, flip=self.settings.flip, zoom=self.settings.zoom, gain=self.settings.gain)

        for batch in read_batches(self._shuffled(epoch), read, self.pool, self.problems):
            yield [example for _, example in batch], len(batch)

    def losses(self, batch: list[Example]) -> dict[str, Tensor]:
        """The detector's losses, by torchvision's names."""
        losses: dict[str, Tensor] = self.module(
            [as_input(example.image, self.device) for example in batch],
            [example.target(self.device) for example in batch],
        )
        return losses

    def validate(self) -> None:
        """No image is held out."""

    def _shuffled(self, epoch: int) -> list[NDArray[np.int64]]:
        return shuffled_batches(np.arange(len(self.labels.images)), self.settings.batch_size, self.settings.seed, epoch)


@dataclass(frozen=True, slots=True, eq=False)
class FittedDetector:
    """A detector and how it was trained.

    Attributes:
        model: in evaluation mode, on the device.
        history: its epochs.
        problems: one sentence for each image that could not be read.
    """

    model: nn.Module
    history: tuple[EpochRecord, ...]
    problems: tuple[str, ...]


def fit_detector(
    folder: Path,
    labels: BoxedImages,
    detector: DetectorSettings,
    settings: TrainingSettings,
    device: torch.device,
    pool: Executor | None = None,
    *,
    title: str = "training",
    progress: Progress = silent,
) -> FittedDetector:
    """Build a detector and train it; a killed training continues from the state in its folder.

    Args:
        folder: gets ``epochs.csv`` and ``state.pt``.
        labels: what it learns.
        detector: what is built.
        settings: how it is trained.
        device: where.
        pool: reads the images; None to read them between the steps.
        title: what ``progress`` calls the work.
        progress: counts the steps.

    Raises:
        UserError: if the loss is no longer finite, no image can be read, or the state is of another training.
    """
    model = build_detector(detector, labels.class_names, settings.seed).to(device)
    trainer = make_trainer(model, labels, detector, settings, device, pool)
    resume(trainer, folder)
    for _ in progress(train(trainer, folder), title, "step", trainer.steps_left):
        pass
    problems = sorted(trainer.learner.problems.items())
    sentences = tuple(f"{labels.images[index].image.file}: {reason}" for index, reason in problems)
    return FittedDetector(model, tuple(trainer.history), sentences)


def make_trainer(
    model: nn.Module,
    labels: BoxedImages,
    detector: DetectorSettings,
    settings: TrainingSettings,
    device: torch.device,
    pool: Executor | None = None,
) -> Trainer:
    """The training of a detector, SGD with a linear warm-up times half a cosine; see :func:`fit_detector`.

    Raises:
        UserError: if the device has no such precision.
    """
    learner = DetectorLearner(model, labels, settings, device, pool)
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    peak = peak_learning_rate(settings, detector)
    optimizer = torch.optim.SGD(learned, peak, momentum=settings.momentum, weight_decay=settings.weight_decay)
    steps = settings.epochs * learner.steps_per_epoch
    rising = min(_MAX_WARMUP_STEPS, steps // 10) if settings.warmup_steps is None else settings.warmup_steps
    schedule = warmup_cosine(optimizer, steps, rising=rising, start=_WARMUP_START)
    plan = Plan(
        settings.epochs,
        settings.seed,
        _precision(settings.precision, device),
        max_gradient_norm=_MAX_GRADIENT_NORM,
        ema_decay=settings.ema_decay,
    )
    return Trainer(learner, plan, optimizer, schedule)


def peak_learning_rate(settings: TrainingSettings, detector: DetectorSettings) -> float:
    """The highest learning rate: as given, or the detector's own in proportion to the batch."""
    if settings.learning_rate is not None:
        return settings.learning_rate
    architecture: Architecture = DETECTORS[detector.arch]
    return architecture.learning_rate * settings.batch_size / _BATCH_OF_LEARNING_RATE


def as_input(image: Tensor, device: torch.device) -> Tensor:
    """RGB uint8 ``(3, H, W)`` as float32 in [0, 1] on a device."""
    return image.to(device).float().div_(255)


def _precision(name: Literal["auto", "float32", "bfloat16", "float16"], device: torch.device) -> torch.dtype:
    if name == "auto":
        return torch.float16 if device.type == "cuda" else torch.float32
    if name == "float16" and device.type == "cpu":
        raise UserError("`precision='float16'` is for CUDA; on the CPU give bfloat16 or float32.")
    dtype: torch.dtype = getattr(torch, name)
    return dtype
