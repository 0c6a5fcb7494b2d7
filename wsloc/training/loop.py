"""The training loop: epochs, early stopping on held-out images, and a state from which a killed training resumes.

The order, augmentation and random draws of an epoch depend on the seed and the epoch alone. Weights, the states of the
optimizer and the schedule, and the history are therefore all that a resumed training needs: on a CPU with one number
of threads, it ends with the same bytes as an uninterrupted one. A moving average of the weights is part of the state.
"""

from __future__ import annotations

import io
import logging
import math
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel

from wsloc.errors import UserError
from wsloc.files.atomic import write_atomic
from wsloc.runs.run_folder import STATE
from wsloc.seeding import stable_hash
from wsloc.training.averaging import moving_average
from wsloc.training.history import EpochRecord, history_csv

_log = logging.getLogger(__name__)
EPOCHS = "epochs.csv"
SECONDS_BETWEEN_STATES = 2.0
"""A longer epoch is written as soon as it is done; of shorter ones, a killed training loses up to this much."""
Batch = TypeVar("Batch")


class Learner(Protocol[Batch]):
    """What is trained, and on what."""

    @property
    def module(self) -> nn.Module:
        """The network, on its device."""

    @property
    def problems(self) -> dict[int, str]:
        """Why an image could not be read, by its index; filled while training, and part of the state."""

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch."""

    def batches(self, epoch: int) -> Iterator[tuple[Batch, int]]:
        """The batches of an epoch, augmented, each with its number of images, which may be 0."""

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Scalar losses by name; their sum is minimized."""

    def validate(self) -> tuple[float, dict[str, float]] | None:
        """The loss on the held-out images, and metrics by name, in evaluation mode; None without any."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how exactly to train.

    Attributes:
        epochs: at most.
        seed: of dropout and whatever else draws from PyTorch's generator.
        precision: float32, or the type that autocast uses.
        patience: epochs without a lower held-out loss after which to stop; None for never.
        freeze_norm: whether batch normalization keeps its statistics.
        max_gradient_norm: a gradient whose norm over all parameters is larger is scaled down to it.
        ema_decay: of the moving average of the weights, with which the training ends; 0 for none. With it, the best
            epoch is not looked for.
    """

    epochs: int
    seed: int
    precision: torch.dtype = torch.float32
    patience: int | None = None
    freeze_norm: bool = False
    max_gradient_norm: float = math.inf
    ema_decay: float = 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """One step: its epoch, from 1, its loss, the record of the last finished epoch, and the size of what is trained."""

    epoch: int
    loss: float
    last: EpochRecord | None
    weight_bytes: int


@dataclass(slots=True, eq=False)
class Trainer:
    """A training in progress.

    Attributes:
        learner: what is trained.
        plan: how.
        optimizer: of the module's parameters.
        schedule: of the learning rate, over steps.
        history: the epochs so far.
        best_epoch: the one with the lowest held-out loss, or the last without held-out images; 0 before the first.
        best: the module's state then; empty without held-out images.
        scaler: of the loss, for float16.
        average: of the weights; None without one.
    """

    learner: Learner[Any]
    plan: Plan
    optimizer: torch.optim.Optimizer
    schedule: LRScheduler
    history: list[EpochRecord] = field(default_factory=list)
    best_epoch: int = 0
    best: dict[str, Tensor] = field(default_factory=dict)
    scaler: torch.amp.GradScaler = field(init=False)
    average: AveragedModel | None = field(init=False)

    def __post_init__(self) -> None:
        decay = self.plan.ema_decay
        self.average = moving_average(self.learner.module, decay) if decay > 0 else None
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.plan.precision == torch.float16)

    @property
    def device(self) -> torch.device:
        """Of the module."""
        return next(self.learner.module.parameters()).device

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or as many as the patience brought nothing."""
        done, patience = len(self.history), self.plan.patience
        return done >= self.plan.epochs or (patience is not None and done - self.best_epoch >= patience)

    @property
    def steps_left(self) -> int:
        """Without an early stop."""
        return (self.plan.epochs - len(self.history)) * self.learner.steps_per_epoch


def train(trainer: Trainer, folder: Path | None = None) -> Iterator[Step]:
    """Train what is left, one step for each item asked for; the module ends in evaluation mode.

    Its weights are then those of the best epoch, or their moving average if there is one.

    Args:
        trainer: changes on the way.
        folder: gets ``epochs.csv`` and ``state.pt`` after an epoch; None to write nothing.

    Raises:
        UserError: if no image can be read, a loss or a weight is no longer finite, or the disk is full.
    """
    written = time.monotonic()
    while not trainer.finished:
        yield from _train_epoch(trainer)
        # Forcing a file to the disk takes longer than an epoch of a linear head.
        if folder is not None and (trainer.finished or time.monotonic() - written >= SECONDS_BETWEEN_STATES):
            write_atomic(folder / EPOCHS, history_csv(trainer.history))
            write_atomic(folder / STATE, _state_bytes(trainer))
            written = time.monotonic()
    if trainer.average is not None:
        trainer.learner.module.load_state_dict(trainer.average.module.state_dict())
    elif trainer.best:
        trainer.learner.module.load_state_dict(trainer.best)
    trainer.learner.module.eval()


def resume(trainer: Trainer, folder: Path) -> None:
    """Continue from the state in a folder, if there is one; nothing in the file is executed.

    Raises:
        UserError: if it is damaged or belongs to another training.
    """
    path = folder / STATE
    if not path.exists():
        return
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        for name, part in _parts(trainer).items():
            part.load_state_dict(state[name])
        trainer.best, trainer.best_epoch = state["best"], state["best_epoch"]
        trainer.history[:] = [EpochRecord(**record) for record in state["history"]]
        trainer.learner.problems.update(state["problems"])
    except Exception as error:  # the unpickler may raise anything, also for what it refuses to run
        raise UserError(f"{path} cannot be read, or is of another training; `overwrite=True` starts over.") from error


def _state_bytes(trainer: Trainer) -> bytes:
    """All that :func:`resume` needs."""
    state: dict[str, Any] = {name: part.state_dict() for name, part in _parts(trainer).items()}
    state |= {
        "best": trainer.best,
        "best_epoch": trainer.best_epoch,
        "history": [asdict(record) for record in trainer.history],
        "problems": dict(sorted(trainer.learner.problems.items())),
    }
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def _parts(trainer: Trainer) -> dict[str, Any]:
    parts = {
        "module": trainer.learner.module,
        "optimizer": trainer.optimizer,
        "schedule": trainer.schedule,
        "scaler": trainer.scaler,
    }
    return parts if trainer.average is None else {**parts, "average": trainer.average}


def _train_epoch(trainer: Trainer) -> Iterator[Step]:
    learner, epoch = trainer.learner, len(trainer.history) + 1
    last = trainer.history[-1] if trainer.history else None
    sums: dict[str, float] = defaultdict(float)
    images, rate = 0, 0.0
    weight_bytes = sum(value.nbytes for value in learner.module.state_dict().values())
    _train_mode(learner.module, trainer.plan.freeze_norm)
    forked = [trainer.device] if trainer.device.type == "cuda" else []
    with torch.random.fork_rng(devices=forked), _deterministic_cudnn():
        # Of dropout, and of the anchors and proposals that torchvision's detectors sample.
        torch.manual_seed(stable_hash(trainer.plan.seed, f"epoch {epoch}", "sampling"))
        for batch, count in learner.batches(epoch):
            if count == 0:
                continue
            rate = trainer.optimizer.param_groups[-1]["lr"]
            losses = _step(trainer, batch, epoch)
            images += count
            for name, value in losses.items():
                sums[name] += value * count
            yield Step(epoch, sum(losses.values()), last, weight_bytes)
    learner.module.eval()
    if images == 0:
        reason = next(iter(learner.problems.values()), "there are none")
        raise UserError(f"None of the training images can be read; the first one: {reason}.")
    means = {name: value / images for name, value in sums.items()}
    parts = means if len(means) > 1 else {}
    _end_epoch(trainer, EpochRecord(epoch, images, rate, sum(means.values()), None, parts))


def _step(trainer: Trainer, batch: object, epoch: int) -> dict[str, float]:
    precision = trainer.plan.precision
    with torch.autocast(trainer.device.type, precision, enabled=precision != torch.float32):
        losses = trainer.learner.losses(batch)
    values = {name: float(loss.detach()) for name, loss in losses.items()}
    if not math.isfinite(sum(values.values())):
        raise _not_finite(trainer, epoch)
    trainer.optimizer.zero_grad()
    torch.autograd.backward(trainer.scaler.scale(torch.stack(list(losses.values())).sum()))
    if math.isfinite(trainer.plan.max_gradient_norm):
        trainer.scaler.unscale_(trainer.optimizer)
        learned = [value for group in trainer.optimizer.param_groups for value in group["params"]]
        nn.utils.clip_grad_norm_(learned, trainer.plan.max_gradient_norm)
    scale = trainer.scaler.get_scale()
    trainer.scaler.step(trainer.optimizer)
    trainer.scaler.update()
    # In float16 a gradient may overflow; the scaler then leaves the step out, and the schedule does not count it.
    if trainer.scaler.get_scale() >= scale:
        trainer.schedule.step()
        if trainer.average is not None:
            trainer.average.update_parameters(trainer.learner.module)
    return values


def _end_epoch(trainer: Trainer, trained: EpochRecord) -> None:
    """Validate, refuse what has diverged, and keep the weights if they are the best so far."""
    module = trainer.learner.module
    if (validated := trainer.learner.validate()) is not None:
        trained = replace(trained, val_loss=validated[0], values=trained.values | validated[1])
    val_loss = trained.val_loss
    # The loss before the last step was finite; only here is it seen what that step did.
    diverged = val_loss is not None and not math.isfinite(val_loss)
    if diverged or not all(bool(value.isfinite().all()) for value in module.parameters()):
        raise _not_finite(trainer, trained.epoch)
    lowest = min((past.val_loss for past in trainer.history if past.val_loss is not None), default=math.inf)
    trainer.history.append(trained)
    _log.debug("epoch %d: loss %.4g on %d images", trained.epoch, trained.train_loss, trained.images)
    if val_loss is None:
        trainer.best_epoch = trained.epoch
    elif val_loss < lowest:
        trainer.best_epoch = trained.epoch
        trainer.best = {name: value.detach().cpu().clone() for name, value in module.state_dict().items()}


def _not_finite(trainer: Trainer, epoch: int) -> UserError:
    peak = trainer.schedule.base_lrs[-1]
    return UserError(
        f"The loss is no longer finite in epoch {epoch}; give a lower `learning_rate` than {peak:g}, or "
        "`precision='float32'`."
    )


def _train_mode(module: nn.Module, freeze_norm: bool) -> None:
    module.train()
    if freeze_norm:
        for part in module.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm):
                part.eval()


def _deterministic_cudnn() -> Any:
    return torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled, benchmark=False, deterministic=True)
