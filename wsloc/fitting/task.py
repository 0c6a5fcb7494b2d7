"""The training of a classifier, put together from its settings: what is trained, on what, and what comes out."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wsloc.classifiers.checkpoint import CheckpointInfo
from wsloc.classifiers.pooled_head import PooledLinear, new_head
from wsloc.errors import UserError
from wsloc.fitting.augmentation import Augmentation
from wsloc.fitting.backbone import Backbone
from wsloc.fitting.batches import FeatureBatches, ImageBatches
from wsloc.fitting.examples import Examples, Loss
from wsloc.fitting.features import FeatureTask, finite_rows
from wsloc.fitting.fitting_settings import FittingSettings, TrainingCompute
from wsloc.fitting.learner import ClassifierLearner, Inputs
from wsloc.training.loop import Plan, Trainer
from wsloc.training.schedule import warmup_cosine


@dataclass(frozen=True, slots=True, eq=False)
class ClassifierTask:
    """A training, before its first image is read.

    Attributes:
        settings: of the training.
        compute: device, precision, batch size, seed.
        backbone: its network is on ``device``.
        examples: the images, those held out among them.
        held_out: bool ``(N,)``.
        loss: of the class scores.
        device: where to compute.
        test: images to test on, of the same classes; None if there are none.
    """

    settings: FittingSettings
    compute: TrainingCompute
    backbone: Backbone
    examples: Examples
    held_out: NDArray[np.bool_]
    loss: Loss
    device: torch.device
    test: Examples | None = None

    @property
    def precision(self) -> torch.dtype:
        """Of the network's arithmetic."""
        precision: torch.dtype = getattr(torch, self.compute.precision)
        return precision

    def features_of(self, examples: Examples, *, mirrored: bool) -> FeatureTask:
        """The features that a frozen backbone gives some images."""
        size, views = self.compute.batch_size, "mirror" if mirrored else "whole"
        return FeatureTask(self.backbone, examples.images, views, size, self.device, self.precision)

    def info(self) -> CheckpointInfo:
        """What the checkpoint says of itself."""
        activation: Literal["softmax", "sigmoid"] = "sigmoid" if self.loss == "bce" else "softmax"
        return CheckpointInfo(self.backbone.arch, self.examples.class_names, self.backbone.preprocessing, activation)


def head_trainer(
    task: ClassifierTask, features: NDArray[np.float32]
) -> tuple[Trainer, ClassifierLearner[FeatureBatches]]:
    """The training of a linear head on the features ``(N, 2, C)`` of a frozen backbone.

    Images without features are left out.

    Raises:
        UserError: if no image to train on has features.
    """
    finite = finite_rows(features)
    training = np.flatnonzero(finite & ~task.held_out)
    if not len(training):
        raise UserError("None of the training images can be read; wsloc check-dataset says why.")
    head = _head(task)
    inputs = FeatureBatches(head, features, training, task.device, task.compute.seed)
    learner = _learner(task, inputs, finite, torch.float32)
    return _trainer(task, learner, head), learner


def network_trainer(task: ClassifierTask, pool: Executor | None) -> tuple[Trainer, ClassifierLearner[ImageBatches]]:
    """The training of all layers on augmented images."""
    head = _head(task)
    inputs = image_batches(task, task.examples, with_head(task.backbone, head), pool)
    learner = _learner(task, inputs, np.ones(len(task.held_out), dtype=bool), task.precision)
    return _trainer(task, learner, head), learner


def image_batches(task: ClassifierTask, examples: Examples, network: nn.Module, pool: Executor | None) -> ImageBatches:
    """Some images as inputs of the whole network."""
    augmentation = Augmentation(task.settings.crop_scale, task.settings.jitter)
    return ImageBatches(
        network, examples, task.backbone.preprocessing, augmentation, task.device, task.compute.seed, pool
    )


def with_head(backbone: Backbone, head: nn.Module) -> nn.Module:
    """The backbone's network, changed in place to return class scores."""
    setattr(backbone.network, backbone.head, head)
    return backbone.network


def _learner(
    task: ClassifierTask, inputs: Inputs, readable: NDArray[np.bool_], precision: torch.dtype
) -> ClassifierLearner[Inputs]:
    training, held_out = np.flatnonzero(readable & ~task.held_out), np.flatnonzero(readable & task.held_out)
    size, seed = task.compute.batch_size, task.compute.seed
    return ClassifierLearner(inputs, task.examples.present, training, held_out, task.loss, size, precision, seed)


def _trainer(task: ClassifierTask, learner: ClassifierLearner[Any], head: nn.Module) -> Trainer:
    settings, has_weights = task.settings, task.backbone.has_weights
    freeze_norm = settings.batch_norm == "frozen" if settings.batch_norm is not None else has_weights
    plan = Plan(settings.max_epochs, learner.seed, learner.precision, settings.max_patience, freeze_norm)
    optimizer = _optimizer(task, learner.module, head)
    steps = plan.epochs * learner.steps_per_epoch
    rising = round(settings.warmup * steps)
    schedule = warmup_cosine(optimizer, steps, rising=rising - 1, start=1 / max(1, rising), falls_from=rising)
    return Trainer(learner, plan, optimizer, schedule)


class _ExactHead(PooledLinear):
    """Computes in float32 under autocast, too: rounded scores of many images would be equal, their ranks arbitrary."""

    def forward(self, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            return super().forward(features.float())


def _head(task: ClassifierTask) -> PooledLinear:
    """A new head, which begins with what the labels alone tell: how many images show a class."""
    usual = new_head(task.backbone.channels, len(task.examples.class_names), task.compute.seed)
    with torch.random.fork_rng(devices=[]):
        head = _ExactHead(usual.in_features, usual.out_features)
    head.load_state_dict(usual.state_dict())
    # Half an image more on either side: a class may be on every image, or on held-out ones alone.
    training = task.examples.present[~task.held_out]
    fraction = (training.sum(axis=0) + 0.5) / (len(training) + 1)
    odds = fraction / (1 - fraction) if task.loss == "bce" else fraction
    with torch.no_grad():
        head.bias.copy_(torch.from_numpy(np.log(odds)))
    return head.to(task.device)


def _optimizer(task: ClassifierTask, module: nn.Module, head: nn.Module) -> torch.optim.Optimizer:
    """Two groups each of the head, which learns faster where it alone is new, and of the rest; only matrices decay."""
    settings = task.settings
    peak = settings.peak_rate(task.backbone.has_weights)
    of_head = {id(parameter) for parameter in head.parameters()}
    factor = settings.head_factor if settings.fine_tune and task.backbone.has_weights else 1.0
    groups = []
    for is_head in (True, False):
        own = [value for value in module.parameters() if (id(value) in of_head) == is_head]
        for decays in (True, False):
            chosen: Sequence[nn.Parameter] = [value for value in own if (value.ndim > 1) == decays]
            if chosen:
                decay = settings.weight_decay if decays else 0.0
                groups.append({"params": chosen, "lr": peak * (factor if is_head else 1.0), "weight_decay": decay})
    if settings.chosen_optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=0.9)
    return torch.optim.AdamW(groups)
