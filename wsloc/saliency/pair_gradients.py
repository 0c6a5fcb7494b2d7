"""Gradients of the scores of many (image, class) pairs by few backward passes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from wsloc.errors import UserError


def pair_gradients(
    scores: Tensor, inputs: Sequence[Tensor], image_index: Tensor
) -> Iterator[tuple[Tensor, tuple[Tensor, ...]]]:
    """The gradient of each pair's own score, a backward pass at a time.

    In evaluation mode no image of a batch touches another, so the gradient of the *sum* of scores of
    different images holds each image's own gradient. Several classes of one image take one backward
    pass each. The graph is freed with the last one.

    Args:
        scores: ``(P,)``, with a graph that reaches the inputs.
        inputs: tensors ``(N, ...)`` to differentiate with respect to.
        image_index: int64 ``(P,)``, the image of each pair.

    Yields:
        The pairs of a pass, int64 ``(n,)``, and for each input the gradients of those pairs, ``(n, ...)``.

    Raises:
        UserError: if the scores do not depend on an input, such as a layer above the unit that is asked for.
    """
    passes = occurrence(image_index).to(scores.device)
    last = int(passes.max()) if len(passes) else -1
    for number in range(last + 1):
        pairs = (passes == number).nonzero().squeeze(1)
        gradients: tuple[Tensor | None, ...] = (None,)
        if scores.requires_grad:
            gradients = torch.autograd.grad(scores[pairs].sum(), inputs, retain_graph=number < last, allow_unused=True)
        if any(gradient is None for gradient in gradients):
            raise UserError(
                "The score does not depend on a layer that is read (it is above the target, or in another "
                "branch); name a layer below with `cam_layers`."
            )
        yield pairs, tuple(gradient[image_index[pairs]] for gradient in gradients if gradient is not None)


def occurrence(image_index: Tensor) -> Tensor:
    """For each of P pairs, how many pairs of the same image come before it: int64 ``(P,)``, on the CPU."""
    seen: Counter[int] = Counter()
    before = []
    for image in image_index.tolist():
        before.append(seen[image])
        seen[image] += 1
    return torch.tensor(before, dtype=torch.int64)
