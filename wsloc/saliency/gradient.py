"""Image-specific class saliency: the gradient of a class score with respect to the image.

Simonyan, Vedaldi, Zisserman 2013 (arXiv 1312.6034), section 3: ``w = dS_c / dI`` at the image,
``M_ij = max_k |w_ijk|`` over the channels k.
"""

from __future__ import annotations

import torch
from torch import Tensor

from wsloc.classifiers.scorer import Scorer, scoring_mode
from wsloc.saliency.attribution import Attribution


def gradient(scorer: Scorer, images: Tensor, image_index: Tensor, classes: Tensor) -> Attribution:
    """``max_k |w|``, the paper's saliency. Arguments as in :func:`input_gradients`."""
    weights, logits = input_gradients(scorer, images, image_index, classes)
    return Attribution(weights.abs().amax(dim=1), logits)


def gradient_positive(scorer: Scorer, images: Tensor, image_index: Tensor, classes: Tensor) -> Attribution:
    """``max_k relu(w)``: only where a brighter value raises the score."""
    weights, logits = input_gradients(scorer, images, image_index, classes)
    return Attribution(weights.relu().amax(dim=1), logits)


def gradient_squared(scorer: Scorer, images: Tensor, image_index: Tensor, classes: Tensor) -> Attribution:
    """``sum_k w^2``."""
    weights, logits = input_gradients(scorer, images, image_index, classes)
    return Attribution(weights.square().sum(dim=1), logits)


def gradient_x_input(scorer: Scorer, images: Tensor, image_index: Tensor, classes: Tensor) -> Attribution:
    """``|sum_k w * I|`` with I the normalised image (Shrikumar et al. 2016, arXiv 1605.01713)."""
    weights, logits = input_gradients(scorer, images, image_index, classes)
    return Attribution((weights * images.detach()[image_index]).sum(dim=1).abs(), logits)


def input_gradients(scorer: Scorer, images: Tensor, image_index: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """``dS_c / dI`` of P (image, class) pairs by batched back-propagation.

    In evaluation mode no image of a batch touches another, so the gradient of the *sum* of scores of
    different images holds each image's own gradient. Several classes of one image share the forward
    pass and take one backward pass each.

    Args:
        scorer: network and label map.
        images: float32 ``(N, C, H, W)``, normalised, on the scorer's device.
        image_index: int64 ``(P,)``, which image each pair means.
        classes: int64 ``(P,)``, which class.

    Returns:
        The gradients ``(P, C, H, W)``, and the logits ``(N, O)``, both float32 and detached.
    """
    images = images.detach().requires_grad_(True)
    gradients = torch.empty((len(image_index), *images.shape[1:]), dtype=images.dtype, device=images.device)
    passes = occurrence(image_index)
    last = int(passes.max()) if len(passes) else -1
    with scoring_mode(scorer.network), torch.enable_grad():
        # A copy, since the network may begin with an operation in place.
        logits = scorer.logits(images.clone())
        scores = scorer.pair_scores(logits, image_index, classes)
        for number in range(last + 1):
            pairs = (passes == number).nonzero().squeeze(1)
            (batch_gradient,) = torch.autograd.grad(scores[pairs].sum(), images, retain_graph=number < last)
            gradients[pairs] = batch_gradient[image_index[pairs]]
    return gradients, logits.detach()


def occurrence(image_index: Tensor) -> Tensor:
    """For each of P pairs how many pairs of the same image stand before it: int64 ``(P,)``."""
    same_image = image_index[:, None] == image_index[None, :]
    return same_image.tril(diagonal=-1).sum(dim=1)
