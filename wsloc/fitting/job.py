"""A training put together from its settings: what is trained, on what, and what comes out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wsloc.classifiers.checkpoint import CheckpointInfo
from wsloc.classifiers.pooled_head import PooledLinear, new_head
from wsloc.config import ComputeSettings
from wsloc.errors import UserError
from wsloc.fitting.augmentation import Augmentation
from wsloc.fitting.backbone import Backbone
from wsloc.fitting.examples import Examples, Loss
from wsloc.fitting.features import FeatureJob, finite_rows
from wsloc.fitting.loop import Plan, Trainer, class_scores, make_trainer
from wsloc.fitting.material import FeatureMaterial, ImageMaterial, Material, Rows
from wsloc.fitting.scoring import ScoredImages
from wsloc.fitting.settings import FittingSettings


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A training, before its first image is read.

    Attributes:
        settings: of the training.
        compute: device, arithmetic, batch size, seed.
        backbone: its network lies on ``device``.
        examples: the images, those held out among them.
        held_out: bool ``(N,)``.
        loss: of the class scores.
        device: where to compute.
        test: images to test on, of the same classes; None where there are none.
    """

    settings: FittingSettings
    compute: ComputeSettings
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

    def features_of(self, examples: Examples, *, mirrored: bool) -> FeatureJob:
        """The features that a frozen backbone gives some images."""
        size, views = self.compute.batch_size, "mirror" if mirrored else "whole"
        return FeatureJob(self.backbone, examples.images, views, size, self.device, self.precision)

    def info(self) -> CheckpointInfo:
        """What the checkpoint says of itself."""
        preprocessing = self.backbone.preprocessing
        return CheckpointInfo(
            arch=self.backbone.arch,
            class_names=self.examples.class_names,
            input_size_hw=preprocessing.input_size_hw,
            mean=preprocessing.mean,
            std=preprocessing.std,
            activation="sigmoid" if self.loss == "bce" else "softmax",
            resize=preprocessing.resize,
            resample=preprocessing.resample.name,
        )


def head_trainer(job: Job, features: NDArray[np.float32]) -> tuple[Trainer, FeatureMaterial]:
    """The training of a linear head on the features ``(N, 2, C)`` of a frozen backbone.

    Images without features are left out.

    Raises:
        UserError: if no image to train on has features.
    """
    finite = finite_rows(features)
    training, held_out = np.flatnonzero(finite & ~job.held_out), np.flatnonzero(finite & job.held_out)
    if not len(training):
        raise UserError("None of the training images can be read; wsloc check-dataset says why.")
    head = _head(job)
    material = FeatureMaterial(head, features, training, job.device, job.compute.seed)
    optimizer = _optimizer(job, head, head)
    return make_trainer(
        _plan(job, torch.float32), material, job.examples.present, training, held_out, optimizer
    ), material


def network_trainer(job: Job, pool: Executor | None) -> tuple[Trainer, ImageMaterial]:
    """The training of all layers on augmented images."""
    head = _head(job)
    network = with_head(job.backbone, head)
    material = image_material(job, job.examples, network, pool)
    optimizer = _optimizer(job, network, head)
    plan = _plan(job, job.precision)
    training, held_out = np.flatnonzero(~job.held_out), np.flatnonzero(job.held_out)
    return make_trainer(plan, material, job.examples.present, training, held_out, optimizer), material


def image_material(job: Job, examples: Examples, network: nn.Module, pool: Executor | None) -> ImageMaterial:
    """Some images as inputs of the whole network."""
    augmentation = Augmentation(job.settings.crop_scale, job.settings.jitter)
    return ImageMaterial(
        network, examples, job.backbone.preprocessing, augmentation, job.device, job.compute.seed, pool
    )


def with_head(backbone: Backbone, head: nn.Module) -> nn.Module:
    """The backbone's network, changed in place to return class scores."""
    setattr(backbone.network, backbone.head, head)
    return backbone.network


def scored(
    job: Job, material: Material, examples: Examples, rows: Rows, show: Callable[[int], None] = lambda _done: None
) -> ScoredImages:
    """Scores and labels of those images that can be read; ``show`` is told how many are done."""
    num_classes, precision = len(job.examples.class_names), job.precision
    scores, read = class_scores(material, rows, num_classes, job.compute.batch_size, precision, show)
    return ScoredImages(scores, examples.present[read])


def shared_images(training: Examples, test: Examples) -> int:
    """How many test images are also trained on."""
    known = {image.path.resolve() for image in training.images}
    return sum(image.path.resolve() in known for image in test.images)


class _ExactHead(PooledLinear):
    """Reckons in float32 under autocast, too: rounded scores of many images would be equal, and their ranks chance."""

    def forward(self, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            return super().forward(features.float())


def _head(job: Job) -> PooledLinear:
    """A new head, which begins with what the labels alone tell: how many images show a class."""
    usual = new_head(job.backbone.channels, len(job.examples.class_names), job.compute.seed)
    with torch.random.fork_rng(devices=[]):
        head = _ExactHead(usual.in_features, usual.out_features)
    head.load_state_dict(usual.state_dict())
    # Half an image more on either side, since a class may be on every image or on none but held-out ones.
    training = job.examples.present[~job.held_out]
    fraction = (training.sum(axis=0) + 0.5) / (len(training) + 1)
    odds = fraction / (1 - fraction) if job.loss == "bce" else fraction
    with torch.no_grad():
        head.bias.copy_(torch.from_numpy(np.log(odds)))
    return head.to(job.device)


def _plan(job: Job, precision: torch.dtype) -> Plan:
    settings = job.settings
    freeze_norm = settings.batch_norm == "frozen" if settings.batch_norm is not None else job.backbone.has_weights
    return Plan(
        loss=job.loss,
        epochs=settings.max_epochs,
        patience=settings.max_patience,
        batch_size=job.compute.batch_size,
        rate=settings.peak_rate(job.backbone.has_weights),
        warmup=settings.warmup,
        freeze_norm=freeze_norm,
        precision=precision,
        seed=job.compute.seed,
    )


def _optimizer(job: Job, module: nn.Module, head: nn.Module) -> torch.optim.Optimizer:
    """Groups whose ``lr`` is their fraction of the rate: a new head learns faster; only matrices decay."""
    settings = job.settings
    of_head = {id(parameter) for parameter in head.parameters()}
    factor = settings.head_factor if settings.fine_tune and job.backbone.has_weights else 1.0
    groups = []
    for is_head in (True, False):
        own = [value for value in module.parameters() if (id(value) in of_head) == is_head]
        for decays in (True, False):
            chosen: Sequence[nn.Parameter] = [value for value in own if (value.ndim > 1) == decays]
            if chosen:
                decay = settings.weight_decay if decays else 0.0
                groups.append({"params": chosen, "lr": factor if is_head else 1.0, "weight_decay": decay})
    if settings.chosen_optimizer == "sgd":
        return torch.optim.SGD(groups, lr=1.0, momentum=0.9)
    return torch.optim.AdamW(groups, lr=1.0)
