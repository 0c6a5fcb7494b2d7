"""Grad-CAM and its relatives: features weighted by the gradients of the score with respect to them.

With A the features of a layer and g = dS_c/dA, the sums over the channels k and the positions (i, j):

    Grad-CAM     relu(sum_k mean_ij(g_k) A_k)                    Selvaraju et al. 2017 (arXiv 1610.02391), eq. 1 and 2
    Grad-CAM++   relu(sum_k [sum_ij a_kij relu(g_kij)] A_k)      Chattopadhyay et al. 2018 (arXiv 1710.11063)
    LayerCAM     relu(sum_k relu(g_k) A_k)                       Jiang et al. 2021 (IEEE TIP 30), eq. 6 and 7
    XGrad-CAM    relu(sum_k [sum_ij g_kij A_kij / sum A_k] A_k)  Fu et al. 2020 (arXiv 2008.02312), eq. 8
    HiResCAM     relu(sum_k g_k A_k)                             Draelos, Carin 2020 (arXiv 2011.08891), eq. 2

Arguments of all of them: ``scorer``; ``batch``; ``layers`` to read features at, fused where they are several, None for
the one that :func:`~wsloc.saliency.layers.find_layer` finds. All raise UserError if a layer cannot be read.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from wsloc.classifiers.scorer import Scorer
from wsloc.saliency.activation_maps import Weigh, activation_maps
from wsloc.saliency.attribution import Attribution, PairBatch
from wsloc.saliency.binding import by_layers
from wsloc.saliency.layers import Layer, find_layer

Layers = Sequence[Layer] | None


def grad_cam(scorer: Scorer, batch: PairBatch, layers: Layers = None) -> Attribution:
    """Each channel weighted by its mean gradient."""
    return _maps(scorer, batch, layers, weigh_by_mean_gradient)


def grad_cam_plus_plus(scorer: Scorer, batch: PairBatch, layers: Layers = None) -> Attribution:
    """Each channel weighted by its positive gradients, so that several instances count alike."""
    return _maps(scorer, batch, layers, weigh_plus_plus)


def layer_cam(scorer: Scorer, batch: PairBatch, layers: Layers = None) -> Attribution:
    """Each position weighted by its own positive gradient; of use at lower layers too."""
    return _maps(scorer, batch, layers, lambda features, gradients: (gradients.relu() * features).sum(dim=1))


def xgrad_cam(scorer: Scorer, batch: PairBatch, layers: Layers = None) -> Attribution:
    """Each channel weighted by its gradient, averaged with the features as weights."""
    return _maps(scorer, batch, layers, weigh_by_activation)


def hires_cam(scorer: Scorer, batch: PairBatch, layers: Layers = None) -> Attribution:
    """Each position weighted by its own gradient."""
    return _maps(scorer, batch, layers, lambda features, gradients: (gradients * features).sum(dim=1))


def weigh_by_mean_gradient(features: Tensor, gradients: Tensor) -> Tensor:
    """Grad-CAM's signed map ``(n, h, w)`` of features and gradients ``(n, K, h, w)``."""
    return (gradients.mean(dim=(2, 3), keepdim=True) * features).sum(dim=1)


def weigh_plus_plus(features: Tensor, gradients: Tensor) -> Tensor:
    """Grad-CAM++'s map; with exp(S_c) as the score, so that the higher derivatives are powers of g.

    ``a = g^2 / (2 g^2 + g^3 sum_ij A)`` counts only where g > 0, where it is ``1 / (2 + g sum_ij A)``.
    """
    positive = gradients.relu()
    below = 2 + features.sum(dim=(2, 3), keepdim=True) * positive
    weights = (positive / below.where(below != 0, 1)).sum(dim=(2, 3), keepdim=True)
    return (weights * features).sum(dim=1)


def weigh_by_activation(features: Tensor, gradients: Tensor) -> Tensor:
    """XGrad-CAM's signed map; a channel whose features sum to zero has no weight."""
    total = features.sum(dim=(2, 3), keepdim=True)
    weights = (gradients * features).sum(dim=(2, 3), keepdim=True) / total.where(total != 0, 1) * (total != 0)
    return (weights * features).sum(dim=1)


def _maps(scorer: Scorer, batch: PairBatch, layers: Layers, weigh: Weigh) -> Attribution:
    return activation_maps(scorer, batch, layers or [find_layer(scorer, batch.images[:1])], weigh)


bind_grad_cam = by_layers(grad_cam)
bind_grad_cam_plus_plus = by_layers(grad_cam_plus_plus)
bind_layer_cam = by_layers(layer_cam)
bind_xgrad_cam = by_layers(xgrad_cam)
bind_hires_cam = by_layers(hires_cam)
