"""Training a classifier from image-level labels alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """How to train; the defaults are those of the demo's classifier.

    Attributes:
        epochs: passes over the images.
        batch_size: images in a step.
        learning_rate: peak of the one-cycle schedule.
        weight_decay: of AdamW.
        max_shift: largest shift of an image, as a fraction of its side.
        max_zoom: largest change of scale, as a fraction.
        max_gain: largest change of contrast, as a fraction.
        seed: of the order of the images and of their augmentation.
    """

    epochs: int = 35
    batch_size: int = 32
    learning_rate: float = 4e-3
    weight_decay: float = 1e-2
    max_shift: float = 0.1
    max_zoom: float = 0.15
    max_gain: float = 0.2
    seed: int = 0


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """What one epoch of training came to.

    Attributes:
        epoch: from 1.
        epochs: how many there will be.
        loss: mean binary cross-entropy over the epoch's steps.
    """

    epoch: int
    epochs: int
    loss: float


def train_multilabel(
    network: nn.Module, images: Tensor, targets: Tensor, settings: TrainingSettings
) -> Iterator[EpochRecord]:
    """Trains ``network`` in place, one epoch for each record that is asked for.

    On a CPU with a given number of threads, the same arguments give the same weights, bit for bit.

    Args:
        network: maps images to class scores ``(N, K)``; left in evaluation mode after each epoch.
        images: normalized float32 ``(N, C, H, W)``, on the network's device.
        targets: float32 ``(N, K)``, 1 where the image shows the class and 0 elsewhere, on the same device.
        settings: how to train.

    Yields:
        One record after each epoch.

    Raises:
        ValueError: if there are no images, or not one row of targets for each.
    """
    if len(images) == 0 or len(images) != len(targets):
        raise ValueError(f"{len(images)} images and {len(targets)} rows of targets: give as many, and at least one")
    generator = torch.Generator().manual_seed(settings.seed)
    optimizer = torch.optim.AdamW(network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    steps_per_epoch = -(-len(images) // settings.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, epochs=settings.epochs, steps_per_epoch=steps_per_epoch
    )
    for epoch in range(1, settings.epochs + 1):
        network.train()
        losses = []
        order = torch.randperm(len(images), generator=generator)
        for start in range(0, len(order), settings.batch_size):
            chosen = order[start : start + settings.batch_size]
            batch = augment(images[chosen], settings, generator)
            loss = functional.binary_cross_entropy_with_logits(network(batch), targets[chosen])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
            losses.append(loss.detach())
        network.eval()
        yield EpochRecord(epoch, settings.epochs, float(torch.stack(losses).mean()))


def augment(images: Tensor, settings: TrainingSettings, generator: torch.Generator) -> Tensor:
    """Each image mirrored, shifted, zoomed and changed in contrast at random.

    Args:
        images: normalized float32 ``(N, C, H, W)``.
        settings: how strongly.
        generator: source of randomness, on the CPU.

    Returns:
        New images of the same shape.
    """
    count = len(images)

    def uniform(limit: float) -> Tensor:
        return limit * (2 * torch.rand(count, generator=generator) - 1)

    flip = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    zoom = 1 + uniform(settings.max_zoom)
    affine = torch.zeros(count, 2, 3)
    affine[:, 0, 0], affine[:, 1, 1] = flip * zoom, zoom
    # The grid runs from -1 to 1: a shift by the whole side is 2.
    affine[:, 0, 2], affine[:, 1, 2] = uniform(2 * settings.max_shift), uniform(2 * settings.max_shift)
    gain = (1 + uniform(settings.max_gain)).to(images.device)
    grid = functional.affine_grid(affine.to(images.device), list(images.shape), align_corners=False)
    moved = functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    return moved * gain[:, None, None, None]


def mean_average_precision(scores: Tensor, targets: Tensor) -> float:
    """Mean over the classes of the average precision, in [0, 1]; classes without a positive are left out.

    The average precision is the mean, over the positive images, of the precision at their rank.

    Args:
        scores: ``(N, K)``, higher for likelier.
        targets: ``(N, K)``, 1 where the image shows the class and 0 elsewhere.

    Returns:
        NaN if no class has a positive.
    """
    order = scores.argsort(dim=0, descending=True, stable=True)
    hits = targets.gather(0, order).double()
    precision = hits.cumsum(0) / torch.arange(1, len(hits) + 1, device=hits.device)[:, None]
    positives = hits.sum(0)
    average = (precision * hits).sum(0) / positives
    return float(average[positives > 0].mean())
