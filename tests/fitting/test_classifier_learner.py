"""A linear head on features made by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from wsloc.classifiers.pooled_head import PooledLinear, new_head
from wsloc.fitting.batches import FeatureBatches
from wsloc.fitting.examples import Loss
from wsloc.fitting.learner import ClassifierLearner
from wsloc.training.loop import Plan, Trainer, train
from wsloc.training.schedule import warmup_cosine

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
) -> tuple[Trainer, ClassifierLearner[FeatureBatches]]:
    features, present = made()
    if loss == "cross-entropy":
        present = np.eye(3, dtype=bool)[present.argmax(axis=1)]
    training, held_out = np.arange(held, len(features)), np.arange(held)
    inputs = FeatureBatches(new_head(8, 3, seed=1), features, training, CPU, seed=2)
    learner = ClassifierLearner(inputs, present, training, held_out, loss, 8, torch.float32, seed=3)
    kind = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[optimizer]
    made_optimizer = kind(learner.module.parameters(), lr=rate)
    steps = epochs * learner.steps_per_epoch
    schedule = warmup_cosine(made_optimizer, steps, rising=steps // 10, start=0.1, falls_from=steps // 10)
    return Trainer(learner, Plan(epochs, 3, patience=patience), made_optimizer, schedule), learner


@pytest.mark.parametrize("loss", ["bce", "cross-entropy"])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_what_features_tell_is_learned(loss: Loss, optimizer: str) -> None:
    trainer, _ = trainer_of(loss, optimizer=optimizer, rate=0.05 if optimizer == "adamw" else 1.0)
    list(train(trainer))
    assert trainer.history[-1].train_loss < 0.5 * trainer.history[0].train_loss
    assert trainer.history[-1].values["val_accuracy"] >= 0.8
    assert trainer.history[-1].values["val_map"] > 0.9


def test_the_folded_head_takes_features_as_the_network_gives_them() -> None:
    trainer, learner = trainer_of()
    list(train(trainer))
    scores = learner.scored(np.arange(60)).scores
    folded: PooledLinear = learner.inputs.folded()
    with torch.no_grad():
        assert np.allclose(folded(torch.from_numpy(made()[0][:, 0])).numpy(), scores, atol=1e-2 * np.abs(scores).max())


def test_the_best_epoch_is_that_of_the_lowest_held_out_loss_and_its_weights_are_taken() -> None:
    trainer, learner = trainer_of(rate=0.5, epochs=40, patience=5)  # too fast, so that the loss soon rises again
    list(train(trainer))
    losses = [record.val_loss for record in trainer.history if record.val_loss is not None]
    assert trainer.best_epoch == 1 + losses.index(min(losses))
    assert len(losses) in (trainer.best_epoch + 5, 40)
    assert len(losses) < 40
    images = learner.scored(learner.held_out)
    targets = torch.from_numpy(images.present).float()
    again = float(nn.functional.binary_cross_entropy_with_logits(torch.from_numpy(images.scores), targets))
    assert again == pytest.approx(min(losses), rel=1e-6)
