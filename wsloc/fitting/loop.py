"""The training loop: epochs, early stopping on the held-out images, and a state that goes on after a kill.

Order, augmentation and dropout of an epoch depend on the run's seed and the epoch's number alone, the learning rate on
the number of the step. Weights, the optimizer's state and the figures of past epochs are therefore all that a resumed
run needs; on a CPU it ends with the bytes of an undisturbed one.
"""

from __future__ import annotations

import copy
import io
import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from wsloc.errors import UserError
from wsloc.fitting.examples import Loss
from wsloc.fitting.material import Material, Rows
from wsloc.fitting.scoring import ScoredImages, mean_average_precision, top1_accuracy
from wsloc.seeding import stable_hash


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """What an epoch came to; NaN where no image is held out.

    Attributes:
        epoch: from 1.
        learning_rate: of its last step, of the new head.
        train_loss: mean over the images that were trained on, while the weights changed.
        val_loss: mean over the held-out images.
        val_map: mean average precision on the held-out images, in [0, 1].
        val_accuracy: fraction of the held-out images with a class whose best-scored class is one of theirs.
    """

    epoch: int
    learning_rate: float
    train_loss: float
    val_loss: float
    val_map: float
    val_accuracy: float


@dataclass(frozen=True, slots=True)
class Plan:
    """How to train; see :class:`~wsloc.fitting.settings.FittingSettings`.

    Attributes:
        loss: of the class scores.
        epochs: at most.
        patience: epochs without a lower held-out loss after which it stops.
        batch_size: images in a step.
        rate: peak of the learning rate.
        warmup: fraction of the steps over which it rises.
        freeze_norm: whether batch normalization keeps its statistics.
        precision: float32, or the type that autocast uses.
        seed: of the run.
    """

    loss: Loss
    epochs: int
    patience: int
    batch_size: int
    rate: float
    warmup: float
    freeze_norm: bool
    precision: torch.dtype
    seed: int


@dataclass(eq=False)
class Trainer:
    """A training that is under way.

    Attributes:
        plan: how.
        material: inputs, and the module that is trained.
        present: bool ``(N, K)``.
        training: numbers of the images that are trained on, at least one.
        held_out: numbers of those that choose the epoch.
        optimizer: of the module's parameters; each group's ``lr`` as it was made is its fraction of the rate.
        history: the epochs so far.
        best_epoch: that with the lowest held-out loss, or the last without held-out images; 0 before the first.
        best: the module's state then.
        scaler: of the loss, for float16.
    """

    plan: Plan
    material: Material
    present: NDArray[np.bool_]
    training: Rows
    held_out: Rows
    optimizer: torch.optim.Optimizer
    history: list[EpochRecord]
    best_epoch: int
    best: dict[str, Tensor]
    scaler: torch.amp.GradScaler

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or too many brought nothing."""
        done = len(self.history)
        waited = done - self.best_epoch
        return done >= self.plan.epochs or (len(self.held_out) > 0 and waited >= self.plan.patience)


def make_trainer(
    plan: Plan,
    material: Material,
    present: NDArray[np.bool_],
    training: Rows,
    held_out: Rows,
    optimizer: torch.optim.Optimizer,
) -> Trainer:
    """A training that has not begun; its groups of parameters have their fraction of the learning rate as ``lr``."""
    for group in optimizer.param_groups:
        group["fraction"] = group["lr"]
    device = next(material.module.parameters()).device.type
    scaler = torch.amp.GradScaler(device, enabled=plan.precision == torch.float16)
    return Trainer(plan, material, present, training, held_out, optimizer, [], 0, {}, scaler)


def train_epoch(trainer: Trainer, show: Callable[[int], None] = lambda _done: None) -> EpochRecord:
    """One pass over the training images, and one over the held-out ones.

    Args:
        trainer: the training, which changes.
        show: is told how many images of the epoch are done, after each step.

    Raises:
        UserError: if no image can be read any more, or the loss or a weight is no longer finite.
    """
    plan, module, epoch = trainer.plan, trainer.material.module, len(trainer.history) + 1
    batches = _batches(trainer.training, plan.batch_size, epoch, plan.seed)
    steps = len(batches)
    total, count, rate = 0.0, 0, 0.0
    _train_mode(module, plan.freeze_norm)
    device = next(module.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), _deterministic_cudnn():
        torch.manual_seed(stable_hash(plan.seed, "dropout", str(epoch)))
        for number, (inputs, rows) in enumerate(trainer.material.changed(batches, epoch)):
            rate = _rate(plan, (epoch - 1) * steps + min(number, steps - 1), plan.epochs * steps)
            for group in trainer.optimizer.param_groups:
                group["lr"] = rate * group["fraction"]
            loss = _step(trainer, inputs, rows)
            total, count = total + loss * len(rows), count + len(rows)
            show(count)
    module.eval()
    if count == 0:
        raise UserError("None of the training images can be read; wsloc check-dataset says why.")
    record = EpochRecord(epoch, rate, total / count, *_held_out_figures(trainer))
    # The loss before the last step was finite; what that step did is seen here alone.
    weights_finite = all(bool(value.isfinite().all()) for value in module.parameters())
    if not weights_finite or (len(trainer.held_out) and not math.isfinite(record.val_loss)):
        raise _not_finite(epoch)
    trainer.history.append(record)
    lowest = min((past.val_loss for past in trainer.history[:-1]), default=math.inf)
    if not len(trainer.held_out) or record.val_loss < lowest:
        trainer.best_epoch = epoch
        trainer.best = {name: value.detach().cpu().clone() for name, value in module.state_dict().items()}
    return record


def class_scores(
    material: Material,
    rows: Rows,
    num_classes: int,
    batch_size: int,
    precision: torch.dtype,
    show: Callable[[int], None] = lambda _done: None,
) -> tuple[NDArray[np.float32], Rows]:
    """Scores ``(M, K)`` of the images that can be read, by a module in evaluation mode, and their numbers ``(M,)``.

    ``show`` is told how many images are done, after each batch.
    """
    batches = [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
    scores, read = [np.zeros((0, num_classes), dtype=np.float32)], [np.zeros(0, dtype=np.int64)]
    with torch.inference_mode():
        for inputs, own in material.plain(batches):
            with torch.autocast(inputs.device.type, precision, enabled=precision != torch.float32):
                answers = material.module(inputs)
            scores.append(answers.float().cpu().numpy())
            read.append(own)
            show(sum(map(len, read)))
    return np.concatenate(scores), np.concatenate(read)


def state_bytes(trainer: Trainer) -> bytes:
    """All that :func:`restore` needs."""
    state = {
        "module": trainer.material.module.state_dict(),
        "optimizer": trainer.optimizer.state_dict(),
        "scaler": trainer.scaler.state_dict(),
        "best": trainer.best,
        "best_epoch": trainer.best_epoch,
        "history": [asdict(record) for record in trainer.history],
        "problems": trainer.material.problems,
    }
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def restore(trainer: Trainer, content: bytes) -> None:
    """Go on where :func:`state_bytes` was called; nothing in the bytes is executed.

    Raises:
        UserError: if they are damaged or those of another training.
    """
    try:
        state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        trainer.material.module.load_state_dict(state["module"])
        trainer.optimizer.load_state_dict(state["optimizer"])
        trainer.scaler.load_state_dict(state["scaler"])
        trainer.best, trainer.best_epoch = state["best"], state["best_epoch"]
        trainer.history[:] = [EpochRecord(**record) for record in state["history"]]
        trainer.material.problems.update(state["problems"])
    except Exception as error:  # the unpickler raises whatever it trips over
        raise UserError("The state of the unfinished training cannot be read; `overwrite=True` begins anew.") from error


def take_best(trainer: Trainer) -> None:
    """Give the module the weights of its best epoch."""
    trainer.material.module.load_state_dict(copy.deepcopy(trainer.best))
    trainer.material.module.eval()


def history_csv(history: Iterable[EpochRecord]) -> str:
    """The epochs as a table, one a line."""
    names = list(EpochRecord.__dataclass_fields__)
    lines = [",".join(names), *(",".join(repr(getattr(record, name)) for name in names) for record in history)]
    return "".join(f"{line}\n" for line in lines)


def _batches(rows: Rows, batch_size: int, epoch: int, seed: int) -> list[Rows]:
    """The images in an order of the epoch's own; no batch of one, which batch normalization cannot take."""
    order = np.random.default_rng([seed, epoch]).permutation(rows)
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [np.concatenate(batches[-2:])]
    return batches


def _rate(plan: Plan, step: int, steps: int) -> float:
    """A rise from near 0 to the peak, then half a cosine to 0."""
    rising = round(plan.warmup * steps)
    if step < rising:
        return plan.rate * (step + 1) / rising
    return plan.rate * 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


def _step(trainer: Trainer, inputs: Tensor, rows: Rows) -> float:
    precision = trainer.plan.precision
    with torch.autocast(inputs.device.type, precision, enabled=precision != torch.float32):
        scores = trainer.material.module(inputs)
    loss = _loss(scores.float(), trainer.present[rows], trainer.plan.loss)
    value = float(loss.detach())
    if not math.isfinite(value):
        raise _not_finite(len(trainer.history) + 1)
    trainer.optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(trainer.scaler.scale(loss))
    trainer.scaler.step(trainer.optimizer)
    trainer.scaler.update()
    return value


def _not_finite(epoch: int) -> UserError:
    return UserError(
        f"The loss is no longer finite in epoch {epoch}; give a lower `learning_rate`, or `precision='float32'`."
    )


def _loss(scores: Tensor, present: NDArray[np.bool_], kind: Loss) -> Tensor:
    targets = torch.from_numpy(present).to(scores.device)
    if kind == "bce":
        return functional.binary_cross_entropy_with_logits(scores, targets.float())
    return functional.cross_entropy(scores, targets.int().argmax(dim=1))


def _held_out_figures(trainer: Trainer) -> tuple[float, float, float]:
    plan = trainer.plan
    if not len(trainer.held_out):
        return math.nan, math.nan, math.nan
    num_classes = trainer.present.shape[1]
    scores, read = class_scores(trainer.material, trainer.held_out, num_classes, plan.batch_size, plan.precision)
    if not len(read):
        raise UserError("None of the held-out images can be read; wsloc check-dataset says why.")
    images = ScoredImages(scores, trainer.present[read])
    loss = float(_loss(torch.from_numpy(scores), images.present, plan.loss))
    once = np.ones((1, len(images)))
    return loss, float(mean_average_precision(once, images)[0]), float(top1_accuracy(once, images)[0])


def _train_mode(module: nn.Module, freeze_norm: bool) -> None:
    module.train()
    if freeze_norm:
        for part in module.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm):
                part.eval()


def _deterministic_cudnn() -> Any:
    return torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled, benchmark=False, deterministic=True)
