"""The training loop on a line through points: what it learns, when it stops, and what a kill costs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from wsloc.errors import UserError
from wsloc.training import loop
from wsloc.training.history import history_csv
from wsloc.training.loop import EPOCHS, STATE, Plan, Trainer, resume, train
from wsloc.training.read_batches import shuffled_batches
from wsloc.training.schedule import warmup_cosine

POINTS = torch.linspace(-1, 1, 20)[:, None]


class Line:
    """Learns ``y = 3 x + 1`` with dropout on the input, in batches of four points."""

    steps_per_epoch = 5

    def __init__(self, val_losses: list[float] | None = None, module: nn.Module | None = None) -> None:
        torch.manual_seed(0)
        self.module = module or nn.Sequential(nn.Dropout(0.1), nn.Linear(1, 1))
        self.problems: dict[int, str] = {}
        self.val_losses = val_losses
        self.unreadable: set[int] = set()
        self.modes: list[list[bool]] = []

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, int]]:
        for rows in shuffled_batches(np.arange(20), 4, 0, epoch):
            readable = [row for row in rows.tolist() if row not in self.unreadable]
            self.problems |= {row: f"{row}.png is no image" for row in rows.tolist() if row in self.unreadable}
            yield POINTS[readable], len(readable)

    def losses(self, batch: Tensor) -> dict[str, Tensor]:
        self.modes.append([part.training for part in self.module.modules()])
        error = self.module(batch) - 3 * batch - 1
        return {"square": (error**2).mean(), "absolute": 0 * error.abs().mean()}

    def validate(self) -> tuple[float, dict[str, float]] | None:
        assert not self.module.training
        if self.val_losses is None:
            return None
        loss = self.val_losses.pop(0)
        return loss, {"val_double": 2 * loss}


def trainer_of(learner: Line, *, epochs: int = 6, rate: float = 0.1, **plan: object) -> Trainer:
    optimizer = torch.optim.SGD(learner.module.parameters(), rate, momentum=0.9)
    schedule = warmup_cosine(optimizer, epochs * 5, rising=2, start=0.5)
    return Trainer(learner, Plan(epochs, seed=3, **plan), optimizer, schedule)  # type: ignore[arg-type]


def weights(trainer: Trainer) -> list[float]:
    return [value for part in trainer.learner.module.parameters() for value in part.flatten().tolist()]


def test_the_line_is_learned_and_the_steps_are_told() -> None:
    trainer = trainer_of(Line(), epochs=40)
    assert trainer.steps_left == 200
    steps = list(train(trainer))
    assert len(steps) == 200
    assert [(step.epoch, step.last) for step in steps[4:6]] == [(1, None), (2, trainer.history[0])]
    # Dropout shrinks the slope to 0.9 of its 3.
    assert weights(trainer) == pytest.approx([2.7, 1], abs=0.2)
    assert not trainer.learner.module.training
    first, last = trainer.history[0], trainer.history[-1]
    assert last.train_loss < 0.3 * first.train_loss
    assert (first.epoch, first.images, first.values["absolute"]) == (1, 20, 0)
    assert first.train_loss == pytest.approx(np.mean([step.loss for step in steps[:5]]))
    # The rate of the fifth step: the line has risen, and the cosine has run through four of 200 steps.
    assert first.learning_rate == pytest.approx(0.1 * 0.5 * (1 + math.cos(math.pi * 4 / 200)))
    assert trainer.steps_left == 0


def test_the_history_as_a_table() -> None:
    trainer = trainer_of(Line([2.0, 0.5]), epochs=2)
    list(train(trainer))
    head, first, _ = history_csv(trainer.history).splitlines()
    assert head == "epoch,images,learning_rate,train_loss,val_loss,square,absolute,val_double"
    assert first.split(",")[0:2] == ["1", "20"]
    assert first.split(",")[4] == "2.0"
    assert first.split(",")[-1] == "4.0"


def test_it_stops_when_the_patience_is_spent_and_takes_the_best_weights() -> None:
    trainer = trainer_of(Line([3.0, 2.0, 2.5, 2.0, 1.0]), epochs=9, patience=2)
    best: list[float] = []
    for step in train(trainer):
        if step.epoch == 3 and not best:
            best = [value for part in trainer.best.values() for value in part.flatten().tolist()]
    assert [record.val_loss for record in trainer.history] == [3.0, 2.0, 2.5, 2.0]
    assert trainer.best_epoch == 2
    assert weights(trainer) == best


def test_without_held_out_images_the_last_epoch_counts() -> None:
    trainer = trainer_of(Line(), epochs=4, patience=1)
    list(train(trainer))
    assert trainer.best_epoch == len(trainer.history) == 4
    assert all(record.val_loss is None for record in trainer.history)


@pytest.mark.parametrize(("val_losses", "decay"), [(None, 0), ([4.0, 1.0, 3.0, 2.0, 5.0, 6.0], 0), (None, 0.9)])
@pytest.mark.parametrize("stop", [3, 12, 29])
def test_a_killed_training_ends_with_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, val_losses: list[float] | None, decay: float, stop: int
) -> None:
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_STATES", 0)
    (tmp_path / "a").mkdir()
    undisturbed = trainer_of(Line(val_losses and list(val_losses)), ema_decay=decay)
    list(train(undisturbed, tmp_path / "a"))
    steps = train(trainer_of(Line(val_losses and list(val_losses)), ema_decay=decay), tmp_path / "b")
    for _ in range(stop):
        next(steps)
    steps.close()  # type: ignore[attr-defined]
    torch.rand(7)  # another process has another generator
    done = stop // 5
    again = trainer_of(Line(val_losses and val_losses[done:]), ema_decay=decay)
    resume(again, tmp_path / "b")
    assert len(again.history) == done
    list(train(again, tmp_path / "b"))
    assert weights(again) == weights(undisturbed)
    assert again.history == undisturbed.history
    assert (tmp_path / "a" / EPOCHS).read_bytes() == (tmp_path / "b" / EPOCHS).read_bytes()


def test_the_momentum_is_part_of_the_state(tmp_path: Path) -> None:
    undisturbed = trainer_of(Line())
    list(train(undisturbed, tmp_path))
    state = torch.load(tmp_path / STATE, weights_only=True)
    assert state["optimizer"]["state"][0]["momentum_buffer"].abs().sum() > 0
    assert state["schedule"]["last_epoch"] == 30


def test_a_finished_training_is_resumed_to_its_end(tmp_path: Path) -> None:
    undisturbed = trainer_of(Line([2.0, 1.0, 3.0]), epochs=3)
    list(train(undisturbed, tmp_path))
    again = trainer_of(Line([]), epochs=3)
    resume(again, tmp_path)
    assert list(train(again, tmp_path)) == []
    assert weights(again) == weights(undisturbed)


def test_a_training_ends_with_the_moving_average_of_its_weights(tmp_path: Path) -> None:
    plain, averaged = trainer_of(Line()), trainer_of(Line(), ema_decay=0.9)
    path = [weights(plain) for _ in train(plain)]
    list(train(averaged, tmp_path))
    expected: list[float] = []
    for step, own in enumerate(path):
        kept = min(0.9, (1 + step) / (10 + step)) if step else 0.0
        expected = [kept * old + (1 - kept) * new for old, new in zip(expected or own, own, strict=True)]
    assert weights(averaged) == pytest.approx(expected)
    assert weights(averaged) != pytest.approx(weights(plain))
    # What is learned does not depend on the average.
    assert averaged.history == plain.history
    again = trainer_of(Line(), ema_decay=0.9)
    resume(again, tmp_path)
    assert list(train(again)) == []
    assert weights(again) == weights(averaged)


def test_a_large_gradient_is_scaled_down() -> None:
    """Of (y - 3 x - 1)^2 at x = 1, with weight and bias 0: both derivatives are -8, the norm is 8 times root two."""
    for limit, moved in ((100.0, 0.8), (math.sqrt(2), 0.1)):
        module = nn.Linear(1, 1)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.zero_()
        learner = Line(module=module)
        learner.batches = lambda _epoch: iter([(torch.ones(4, 1), 4)])  # type: ignore[method-assign]
        optimizer = torch.optim.SGD(module.parameters(), 0.1)
        schedule = torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0)
        next(train(Trainer(learner, Plan(1, seed=0, max_gradient_norm=limit), optimizer, schedule)))
        assert [parameter.item() for parameter in module.parameters()] == pytest.approx([moved, moved])


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("executed",)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04", b"\x80\x02.", None])
def test_a_damaged_state_is_a_users_error(
    tmp_path: Path, content: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is None:
        torch.save({"module": Evil()}, tmp_path / STATE)
    else:
        (tmp_path / STATE).write_bytes(content)
    with pytest.raises(UserError, match="cannot be read, or is of another training; `overwrite=True` starts over"):
        resume(trainer_of(Line()), tmp_path)
    assert "executed" not in capsys.readouterr().out


def test_a_state_of_another_network_is_refused(tmp_path: Path) -> None:
    list(train(trainer_of(Line()), tmp_path))
    with pytest.raises(UserError, match="of another training"):
        resume(trainer_of(Line(module=nn.Linear(1, 2))), tmp_path)


def test_a_state_that_was_not_wholly_written_does_not_count(tmp_path: Path) -> None:
    (tmp_path / f"{STATE}.tmp").write_bytes(b"half")
    trainer = trainer_of(Line())
    resume(trainer, tmp_path)
    assert trainer.history == []


def test_training_leaves_the_global_generator_alone() -> None:
    trainer = trainer_of(Line())
    before = torch.get_rng_state()
    list(train(trainer))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_loss_that_is_not_finite_is_a_users_error() -> None:
    trainer = trainer_of(Line(), rate=0.25)
    with torch.no_grad():
        next(trainer.learner.module.parameters()).fill_(math.inf)
    with pytest.raises(UserError, match=r"no longer finite in epoch 1; give a lower `learning_rate` than 0.25, or"):
        next(train(trainer))


@pytest.mark.parametrize(
    ("val_losses", "value"), [([1.0], math.nan), (None, math.nan), ([math.inf], 1), ([math.nan], 1)]
)
def test_a_loss_that_the_last_step_blew_up_is_a_users_error(val_losses: list[float] | None, value: float) -> None:
    trainer = trainer_of(Line(val_losses), epochs=1)
    steps = train(trainer)
    for _ in range(5):
        next(steps)
    next(trainer.learner.module.parameters()).data.fill_(value)
    with pytest.raises(UserError, match=r"no longer finite in epoch 1; give a lower `learning_rate`"):
        next(steps)
    assert not trainer.history


def test_images_that_cannot_be_read_are_left_out_and_stay_known(tmp_path: Path) -> None:
    learner = Line()
    learner.unreadable = {*shuffled_batches(np.arange(20), 4, 0, 1)[0].tolist(), 7}
    trainer = trainer_of(learner, epochs=1)
    # The first batch has nothing to learn from, so no step is taken.
    assert len(list(train(trainer, tmp_path))) == 4
    assert trainer.history[0].images == 20 - len(learner.unreadable)
    again = trainer_of(Line(), epochs=1)
    resume(again, tmp_path)
    assert again.learner.problems == {row: f"{row}.png is no image" for row in learner.unreadable}
    learner = Line()
    learner.unreadable = set(range(20))
    with pytest.raises(UserError, match=r"None of the training images can be read; the first one: \d+.png is no image"):
        list(train(trainer_of(learner)))


def test_frozen_statistics_of_batch_normalization_stay() -> None:
    modes = {}
    for frozen in (True, False):
        learner = Line(module=nn.Sequential(nn.Linear(1, 2), nn.BatchNorm1d(2), nn.Dropout(), nn.Linear(2, 1)))
        next(train(trainer_of(learner, freeze_norm=frozen)))
        modes[frozen] = learner.modes[0][1:]
    assert modes == {True: [True, False, True, True], False: [True] * 4}
