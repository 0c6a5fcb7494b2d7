"""Forward passes of many changed versions of each image, in batches of the size of the given one."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from wsloc.classifiers.scorer import Scorer, scoring_mode
from wsloc.saliency.attribution import PairBatch

Change = Callable[[Tensor, Tensor], Tensor]
"""From int64 ``(n,)`` image indices and version numbers to the changed images ``(n, C, H, W)``."""
ScorePairs = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From logits ``(n, O)``, rows and classes, both int64 ``(n,)``, to the scores ``(n,)``."""


def scores_of_versions(
    scorer: Scorer, batch: PairBatch, versions: int, change: Change, score_pairs: ScorePairs
) -> Tensor:
    """The score of each pair's class for each version of its image; classes of one image share its passes.

    Args:
        scorer: the network.
        batch: the images and the pairs.
        versions: of each image.
        change: makes them.
        score_pairs: such as ``scorer.pair_scores``.

    Returns:
        Float32 ``(P, versions)``.
    """
    device = batch.images.device
    used = torch.tensor(sorted(set(batch.image_index.tolist())), dtype=torch.int64, device=device)
    rows = torch.cartesian_prod(used, torch.arange(versions, device=device)).reshape(-1, 2)
    scores = torch.empty((len(batch), versions), device=device)
    with scoring_mode(scorer.network), torch.no_grad():
        for chunk in torch.split(rows, len(batch.images)) if len(rows) else ():
            # A short batch is padded, so that a version has the same bytes whatever else is in its batch.
            image, version = chunk[torch.arange(len(batch.images), device=device).clamp(max=len(chunk) - 1)].T
            logits = scorer.logits(change(image, version))
            pair, row = (batch.image_index[:, None] == chunk[:, 0]).nonzero(as_tuple=True)
            scores[pair, chunk[row, 1]] = score_pairs(logits, row, batch.classes[pair])
    return scores
