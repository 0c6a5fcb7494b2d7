"""RISE: the mean of random masks, weighted by the probability that the class keeps under each.

Petsiuk, Das, Saenko 2018 (arXiv 1806.07421), equation 6, masks as in section 3.2.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from wsloc.classifiers.scorer import Scorer, logits_without_graph
from wsloc.errors import UserError
from wsloc.saliency.attribution import Attribution, BoundMethod, PairBatch
from wsloc.saliency.binding import MethodContext
from wsloc.saliency.perturbation import scores_of_versions

_BLOCK = 64
"""Masks that are held in memory at a time."""


def rise(
    scorer: Scorer, batch: PairBatch, *, masks: int = 2000, grid: int = 7, fraction: float = 0.5, seed: int = 0
) -> Attribution:
    """``sum_m p_c(I * m) m / (masks * fraction)``, p_c the probability of the class.

    Args:
        masks: random masks, the same ones for every image (>= 1).
        grid: cells of a mask along each side before it is enlarged (>= 1).
        fraction: probability that a cell is kept, between 0 and 1.
        seed: of the masks.
    """
    generator = torch.Generator().manual_seed(seed)
    cells = (torch.rand((masks, grid, grid), generator=generator) < fraction).float().to(batch.images.device)
    shifts = torch.rand((masks, 2), generator=generator)

    def make(versions: Tensor) -> Tensor:
        return _smooth_masks(cells[versions], shifts[versions.cpu()], batch.size_hw, grid)

    probabilities = scores_of_versions(
        scorer,
        batch,
        masks,
        lambda images, versions: batch.images[images] * make(versions)[:, None],
        scorer.pair_probabilities,
    )
    maps = batch.images.new_zeros((len(batch), *batch.size_hw))
    for block in torch.split(torch.arange(masks, device=batch.images.device), _BLOCK):
        of_block = make(block)
        for pair, weights in enumerate(probabilities[:, block]):
            maps[pair] += (weights[:, None, None] * of_block).sum(dim=0)
    return Attribution(maps / (masks * fraction), logits_without_graph(scorer, batch.images))


def _smooth_masks(cells: Tensor, shifts: Tensor, size_hw: tuple[int, int], grid: int) -> Tensor:
    """Masks ``(n, H, W)`` in [0, 1]: cells enlarged bilinearly by one cell more than the image, then shifted."""
    height, width = size_hw
    cell_h, cell_w = -(-height // grid), -(-width // grid)
    large = F.interpolate(
        cells[:, None], ((grid + 1) * cell_h, (grid + 1) * cell_w), mode="bilinear", align_corners=False
    )[:, 0]
    tops, lefts = (shifts * torch.tensor([cell_h, cell_w])).long().T.tolist()
    return torch.stack(
        [mask[top : top + height, left : left + width] for mask, top, left in zip(large, tops, lefts, strict=True)]
    )


def bind_rise(context: MethodContext) -> BoundMethod:
    """With the masks of the settings, drawn from the seed of the run; a network of one score is refused."""
    if context.scorer.activation == "softmax" and logits_without_graph(context.scorer, context.example).shape[1] == 1:
        raise UserError("RISE weights masks by a class probability, which a single score lacks; use another `method`.")
    masks, grid, fraction = context.settings.rise_masks, context.settings.rise_grid, context.settings.rise_fraction
    compute = partial(rise, context.scorer, masks=masks, grid=grid, fraction=fraction, seed=context.seed)
    return BoundMethod(compute, masks + 1, shares_passes=True, trial=partial(compute, masks=1))
