"""SmoothGrad: gradients averaged over noisy copies of the image.

Smilkov et al. 2017 (arXiv 1706.03825), equation 1; the squared form is that of Hooker et al. 2019
(arXiv 1806.10758).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from wsloc.classifiers.scorer import Scorer, logits_without_graph
from wsloc.saliency.attribution import Attribution, BoundMethod, PairBatch
from wsloc.saliency.binding import Binder, MethodContext
from wsloc.saliency.gradient import input_gradients


def smoothgrad(scorer: Scorer, batch: PairBatch, *, samples: int = 25, noise: float = 0.15) -> Attribution:
    """``max_k |mean_n w_k(I + e_n)|``, the noise e_n normal, drawn from each pair's own seed.

    Args:
        samples: noisy copies of each image (>= 1).
        noise: standard deviation of the noise, as a fraction of the range of the image's values.
    """
    return Attribution(
        _mean_over_noise(scorer, batch, samples, noise, lambda w: w).abs().amax(dim=1),
        logits_without_graph(scorer, batch.images),
    )


def smoothgrad_squared(scorer: Scorer, batch: PairBatch, *, samples: int = 25, noise: float = 0.15) -> Attribution:
    """``sum_k mean_n w_k(I + e_n)^2``; arguments as in :func:`smoothgrad`."""
    return Attribution(
        _mean_over_noise(scorer, batch, samples, noise, torch.square).sum(dim=1),
        logits_without_graph(scorer, batch.images),
    )


def _mean_over_noise(
    scorer: Scorer, batch: PairBatch, samples: int, noise: float, of_gradient: Callable[[Tensor], Tensor]
) -> Tensor:
    """Mean over the samples of a function of the gradient: ``(P, C, H, W)``."""
    total = torch.zeros_like(batch.images.detach()[batch.image_index])
    for pairs, rows in _one_row_each(batch):
        generators = [torch.Generator().manual_seed(seed) for seed in rows.seeds]
        flat = rows.images.flatten(start_dim=1)
        deviation = noise * (flat.amax(dim=1) - flat.amin(dim=1))
        for _ in range(samples):
            drawn = torch.stack([torch.randn(rows.images.shape[1:], generator=own) for own in generators])
            images = rows.images.clone()
            images[: len(rows)] += deviation[: len(rows), None, None, None] * drawn.to(images.device)
            noisy = PairBatch(images, rows.image_index, rows.classes)
            total[pairs] += of_gradient(input_gradients(scorer, noisy)[0])
    return total / samples


def _one_row_each(batch: PairBatch) -> Iterator[tuple[slice, PairBatch]]:
    """The pairs in groups of at most N, each with an image of its own, filled up with zeros to N images.

    Each pair has noise of its own, so no two can share an image.
    """
    seeds = batch.seeds or (0,) * len(batch)
    size = len(batch.images)
    for start in range(0, len(batch), size):
        pairs = slice(start, start + size)
        chosen = batch.images[batch.image_index[pairs]]
        images = torch.zeros_like(batch.images)
        images[: len(chosen)] = chosen
        rows = torch.arange(len(chosen), device=images.device)
        yield pairs, PairBatch(images, rows, batch.classes[pairs], seeds[pairs])


def _binder(method: Callable[..., Attribution]) -> Binder:
    def bind(context: MethodContext) -> BoundMethod:
        samples, noise = context.settings.smoothgrad_samples, context.settings.smoothgrad_noise
        compute = partial(method, context.scorer, samples=samples, noise=noise)
        return BoundMethod(compute, samples + 1, trial=partial(compute, samples=1))

    return bind


bind_smoothgrad = _binder(smoothgrad)
bind_smoothgrad_squared = _binder(smoothgrad_squared)
