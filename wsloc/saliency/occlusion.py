"""Occlusion: the fall of a class score as a patch slides over the image.

Zeiler, Fergus 2014 (arXiv 1311.2901), section 4.2.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from wsloc.classifiers.scorer import Scorer, logits_without_graph
from wsloc.config import OcclusionFill
from wsloc.errors import UserError
from wsloc.saliency.attribution import Attribution, BoundMethod, PairBatch
from wsloc.saliency.binding import MethodContext
from wsloc.saliency.blur import gaussian_blur
from wsloc.saliency.perturbation import scores_of_versions

Window = tuple[slice, slice]


def occlusion(
    scorer: Scorer, batch: PairBatch, *, patch: int = 48, stride: int = 16, fill: OcclusionFill = "data-mean"
) -> Attribution:
    """``relu`` of the mean fall of S_c over all patches that cover a pixel.

    Args:
        patch: side in pixels of the network's input (>= 1).
        stride: step in pixels (>= 1, at most the patch).
        fill: what hides the patch: the mean of the training data, the image's own mean color, or the blurred image.
    """
    windows = patch_windows(batch.size_hw, patch, stride)
    hidden = _hidden(batch.images, patch, fill)

    def hide(images: Tensor, versions: Tensor) -> Tensor:
        changed = batch.images[images]
        for row, (image, version) in enumerate(zip(images.tolist(), versions.tolist(), strict=True)):
            where = (slice(None), *windows[version])
            changed[row][where] = hidden[image][where]
        return changed

    logits = logits_without_graph(scorer, batch.images)
    scores = scorer.pair_scores(logits, batch.image_index, batch.classes)
    falls = scores[:, None] - scores_of_versions(scorer, batch, len(windows), hide, scorer.pair_scores)
    total = falls.new_zeros((len(batch), *batch.size_hw))
    count = falls.new_zeros(batch.size_hw)
    for index, window in enumerate(windows):
        total[(slice(None), *window)] += falls[:, index, None, None]
        count[window] += 1
    return Attribution((total / count).relu(), logits)


def patch_windows(size_hw: tuple[int, int], patch: int, stride: int) -> list[Window]:
    """Rows and columns of each patch; together they cover every pixel, the last ones cut off at the border."""
    tops, lefts = (range(0, max(side - patch, 0) + stride, stride) for side in size_hw)
    return [(slice(top, top + patch), slice(left, left + patch)) for top in tops for left in lefts]


def _hidden(images: Tensor, patch: int, fill: OcclusionFill) -> Tensor:
    """What is seen in place of each image where a patch lies: ``(N, C, H, W)``."""
    if fill == "data-mean":
        return torch.zeros_like(images)
    if fill == "image-mean":
        return images.mean(dim=(2, 3), keepdim=True).expand_as(images)
    return gaussian_blur(images, patch / 4)


def bind_occlusion(context: MethodContext) -> BoundMethod:
    """With the patch, stride and fill of the settings."""
    settings = context.settings
    patch, stride = settings.occlusion_patch, settings.occlusion_stride
    compute = partial(occlusion, context.scorer, patch=patch, stride=stride, fill=settings.occlusion_fill)
    size_hw = (context.example.shape[2], context.example.shape[3])
    windows = patch_windows(size_hw, patch, stride)
    if len(windows) == 1:
        raise UserError(f"The patch of {patch} pixels covers the whole input of the network; set `occlusion_patch`.")
    whole = partial(compute, patch=max(size_hw), stride=max(size_hw))
    return BoundMethod(compute, len(windows) + 1, shares_passes=True, trial=whole)
