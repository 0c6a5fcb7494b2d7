"""Image-specific class saliency: the gradient of a class score with respect to the image.

Simonyan, Vedaldi, Zisserman 2013 (arXiv 1312.6034), section 3: ``w = dS_c / dI`` at the image,
``M_ij = max_k |w_ijk|`` over the channels k.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor

from wsloc.classifiers.scorer import Scorer, scoring_mode
from wsloc.saliency.attribution import Attribution


def gradient(scorer: Scorer, images: Tensor, image_index: Tensor, classes: Tensor) -> Attribution:
    """``max_k |w_k|``, the paper's saliency. Arguments as in :func:`input_gradient_maps`."""
    return input_gradient_maps(scorer, images, image_index, classes, lambda w, _: w.abs().amax(dim=1))


def gradient_positive(scorer: Scorer, images: Tensor, image_index: Tensor, classes: Tensor) -> Attribution:
    """``max_k relu(w_k)``: only where a brighter value raises the score."""
    return input_gradient_maps(scorer, images, image_index, classes, lambda w, _: w.relu().amax(dim=1))


def gradient_squared(scorer: Scorer, images: Tensor, image_index: Tensor, classes: Tensor) -> Attribution:
    """``sum_k w_k^2``."""
    return input_gradient_maps(scorer, images, image_index, classes, lambda w, _: w.square().sum(dim=1))


def gradient_x_input(scorer: Scorer, images: Tensor, image_index: Tensor, classes: Tensor) -> Attribution:
    """``|sum_k w_k I_k|`` with I the normalised image (Shrikumar et al. 2016, arXiv 1605.01713)."""
    return input_gradient_maps(scorer, images, image_index, classes, lambda w, image: (w * image).sum(dim=1).abs())


def input_gradient_maps(
    scorer: Scorer,
    images: Tensor,
    image_index: Tensor,
    classes: Tensor,
    over_channels: Callable[[Tensor, Tensor], Tensor],
) -> Attribution:
    """``w = dS_c / dI`` of P (image, class) pairs by batched back-propagation, made one map each.

    In evaluation mode no image of a batch touches another, so the gradient of the *sum* of scores of
    different images holds each image's own gradient. Several classes of one image share the forward
    pass and take one backward pass each.

    Args:
        scorer: network and label map.
        images: float32 ``(N, C, H, W)``, normalised, on the scorer's device.
        image_index: int64 ``(P,)``, which image each pair means.
        classes: int64 ``(P,)``, which class of the scorer.
        over_channels: from gradients and images, both ``(n, C, H, W)``, to maps ``(n, H, W)``.
    """
    images = images.detach().requires_grad_(True)
    maps = torch.empty((len(image_index), *images.shape[2:]), dtype=images.dtype, device=images.device)
    passes = occurrence(image_index).to(images.device)
    last = int(passes.max()) if len(passes) else -1
    with scoring_mode(scorer.network), torch.enable_grad():
        # A copy, since the network may begin with an operation in place.
        logits = scorer.logits(images.clone())
        scores = scorer.pair_scores(logits, image_index, classes)
        for number in range(last + 1):
            pairs = (passes == number).nonzero().squeeze(1)
            (gradients,) = torch.autograd.grad(scores[pairs].sum(), images, retain_graph=number < last)
            chosen = image_index[pairs]
            maps[pairs] = over_channels(gradients[chosen], images.detach()[chosen])
    return Attribution(maps, logits.detach())


def occurrence(image_index: Tensor) -> Tensor:
    """For each of P pairs how many pairs of the same image stand before it: int64 ``(P,)``, on the CPU."""
    seen: Counter[int] = Counter()
    before = []
    for image in image_index.tolist():
        before.append(seen[image])
        seen[image] += 1
    return torch.tensor(before, dtype=torch.int64)
