"""CAM: class activation maps of networks that end in global average pooling and a linear layer.

Zhou et al. 2016 (arXiv 1512.04150), equation 2: ``M_c(x, y) = sum_k w_ck A_k(x, y)``, with A the features at the input
of the global pooling and w_c the weights from the pooled features to S_c. A network that ends in a 1 x 1 convolution
and pooling is the same with A the pooled maps and w_c that picks one of them.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from wsloc.classifiers.grid import as_grid
from wsloc.classifiers.scorer import Scorer, scoring_mode
from wsloc.errors import UserError
from wsloc.saliency.activation_maps import activation_maps
from wsloc.saliency.attribution import Attribution, BoundMethod, PairBatch
from wsloc.saliency.binding import MethodContext
from wsloc.saliency.layers import Layer, find_global_pooling, replaced
from wsloc.saliency.linearity import is_affine, probes


def cam(scorer: Scorer, batch: PairBatch, layer: Layer | None = None) -> Attribution:
    """``relu(sum_k w_ck A_k)``, enlarged to the images.

    Args:
        layer: what :func:`find_cam_layer` found; None to find it now.

    Raises:
        UserError: if the network has no such head.
    """
    layer = layer or find_cam_layer(scorer, batch.images[:1])
    return activation_maps(scorer, batch, [layer], weigh_by_head)


def weigh_by_head(features: Tensor, gradients: Tensor) -> Tensor:
    """``sum_k w_k A_k``: under average pooling of Z positions the gradient is w_k / Z at each of them."""
    return (gradients.sum(dim=(2, 3), keepdim=True) * features).sum(dim=1)


def find_cam_layer(scorer: Scorer, images: Tensor) -> Layer:
    """The input of the global pooling, once it is shown that everything above is linear.

    Args:
        scorer: the network.
        images: ``(N, C, H, W)``, an example of its input.

    Raises:
        UserError: if there is no global pooling, or what lies above is not linear.
    """
    layer = find_global_pooling(scorer, images)
    if layer is None or not _is_linear_above(scorer, images[:1], layer):
        raise UserError(
            "CAM needs a network that ends in global average pooling and one linear layer (or in a 1 x 1 convolution "
            "and global average pooling), which this one does not; use `method='grad-cam'`."
        )
    return layer


def _is_linear_above(scorer: Scorer, images: Tensor, layer: Layer) -> bool:
    """Whether the logits are linear in the layer's features: noise of their own size is put in their place."""

    def noise(_number: int, features: Tensor) -> Tensor:
        last = features.ndim == 3 or as_grid(features, size_hw).shape[1] != features.shape[1]
        made = probes(features.movedim(-1, 1)).movedim(1, -1) if last else probes(features)
        return made * features.std()

    size_hw = (images.shape[2], images.shape[3])

    exact = replace(scorer, precision=torch.float32)
    with scoring_mode(scorer.network), torch.no_grad(), replaced(scorer.network, [layer], noise):
        return is_affine(exact.logits(images.repeat(4, 1, 1, 1)), exact)


def bind_cam(context: MethodContext) -> BoundMethod:
    """To the input of the global pooling; no other layer can be chosen."""
    if context.settings.cam_layers:
        raise UserError("CAM reads the input of the global pooling and no other layer; leave out `cam_layers`.")
    layer = find_cam_layer(context.scorer, context.example)
    return BoundMethod(partial(cam, context.scorer, layer=layer), shares_passes=True)
