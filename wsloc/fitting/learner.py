"""A classifier as the training loop sees it: its loss on a batch, and its scores on the held-out images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from wsloc.errors import UserError
from wsloc.fitting.batches import Batches, Group
from wsloc.fitting.examples import Loss
from wsloc.fitting.scoring import ScoredImages, mean_average_precision, top1_accuracy
from wsloc.training.read_batches import Rows, in_batches, shuffled_batches

Inputs = TypeVar("Inputs", bound=Batches)


@dataclass(frozen=True, eq=False)
class ClassifierLearner(Generic[Inputs]):
    """Images by their indices, and what is learned from them; see :class:`wsloc.training.loop.Learner`.

    Attributes:
        inputs: of the images, and the module.
        present: bool ``(N, K)``.
        training: indices of the images that are trained on, at least one.
        held_out: indices of those that choose the epoch.
        loss: of the class scores.
        batch_size: images in a step.
        precision: float32, or the type that autocast uses.
        seed: of the order of the images.
    """

    inputs: Inputs
    present: NDArray[np.bool_]
    training: Rows
    held_out: Rows
    loss: Loss
    batch_size: int
    precision: torch.dtype
    seed: int

    @property
    def module(self) -> nn.Module:
        """What is trained."""
        return self.inputs.module

    @property
    def problems(self) -> dict[int, str]:
        """Why an image could not be read, by its index."""
        return self.inputs.problems

    @property
    def steps_per_epoch(self) -> int:
        """Batches of the images that are trained on."""
        return len(shuffled_batches(self.training, self.batch_size, self.seed, 1))

    def batches(self, epoch: int) -> Iterator[tuple[list[Group], int]]:
        """The training images in the epoch's order, each batch grouped by size, and how many there are in it."""
        for groups in self.inputs.augmented(shuffled_batches(self.training, self.batch_size, self.seed, epoch), epoch):
            yield groups, sum(len(rows) for _, rows in groups)

    def losses(self, batch: list[Group]) -> dict[str, Tensor]:
        """The mean loss over the batch."""
        scores = torch.cat([self.module(inputs).float() for inputs, _ in batch])
        return {"loss": _loss(scores, self.present[np.concatenate([rows for _, rows in batch])], self.loss)}

    def validate(self) -> tuple[float, dict[str, float]] | None:
        """Loss, mean average precision and accuracy on the held-out images; None without any."""
        if not len(self.held_out):
            return None
        images = self.scored(self.held_out)
        if not len(images):
            raise UserError("None of the held-out images can be read; wsloc check-dataset says why.")
        loss = float(_loss(torch.from_numpy(images.scores), images.present, self.loss))
        once = np.ones((1, len(images)))
        metrics = {"val_map": mean_average_precision, "val_accuracy": top1_accuracy}
        return loss, {name: float(metric(once, images)[0]) for name, metric in metrics.items()}

    def scored(self, rows: Rows) -> ScoredImages:
        """The scores of those images that can be read."""
        groups = self.inputs.plain(in_batches(rows, self.batch_size))
        return score_groups(self.module, groups, self.present, self.precision)


def score_groups(
    module: nn.Module,
    batches: Iterable[list[Group]],
    present: NDArray[np.bool_],
    precision: torch.dtype = torch.float32,
) -> ScoredImages:
    """The scores of images by a module in evaluation mode, with their rows of ``present`` ``(N, K)``."""
    scores, read = [np.zeros((0, present.shape[1]), dtype=np.float32)], [np.zeros(0, dtype=np.int64)]
    with torch.inference_mode():
        for inputs, rows in (group for groups in batches for group in groups):
            with torch.autocast(inputs.device.type, precision, enabled=precision != torch.float32):
                answers = module(inputs)
            scores.append(answers.float().cpu().numpy())
            read.append(rows)
    return ScoredImages(np.concatenate(scores), present[np.concatenate(read)])


def _loss(scores: Tensor, present: NDArray[np.bool_], kind: Loss) -> Tensor:
    targets = torch.from_numpy(present).to(scores.device)
    if kind == "bce":
        return functional.binary_cross_entropy_with_logits(scores, targets.float())
    return functional.cross_entropy(scores, targets.int().argmax(dim=1))
