"""Score-CAM: features weighted by the score that the class keeps when the image is masked by each of them.

Wang et al. 2020 (arXiv 1910.01279), algorithm 1.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from wsloc.classifiers.scorer import Scorer, scoring_mode
from wsloc.errors import UserError
from wsloc.saliency.activation_maps import enlarge
from wsloc.saliency.attribution import Attribution, BoundMethod, PairBatch
from wsloc.saliency.binding import MethodContext, layers_of
from wsloc.saliency.layers import Layer, find_layer
from wsloc.saliency.perturbation import scores_of_versions
from wsloc.saliency.read_features import feature_channels, layer_grid, logits_and_features


def score_cam(
    scorer: Scorer, batch: PairBatch, *, layer: Layer | None = None, channels: int | None = None
) -> Attribution:
    """``relu(sum_k a_k A_k)`` with a the softmax over k of S_c(I * A_k), each A_k enlarged and brought to [0, 1].

    Args:
        layer: where to read features; None to find it now.
        channels: take the channels that vary most over the image, so many; None for all of them.

    Raises:
        UserError: if the layer cannot be read.
    """
    layer = layer or find_layer(scorer, batch.images[:1])
    with scoring_mode(scorer.network), torch.no_grad():
        logits, (features,) = logits_and_features(scorer, batch.images, [layer])
    grids = _most_varying(layer_grid(features.detach(), batch.size_hw), channels)

    def mask(images: Tensor, versions: Tensor) -> Tensor:
        return batch.images[images] * _unit_range(enlarge(grids[images, versions], batch.size_hw))[:, None]

    scores = scores_of_versions(scorer, batch, grids.shape[1], mask, scorer.pair_scores)
    maps = grids.new_zeros((len(batch), *grids.shape[2:]))
    for pair, (image, weights) in enumerate(zip(batch.image_index.tolist(), scores.softmax(dim=1), strict=True)):
        maps[pair] = (weights[:, None, None] * grids[image]).sum(dim=0)
    return Attribution(enlarge(maps.relu(), batch.size_hw), logits.detach())


def _most_varying(features: Tensor, channels: int | None) -> Tensor:
    """The channels ``(N, n, h, w)`` of largest variance over the positions, in their own order."""
    if channels is None or channels >= features.shape[1]:
        return features
    chosen = features.var(dim=(2, 3), correction=0).topk(channels, dim=1).indices.sort(dim=1).values
    return features.gather(1, chosen[:, :, None, None].expand(-1, -1, *features.shape[2:]))


def _unit_range(maps: Tensor) -> Tensor:
    """Each map ``(n, H, W)`` brought to [0, 1]; a flat one becomes zeros."""
    low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    return (maps - low) / (high - low).where(high > low, 1)


def bind_score_cam(context: MethodContext) -> BoundMethod:
    """To one layer, with as many of its channels as the settings say."""
    layer, *others = layers_of(context)
    if others:
        raise UserError("Score-CAM reads one layer; name only one with `cam_layers`.")
    available = feature_channels(context.scorer, context.example, layer)
    channels = min(context.settings.score_cam_channels or available, available)
    compute = partial(score_cam, context.scorer, layer=layer, channels=channels)
    return BoundMethod(compute, channels + 1, shares_passes=True, trial=partial(compute, channels=1))
