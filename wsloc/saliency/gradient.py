"""Image-specific class saliency: the gradient of a class score with respect to the image.

Simonyan, Vedaldi, Zisserman 2013 (arXiv 1312.6034), section 3: ``w = dS_c / dI`` at the image,
``M_ij = max_k |w_ijk|`` over the channels k.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from wsloc.classifiers.scorer import Scorer, scoring_mode
from wsloc.saliency.attribution import Attribution, BoundMethod, PairBatch
from wsloc.saliency.binding import Binder
from wsloc.saliency.pair_gradients import pair_gradients


def gradient(scorer: Scorer, batch: PairBatch) -> Attribution:
    """``max_k |w_k|``, the paper's saliency."""
    gradients, logits = input_gradients(scorer, batch)
    return Attribution(gradients.abs().amax(dim=1), logits)


def gradient_positive(scorer: Scorer, batch: PairBatch) -> Attribution:
    """``max_k relu(w_k)``: only where a brighter value raises the score."""
    gradients, logits = input_gradients(scorer, batch)
    return Attribution(gradients.relu().amax(dim=1), logits)


def gradient_squared(scorer: Scorer, batch: PairBatch) -> Attribution:
    """``sum_k w_k^2``."""
    gradients, logits = input_gradients(scorer, batch)
    return Attribution(gradients.square().sum(dim=1), logits)


def gradient_x_input(scorer: Scorer, batch: PairBatch) -> Attribution:
    """``|sum_k w_k I_k|`` with I the normalized image (Shrikumar et al. 2016, arXiv 1605.01713)."""
    gradients, logits = input_gradients(scorer, batch)
    return Attribution((gradients * batch.images.detach()[batch.image_index]).sum(dim=1).abs(), logits)


def input_gradients(
    scorer: Scorer, batch: PairBatch, forward: Callable[[Tensor], Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """``w = dS_c / dI`` of P (image, class) pairs by batched back-propagation.

    Args:
        scorer: network and label map.
        batch: the images and the pairs; classes of one image share its forward pass.
        forward: makes the logits of the images in place of ``scorer.logits``.

    Returns:
        Float32 ``(P, C, H, W)``, signed, and the logits ``(N, O)`` of the same pass.
    """
    images = batch.images.detach().requires_grad_(True)
    of_pairs = torch.empty((len(batch), *images.shape[1:]), dtype=images.dtype, device=images.device)
    with scoring_mode(scorer.network), torch.enable_grad():
        # A copy, since the network may begin with an operation in place.
        logits = (forward or scorer.logits)(images.clone())
        scores = scorer.pair_scores(logits, batch.image_index, batch.classes)
        for pairs, (gradients,) in pair_gradients(scores, [images], batch.image_index):
            of_pairs[pairs] = gradients
    return of_pairs, logits.detach()


def _binder(method: Callable[[Scorer, PairBatch], Attribution]) -> Binder:
    return lambda context: BoundMethod(partial(method, context.scorer))


bind_gradient = _binder(gradient)
bind_gradient_positive = _binder(gradient_positive)
bind_gradient_squared = _binder(gradient_squared)
bind_gradient_x_input = _binder(gradient_x_input)
