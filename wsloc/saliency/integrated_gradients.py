"""Integrated gradients: Sundararajan, Taly, Yan 2017 (arXiv 1703.01365), equations 1 and 3."""

from __future__ import annotations

from functools import partial

import torch

from wsloc.classifiers.scorer import Scorer, logits_without_graph
from wsloc.saliency.attribution import Attribution, BoundMethod, PairBatch
from wsloc.saliency.binding import MethodContext
from wsloc.saliency.gradient import input_gradients


def integrated_gradients(scorer: Scorer, batch: PairBatch, *, steps: int = 32) -> Attribution:
    """``|sum_k I_k mean_t w_k(t I)|`` along the straight way from the zero (mean) image to I.

    Args:
        steps: points t on the way, the midpoints of equal intervals (>= 1).
    """
    total = torch.zeros_like(batch.images.detach()[batch.image_index])
    for step in range(steps):
        position = (step + 0.5) / steps
        on_the_way = PairBatch(position * batch.images, batch.image_index, batch.classes)
        total += input_gradients(scorer, on_the_way)[0]
    maps = (total / steps * batch.images.detach()[batch.image_index]).sum(dim=1).abs()
    return Attribution(maps, logits_without_graph(scorer, batch.images))


def bind_integrated_gradients(context: MethodContext) -> BoundMethod:
    """With as many steps as the settings say."""
    steps = context.settings.integrated_steps
    compute = partial(integrated_gradients, context.scorer, steps=steps)
    return BoundMethod(compute, steps + 1, trial=partial(compute, steps=1))
