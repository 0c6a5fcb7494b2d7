"""What all class activation maps share: features weighted into one map per pair, rectified, enlarged, fused."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from wsloc.classifiers.scorer import Scorer, scoring_mode
from wsloc.saliency.attribution import Attribution, PairBatch
from wsloc.saliency.layers import Layer
from wsloc.saliency.pair_gradients import pair_gradients
from wsloc.saliency.read_features import layer_grid, logits_and_features

Weigh = Callable[[Tensor, Tensor], Tensor]
"""From features A and gradients dS_c/dA, both ``(n, K, h, w)``, to signed maps ``(n, h, w)``."""


def activation_maps(scorer: Scorer, batch: PairBatch, layers: Sequence[Layer], weigh: Weigh) -> Attribution:
    """``relu`` of the weighted features, enlarged to the images; of several layers the largest, each over its maximum.

    Fusing by the maximum follows Jiang et al. 2021 (LayerCAM), without the tanh by which they raise lower layers.
    """
    raw, logits = signed_activation_maps(scorer, batch, layers, weigh)
    enlarged = [enlarge(maps.relu(), batch.size_hw) for maps in raw]
    if len(enlarged) == 1:
        return Attribution(enlarged[0], logits)
    return Attribution(torch.stack([over_maximum(maps) for maps in enlarged]).amax(dim=0), logits)


def signed_activation_maps(
    scorer: Scorer, batch: PairBatch, layers: Sequence[Layer], weigh: Weigh
) -> tuple[list[Tensor], Tensor]:
    """The weighted features of each layer before any ReLU, ``(P, h, w)`` at the layer's resolution, and the logits.

    Gradients are computed from the scores down to the lowest of the layers and no further.

    Raises:
        UserError: if a layer cannot be read, or its features have no place in the image.
    """
    with scoring_mode(scorer.network), torch.enable_grad():
        logits, features = logits_and_features(scorer, batch.images.detach(), layers)
        scores = scorer.pair_scores(logits, batch.image_index, batch.classes)
        of_pairs: list[list[Tensor]] = [[] for _ in layers]
        order = []
        for pairs, gradients in pair_gradients(scores, features, batch.image_index):
            order.append(pairs)
            for index, (feature, gradient_) in enumerate(zip(features, gradients, strict=True)):
                own = feature.detach()[batch.image_index[pairs]]
                grids = (layer_grid(tensor, batch.size_hw) for tensor in (own, gradient_))
                of_pairs[index].append(weigh(*grids))
    if not order:
        return [batch.images.new_zeros((0, 1, 1)) for _ in layers], logits.detach()
    back = torch.cat(order).argsort()
    return [torch.cat(maps)[back] for maps in of_pairs], logits.detach()


def enlarge(maps: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Maps ``(P, h, w)`` at another resolution, bilinear, the outer edges of the corner cells kept in place."""
    return F.interpolate(maps[:, None], size_hw, mode="bilinear", align_corners=False)[:, 0]


def over_maximum(maps: Tensor) -> Tensor:
    """Each map ``(P, H, W)``, >= 0, over its own maximum; a map of zeros stays."""
    maximum = maps.amax(dim=(1, 2), keepdim=True)
    return maps / torch.where(maximum > 0, maximum, 1)
