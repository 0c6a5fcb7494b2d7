"""What a classifier is trained on: features that were computed before, or images that are read each time."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wsloc.classifiers.pooled_head import PooledLinear
from wsloc.classifiers.preprocessing import Preprocessing, whole
from wsloc.fitting.augmentation import Augmentation, augmented
from wsloc.fitting.examples import Examples
from wsloc.images import read_image
from wsloc.seeding import stable_hash
from wsloc.training.read_batches import Rows, read_batches

Group = tuple[Tensor, Rows]
"""Inputs of one size ``(B, ...)``, on the device, and the indices of their images."""
_MIN_SPREAD = 0.1
"""A feature that hardly varies is divided by no less than this fraction of the mean deviation of all."""


class Batches(Protocol):
    """Images by their indices, as inputs of a module.

    Attributes:
        module: what is trained.
        problems: why an image could not be read, by its index; filled on the way.
    """

    module: nn.Module
    problems: dict[int, str]

    def augmented(self, batches: list[Rows], epoch: int) -> Iterator[list[Group]]:
        """Of each batch the images that can be read, randomly changed."""

    def plain(self, batches: list[Rows]) -> Iterator[list[Group]]:
        """The same without changes."""


class FeatureBatches:
    """Cached features, standardized; the module is a linear head."""

    def __init__(
        self, head: PooledLinear, features: NDArray[np.float32], training: Rows, device: torch.device, seed: int
    ) -> None:
        """Wrap features.

        Args:
            head: takes standardized features.
            features: ``(N, 2, C)``: of the image and its mirror image; or ``(N, 1, C)``, which are never changed.
            training: indices of the images that mean and deviation are taken over, all with finite features.
            device: of the head.
            seed: of the choice between an image and its mirror image.
        """
        self.module: nn.Module = head
        self.problems: dict[int, str] = {}
        self._features, self._device, self._seed = features, device, seed
        # Column sums one block at a time: the file may be larger than the memory.
        blocks = np.array_split(training, max(1, len(training) // 4096))
        mean = sum(features[block, 0].sum(axis=0, dtype=np.float64) for block in blocks) / len(training)
        square = sum(((features[block, 0] - mean) ** 2).sum(axis=0) for block in blocks) / len(training)
        spread = np.sqrt(square)
        self._mean = torch.from_numpy(np.asarray(mean, dtype=np.float32))
        self._spread = torch.from_numpy(np.maximum(spread, max(_MIN_SPREAD * spread.mean(), 1e-6)).astype(np.float32))

    def augmented(self, batches: list[Rows], epoch: int) -> Iterator[list[Group]]:
        generator = np.random.default_rng([self._seed, epoch])
        for rows in batches:
            yield [(self._inputs(rows, generator.integers(2, size=len(rows))), rows)]

    def plain(self, batches: list[Rows]) -> Iterator[list[Group]]:
        for rows in batches:
            yield [(self._inputs(rows, np.zeros(len(rows), dtype=np.int64)), rows)]

    def _inputs(self, rows: Rows, views: NDArray[np.int64]) -> Tensor:
        values = torch.from_numpy(self._features[rows, views])
        return ((values - self._mean) / self._spread).to(self._device)

    def over(self, features: NDArray[np.float32]) -> FeatureBatches:
        """Other images for the same head, standardized as these are."""
        other = copy.copy(self)
        other._features = features
        return other

    def folded(self) -> PooledLinear:
        """A head for features as the network gives them: the standardization becomes part of its weights."""
        head = self.module
        assert isinstance(head, PooledLinear)
        weight = head.weight.detach().cpu() / self._spread
        folded = PooledLinear(weight.shape[1], weight.shape[0])
        with torch.no_grad():
            folded.weight.copy_(weight)
            folded.bias.copy_(head.bias.detach().cpu() - weight @ self._mean)
        return folded


@dataclass(eq=False)
class ImageBatches:
    """Images read from their files each time; the module is the whole network.

    Attributes:
        module: on ``device``.
        examples: the images.
        preprocessing: of the network.
        augmentation: of the images that are trained on.
        device: where inputs go.
        seed: of the run.
        pool: reads the images; None to read them between the steps.
        problems: why an image could not be read, by its index; filled on the way.
    """

    module: nn.Module
    examples: Examples
    preprocessing: Preprocessing
    augmentation: Augmentation
    device: torch.device
    seed: int
    pool: Executor | None
    problems: dict[int, str] = field(default_factory=dict)

    def augmented(self, batches: list[Rows], epoch: int) -> Iterator[list[Group]]:
        def read(row: int) -> Tensor:
            image = self.examples.images[row]
            seed = stable_hash(self.seed, image.image_id, f"epoch {epoch}")
            return augmented(read_image(image.path), self.preprocessing, self.augmentation, seed)

        return self._grouped(batches, read)

    def plain(self, batches: list[Rows]) -> Iterator[list[Group]]:
        def read(row: int) -> Tensor:
            return whole(read_image(self.examples.images[row].path), self.preprocessing).views[0].pixels

        return self._grouped(batches, read)

    def _grouped(self, batches: list[Rows], read: Callable[[int], Tensor]) -> Iterator[list[Group]]:
        for batch in read_batches(batches, read, self.pool, self.problems):
            # Images whose aspect is kept differ in size.
            by_size: dict[tuple[int, ...], list[tuple[int, Tensor]]] = {}
            for row, pixels in batch:
                by_size.setdefault(tuple(pixels.shape), []).append((row, pixels))
            yield [
                (torch.stack([pixels for _, pixels in own]).to(self.device), np.array([row for row, _ in own]))
                for own in by_size.values()
            ]
