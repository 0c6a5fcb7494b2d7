"""A classifier of positions that learns from image-level labels, in rounds.

Each image's own map names a few sure positions of object and background. A linear classifier of frozen features learns
from those of all images, labels all positions anew (each image among its own labels alone), and learns again. That is
self-training with the image-level labels as constraint, as Ahn and Kwak (2018) and Fan et al. (2020) do it with deeper
networks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

UNKNOWN, BACKGROUND = -1, 0
"""Labels of positions; class k of the set is k + 1."""
ROUNDS = 12
"""Rounds of learning and labeling anew."""
OBJECT_ABOVE, BACKGROUND_BELOW = 0.7, 0.3
"""Probabilities beyond which a position is labeled."""
PER_IMAGE = 50
"""Maximum number of object positions, and of background positions, that an image gives to a round."""
STEPS, BATCH_SIZE, LEARNING_RATE = 240, 1024, 4e-3
"""Of the optimizer, in a round. It stops early on purpose: once converged, it believes every error of the labels."""
WEIGHT_DECAY = 0.3
"""Of the scores of background and of objects in general."""
CLASS_WEIGHT_DECAY = 15.0
"""Of what a class has beyond objects in general. Few images tell little of it; without this, a class learns the places
where it is found."""
_CHUNK = 65536


@dataclass(frozen=True, slots=True, eq=False)
class Positions:
    """Positions of a set of images.

    Attributes:
        vectors: float16 ``(M, D)``, their hypercolumns.
        labels: int64 ``(M,)``, as the images' own maps say.
        image: int64 ``(M,)``, the index of the image of each.
        allowed: bool ``(I, 1 + K)``: background, and the classes of each image.
    """

    vectors: Tensor
    labels: Tensor
    image: Tensor
    allowed: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class PixelClassifier:
    """Linear scores of the background and K classes.

    Attributes:
        weight: float32 ``(1 + K, D)``.
        bias: float32 ``(1 + K,)``.
    """

    weight: Tensor
    bias: Tensor

    def probabilities(self, vectors: Tensor, allowed: Tensor) -> Tensor:
        """Of background and classes, float32 ``(M, 1 + K)`` in [0, 1]; 0 for what is not allowed.

        Args:
            vectors: ``(M, D)``.
            allowed: bool ``(M, 1 + K)`` or ``(1 + K,)``.
        """
        scores = F.linear(vectors.float(), self.weight, self.bias)
        return scores.masked_fill(~allowed, -torch.inf).softmax(dim=1)


def fit(positions: Positions, seed: int) -> PixelClassifier:
    """Learn, label anew, and learn again.

    Args:
        positions: of many images; some of background, some of a class.
        seed: of the order in which positions are seen.
    """
    generator = torch.Generator().manual_seed(seed)
    labels = positions.labels
    for _ in range(ROUNDS):
        chosen = _balanced(labels, positions.image, generator)
        if not 0 < (labels[chosen] == BACKGROUND).sum() < len(chosen):
            break  # Nothing is sure anymore.
        classifier = _learn(positions.vectors[chosen], labels[chosen], positions.allowed.shape[1], generator)
        labels = torch.cat(
            [
                _labels(classifier.probabilities(positions.vectors[part], positions.allowed[positions.image[part]]))
                for part in torch.split(torch.arange(len(labels)), _CHUNK)
            ]
        )
    return classifier


def _balanced(labels: Tensor, image: Tensor, generator: torch.Generator) -> Tensor:
    """Indices of up to :data:`PER_IMAGE` positions of object and of background of each image, drawn at random."""
    order = torch.randperm(len(labels), generator=generator)
    chosen = []
    for side in (labels == BACKGROUND, labels > BACKGROUND):
        own = order[side[order]]
        # A stable sort keeps the random order within each image.
        own = own[image[own].argsort(stable=True)]
        counts = torch.bincount(image[own])
        first = counts.cumsum(0) - counts
        chosen.append(own[torch.arange(len(own)) - first[image[own]] < PER_IMAGE])
    return torch.cat(chosen)


def _learn(vectors: Tensor, labels: Tensor, num_outputs: int, generator: torch.Generator) -> PixelClassifier:
    """Softmax regression; a class's weights are those of objects in general plus a strongly decayed part of its own."""
    dimensions = vectors.shape[1]
    shared, shared_bias = torch.zeros(2, dimensions), torch.zeros(2)
    own, own_bias = torch.zeros(num_outputs - 1, dimensions), torch.zeros(num_outputs - 1)
    for parameter in (shared, shared_bias, own, own_bias):
        parameter.requires_grad_(True)

    def joined() -> tuple[Tensor, Tensor]:
        return torch.cat([shared[:1], shared[1:] + own]), torch.cat([shared_bias[:1], shared_bias[1:] + own_bias])

    groups = [
        {"params": [shared, shared_bias], "weight_decay": WEIGHT_DECAY},
        {"params": [own, own_bias], "weight_decay": CLASS_WEIGHT_DECAY},
    ]
    optimizer = torch.optim.AdamW(groups)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, STEPS)
    for _ in range(STEPS):
        batch = torch.randint(len(labels), (BATCH_SIZE,), generator=generator)
        loss = F.cross_entropy(F.linear(vectors[batch].float(), *joined()), labels[batch])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    weight, bias = joined()
    return PixelClassifier(weight.detach(), bias.detach())


def _labels(probabilities: Tensor) -> Tensor:
    """The label of each position whose probabilities leave no doubt; ties of classes go to the first."""
    objects = probabilities[:, 1:]
    best, index = objects.max(dim=1)
    background = objects.sum(dim=1) < BACKGROUND_BELOW
    return torch.where(best > OBJECT_ABOVE, index + 1, torch.where(background, BACKGROUND, UNKNOWN))
