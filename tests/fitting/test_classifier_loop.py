"""The training loop on features made by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from wsloc.classifiers.pooled_head import PooledLinear, new_head
from wsloc.errors import UserError
from wsloc.fitting.examples import Loss
from wsloc.fitting.loop import (
    Plan,
    Trainer,
    class_scores,
    history_csv,
    make_trainer,
    restore,
    state_bytes,
    take_best,
    train_epoch,
)
from wsloc.fitting.material import FeatureMaterial

CPU = torch.device("cpu")


def made(count: int = 60, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Features of another scale and offset each; feature k tells class k."""
    generator = np.random.default_rng(seed)
    present = generator.random((count, 3)) < 0.4
    values = np.concatenate([present, generator.random((count, 5))], axis=1) + generator.normal(0, 0.1, (count, 8))
    views = np.stack([values, values + generator.normal(0, 0.05, (count, 8))], axis=1)
    return (views * np.linspace(1, 4, 8) + 7).astype(np.float32), present


def trainer_of(
    loss: Loss = "bce",
    epochs: int = 30,
    patience: int = 30,
    rate: float = 0.05,
    held: int = 15,
    optimizer: str = "adamw",
    batch_size: int = 8,
) -> tuple[Trainer, FeatureMaterial]:
    features, present = made()
    if loss == "cross-entropy":
        present = np.eye(3, dtype=bool)[present.argmax(axis=1)]
    training, held_out = np.arange(held, len(features)), np.arange(held)
    material = FeatureMaterial(new_head(8, 3, seed=1), features, training, CPU, seed=2)
    parameters = material.module.parameters()
    made_optimizer = (
        torch.optim.AdamW(parameters, lr=1.0) if optimizer == "adamw" else torch.optim.SGD(parameters, lr=1.0)
    )
    plan = Plan(loss, epochs, patience, batch_size, rate, 0.1, False, torch.float32, seed=3)
    return make_trainer(plan, material, present, training, held_out, made_optimizer), material


def run(trainer: Trainer) -> Trainer:
    while not trainer.finished:
        train_epoch(trainer)
    return trainer


@pytest.mark.parametrize("loss", ["bce", "cross-entropy"])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_what_features_tell_is_learned(loss: Loss, optimizer: str) -> None:
    trainer, _ = trainer_of(loss, optimizer=optimizer, rate=0.05 if optimizer == "adamw" else 1.0)
    run(trainer)
    assert trainer.history[-1].train_loss < 0.5 * trainer.history[0].train_loss
    assert trainer.history[-1].val_accuracy >= 0.8
    assert trainer.history[-1].val_map > 0.9


def test_the_folded_head_takes_features_as_the_network_gives_them() -> None:
    trainer, material = trainer_of()
    run(trainer)
    rows = np.arange(60)
    scores, read = class_scores(material, rows, 3, batch_size=7, precision=torch.float32)
    assert np.array_equal(read, rows)
    folded: PooledLinear = material.folded()
    with torch.no_grad():
        assert np.allclose(folded(torch.from_numpy(made()[0][:, 0])).numpy(), scores, atol=1e-2 * np.abs(scores).max())


def test_the_best_epoch_is_that_of_the_lowest_held_out_loss_and_its_weights_are_taken() -> None:
    trainer, material = trainer_of(rate=0.5, epochs=40, patience=5)  # too fast, so that the loss soon rises again
    run(trainer)
    losses = [record.val_loss for record in trainer.history]
    assert trainer.best_epoch == 1 + losses.index(min(losses))
    assert len(losses) in (trainer.best_epoch + 5, 40)
    assert len(losses) < 40
    take_best(trainer)
    scores, _ = class_scores(material, trainer.held_out, 3, 8, torch.float32)
    targets = torch.from_numpy(trainer.present[trainer.held_out]).float()
    again = float(nn.functional.binary_cross_entropy_with_logits(torch.from_numpy(scores), targets))
    assert again == pytest.approx(min(losses), rel=1e-6)


def test_without_held_out_images_the_last_epoch_counts() -> None:
    trainer, _ = trainer_of(held=0, epochs=4, patience=1)
    run(trainer)
    assert trainer.best_epoch == len(trainer.history) == 4
    assert all(math.isnan(record.val_loss) and math.isnan(record.val_map) for record in trainer.history)


def test_the_learning_rate_rises_and_falls() -> None:
    trainer, _ = trainer_of(epochs=20, patience=20, rate=0.01)
    rates = [record.learning_rate for record in run(trainer).history]
    assert max(rates) == pytest.approx(0.01, rel=0.02)
    assert rates.index(max(rates)) == 1  # after a tenth of the steps
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert rates[-1] < 1e-4


@pytest.mark.parametrize("stop", [1, 3])
def test_a_restored_training_ends_with_the_same_bytes(stop: int) -> None:
    undisturbed = run(trainer_of(epochs=6)[0])
    begun, _ = trainer_of(epochs=6)
    for _ in range(stop):
        train_epoch(begun)
    again, _ = trainer_of(epochs=6)
    restore(again, state_bytes(begun))
    run(again)
    assert history_csv(again.history) == history_csv(undisturbed.history)
    assert again.best_epoch == undisturbed.best_epoch
    for name, value in undisturbed.best.items():
        assert torch.equal(again.best[name], value)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04", b"\x80\x02."])
def test_a_damaged_state_is_a_users_error(content: bytes) -> None:
    with pytest.raises(
        UserError, match="The state of the unfinished training cannot be read; `overwrite=True` begins anew"
    ):
        restore(trainer_of()[0], content)


def test_training_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    train_epoch(trainer_of()[0])
    assert torch.equal(torch.get_rng_state(), before)


def test_a_loss_that_is_not_finite_is_a_users_error() -> None:
    trainer, material = trainer_of()
    with torch.no_grad():
        next(material.module.parameters()).fill_(math.inf)
    with pytest.raises(UserError, match=r"The loss is no longer finite in epoch 1; give a lower `learning_rate`"):
        run(trainer)


@pytest.mark.parametrize(("held", "value"), [(15, math.nan), (0, math.nan), (15, 3e38)])
def test_a_loss_that_the_last_step_blew_up_is_a_users_error(held: int, value: float) -> None:
    trainer, material = trainer_of(held=held, epochs=1, batch_size=60)

    def blow_up(_done: int) -> None:
        next(material.module.parameters()).data.fill_(value)

    with pytest.raises(UserError, match=r"The loss is no longer finite in epoch 1; give a lower `learning_rate`"):
        train_epoch(trainer, blow_up)
    assert not trainer.history


def test_images_that_could_not_be_read_are_part_of_the_state() -> None:
    begun, material = trainer_of()
    train_epoch(begun)
    material.problems[3] = "3.jpg is no image"
    again, other = trainer_of()
    restore(again, state_bytes(begun))
    assert other.problems == {3: "3.jpg is no image"}


def test_frozen_statistics_of_batch_normalization_stay() -> None:
    from wsloc.fitting.loop import _train_mode

    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout())
    _train_mode(network, freeze_norm=True)
    assert [module.training for module in network] == [True, False, True]
    _train_mode(network, freeze_norm=False)
    assert all(module.training for module in network)
