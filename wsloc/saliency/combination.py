"""Two saliency maps made one."""

from __future__ import annotations

import torch

from wsloc.classifiers.scorer import Scorer
from wsloc.config import Combination
from wsloc.saliency.activation_maps import over_maximum
from wsloc.saliency.attribution import Attribution, BoundMethod, PairBatch
from wsloc.saliency.grad_cam import Layers, grad_cam
from wsloc.saliency.relu_rules import guided


def guided_grad_cam(scorer: Scorer, batch: PairBatch, layers: Layers = None, *, checked: bool = False) -> Attribution:
    """Guided back-propagation times enlarged Grad-CAM (Selvaraju et al. 2017, section 3.2); see both for arguments."""
    fine, coarse = guided(scorer, batch, checked=checked), grad_cam(scorer, batch, layers)
    return Attribution(fine.maps * coarse.maps, fine.logits)


def combined(first: BoundMethod, second: BoundMethod, by: Combination) -> BoundMethod:
    """The product or the mean of the maps of two methods, each over its maximum."""

    def compute(batch: PairBatch) -> Attribution:
        answers = first.compute(batch), second.compute(batch)
        maps = torch.stack([over_maximum(answer.maps) for answer in answers])
        return Attribution(maps.prod(dim=0) if by == "product" else maps.mean(dim=0), answers[0].logits)

    return BoundMethod(
        compute,
        forward_passes=first.forward_passes + second.forward_passes,
        shares_passes=first.shares_passes and second.shares_passes,
    )
