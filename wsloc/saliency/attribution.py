"""What a saliency method is: a function from a batch and its (image, class) pairs to maps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from wsloc.classifiers.scorer import Scorer


@dataclass(frozen=True, slots=True, eq=False)
class Attribution:
    """The answer of a saliency method.

    Attributes:
        maps: float32 ``(P, H, W)``, >= 0, one for each pair, at the resolution of the images; only
            the order and the ratios of the values mean anything.
        logits: float32 ``(N, O)``, the network's outputs for the images, from the same forward pass.
    """

    maps: Tensor
    logits: Tensor


SaliencyMethod = Callable[[Scorer, Tensor, Tensor, Tensor], Attribution]
"""``method(scorer, images (N, C, H, W), image_index (P,), classes (P,)) -> Attribution``."""
