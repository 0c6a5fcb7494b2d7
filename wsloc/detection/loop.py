"""Training a detector, epoch by epoch, so that a killed training goes on as if nothing had happened.

What happens in an epoch depends on the weights, the momentum and the epoch's number alone: the order of the images, how
each of them is changed, and the detector's own sampling are drawn from seeds of the epoch. So the end of an epoch is a
state from which the same bytes follow, on one kind of CPU with one number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from wsloc.detection.augmentation import Example, augmented
from wsloc.detection.checkpoint import TrainingState, load_into, save_state
from wsloc.detection.data import BoxedImage, BoxedImages
from wsloc.detection.settings import DetectorSettings, TrainingSettings
from wsloc.errors import ItemError, UserError
from wsloc.images import read_image
from wsloc.pipeline.ordered import ordered_map
from wsloc.records import Failure
from wsloc.registries import DETECTORS
from wsloc.seeding import stable_hash

_BATCH_OF_LEARNING_RATE = 8
_MAX_WARMUP_STEPS = 500
_WARMUP_START = 1e-3


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One step: its place in the epoch, from 1, the learning rate and the sum of the losses."""

    epoch: int
    step: int
    learning_rate: float
    loss: float


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """What one epoch came to.

    Attributes:
        epoch: from 1.
        steps: that were taken.
        images: that were seen.
        learning_rate: of the last step.
        losses: means over the steps, by torchvision's names.
    """

    epoch: int
    steps: int
    images: int
    learning_rate: float
    losses: dict[str, float]


@dataclass(slots=True, eq=False)
class TrainingLog:
    """What is known of a training so far: its epochs, and the images that could not be read."""

    epochs: list[EpochRecord]
    failures: list[Failure]


def steps_per_epoch(images: int, settings: TrainingSettings) -> int:
    """Steps of one epoch; the last batch may be smaller."""
    return -(-images // settings.batch_size)


def peak_learning_rate(settings: TrainingSettings, detector: DetectorSettings) -> float:
    """The highest learning rate: as given, or the detector's own in proportion to the batch."""
    if settings.learning_rate is not None:
        return settings.learning_rate
    return DETECTORS[detector.arch].learning_rate * settings.batch_size / _BATCH_OF_LEARNING_RATE


def learning_rate_fraction(step: int, steps: int, warmup: int | None) -> float:
    """Fraction of the highest learning rate in a step, from 0: a line up, then half a cosine down.

    Args:
        step: from 0.
        steps: of the whole training.
        warmup: steps of the line; None for a tenth of all, at most 500.
    """
    rising = min(_MAX_WARMUP_STEPS, steps // 10) if warmup is None else warmup
    line = min(1.0, _WARMUP_START + (1 - _WARMUP_START) * step / rising) if rising else 1.0
    return line * 0.5 * (1 + math.cos(math.pi * step / steps))


def train(
    model: nn.Module,
    labels: BoxedImages,
    detector: DetectorSettings,
    settings: TrainingSettings,
    device: torch.device,
    log: TrainingLog,
    *,
    pool: Executor | None = None,
    folder: Path | None = None,
    state: TrainingState | None = None,
) -> Iterator[StepRecord | EpochRecord]:
    """Train a detector in place; an image that cannot be read is left out and recorded.

    Args:
        model: as :func:`wsloc.detection.models.build_detector` made it; moved to the device, and left in evaluation
            mode.
        labels: the images.
        detector: what the model was built from.
        settings: how to train.
        device: where.
        log: gets the epochs and failures, those of an earlier process first.
        pool: reads the images; None to read them between the steps.
        folder: where a state is written after each epoch; None for nowhere.
        state: to go on from.

    Yields:
        A record after each step and each epoch that this process makes.

    Raises:
        UserError: if the loss is no longer finite, no image can be read, or the state is of another detector.
    """
    # Also where every epoch is done already, and nothing but asking the detector is left.
    model.to(device).eval()
    precision = _precision(settings.precision, device)
    peak = peak_learning_rate(settings, detector)
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(learned, peak, momentum=settings.momentum, weight_decay=settings.weight_decay)
    scaler = torch.amp.GradScaler(device.type, enabled=precision == torch.float16)
    done = 0
    if state is not None:
        done = _restore(state, model, optimizer, scaler, log, folder or Path())
    per_epoch = steps_per_epoch(len(labels.images), settings)
    failed = {failure.image_id for failure in log.failures}
    forked = [torch.cuda.current_device()] if device.type == "cuda" else []
    for epoch in range(done + 1, settings.epochs + 1):
        model.train()
        steps = seen = 0
        rate = 0.0
        sums: dict[str, float] = {}
        # torchvision samples anchors and proposals by PyTorch's own generator.
        with torch.random.fork_rng(devices=forked):
            torch.manual_seed(stable_hash(settings.seed, f"epoch {epoch}", "sampling"))
            for number, batch in enumerate(_batches(labels, settings, epoch, pool)):
                examples = [example for example in batch if isinstance(example, Example)]
                new = [entry for entry in batch if isinstance(entry, Failure) and entry.image_id not in failed]
                log.failures.extend(new)
                failed.update(failure.image_id for failure in new)
                fraction = learning_rate_fraction(
                    (epoch - 1) * per_epoch + number, settings.epochs * per_epoch, settings.warmup_steps
                )
                rate = peak * fraction
                for group in optimizer.param_groups:
                    group["lr"] = rate
                if not examples:
                    continue
                losses = _step(model, examples, optimizer, scaler, device, precision)
                total = sum(losses.values())
                if not math.isfinite(total):
                    raise UserError(
                        f"The loss is no longer a number in epoch {epoch}; give a lower --learning-rate than {peak:g}."
                    )
                sums = {name: sums.get(name, 0.0) + value for name, value in losses.items()}
                steps, seen = steps + 1, seen + len(examples)
                yield StepRecord(epoch, number + 1, rate, total)
        model.eval()
        if not steps:
            raise UserError(
                f"None of the {len(labels.images)} images can be read, such as {labels.images[0].image.path}; give the "
                "folder that they lie in with --root."
            )
        record = EpochRecord(epoch, steps, seen, rate, {name: value / steps for name, value in sums.items()})
        log.epochs.append(record)
        if folder is not None:
            save_state(folder, _state(epoch, model, optimizer, scaler, log))
        yield record


def read_example(boxed: BoxedImage) -> Example:
    """An image and its boxes, unchanged.

    Raises:
        ItemError: if the image cannot be read.
    """
    return Example(read_image(boxed.image.path), boxed.boxes_xyxy, boxed.classes, boxed.ignored_xyxy)


def as_input(pixels: np.ndarray[Any, np.dtype[np.uint8]], device: torch.device) -> Tensor:
    """RGB uint8 ``(H, W, 3)`` as float32 ``(3, H, W)`` in [0, 1] on a device."""
    tensor = torch.from_numpy(np.ascontiguousarray(pixels)).to(device)
    return tensor.permute(2, 0, 1).float().div_(255)


def as_target(example: Example, device: torch.device) -> dict[str, Tensor]:
    """What torchvision's detectors learn from: ``boxes``, ``labels``, and ``ignored`` for our own part of the loss."""
    return {
        "boxes": torch.as_tensor(example.boxes_xyxy, dtype=torch.float32, device=device).reshape(-1, 4),
        "labels": torch.as_tensor(example.classes, dtype=torch.int64, device=device),
        "ignored": torch.as_tensor(example.ignored_xyxy, dtype=torch.float32, device=device).reshape(-1, 4),
    }


def _step(
    model: nn.Module,
    examples: list[Example],
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    device: torch.device,
    precision: torch.dtype,
) -> dict[str, float]:
    images = [as_input(example.pixels, device) for example in examples]
    targets = [as_target(example, device) for example in examples]
    with torch.autocast(device.type, dtype=precision, enabled=precision != torch.float32):
        losses: dict[str, Tensor] = model(images, targets)
        total = torch.stack(list(losses.values())).sum()
    optimizer.zero_grad()
    torch.autograd.backward(scaler.scale(total))
    scaler.step(optimizer)
    scaler.update()
    return {name: float(value.detach()) for name, value in losses.items()}


def _batches(
    labels: BoxedImages, settings: TrainingSettings, epoch: int, pool: Executor | None
) -> Iterator[list[Example | Failure]]:
    """The images of an epoch in its order, each read and changed."""

    def load(index: int) -> Example | Failure:
        boxed = labels.images[index]
        try:
            example = read_example(boxed)
        except ItemError as error:
            return Failure(boxed.image.image_id, boxed.image.file, "", "read", str(error))
        rng = np.random.default_rng([settings.seed, epoch, index])
        return augmented(example, rng, flip=settings.flip, zoom=settings.zoom, gain=settings.gain)

    order = np.random.default_rng([settings.seed, epoch]).permutation(len(labels.images)).tolist()
    batch: list[Example | Failure] = []
    for example in ordered_map(pool, load, order, window=2 * settings.batch_size):
        batch.append(example)
        if len(batch) == settings.batch_size:
            yield batch
            batch = []
    if batch:
        yield batch


def _precision(name: Literal["auto", "float32", "bfloat16", "float16"], device: torch.device) -> torch.dtype:
    if name == "auto":
        return torch.float16 if device.type == "cuda" else torch.float32
    if name == "float16" and device.type == "cpu":
        raise UserError("--precision float16 is for CUDA; on the CPU give bfloat16 or float32.")
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def _state(
    epoch: int, model: nn.Module, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler, log: TrainingLog
) -> TrainingState:
    recorded = {
        "epochs": [asdict(record) for record in log.epochs],
        "failures": [asdict(failure) for failure in log.failures],
    }
    beside = {"optimizer": optimizer.state_dict(), "scaler": scaler.state_dict()}
    return TrainingState(epoch, model.state_dict(), beside, recorded)


def _restore(
    state: TrainingState,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    log: TrainingLog,
    folder: Path,
) -> int:
    load_into(model, state.model, folder)
    try:
        optimizer.load_state_dict(state.optimizer["optimizer"])
        scaler.load_state_dict(state.optimizer["scaler"])
        log.epochs[:] = [EpochRecord(**fields) for fields in state.log["epochs"]]
        log.failures[:] = [Failure(**fields) for fields in state.log["failures"]]
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"The state in {folder} is of another training; start it without --resume.") from error
    return state.epoch
