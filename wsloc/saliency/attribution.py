"""The input and output of a saliency method.

A method is a function ``method(scorer, batch, ...) -> Attribution``: ``scorer`` is the network and its label map,
``batch`` the images and the pairs, and the classes of one image share its forward passes. The docstrings of the methods
tell what else they take.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class PairBatch:
    """A batch of N images and P (image, class) pairs, each of which asks for a map.

    Attributes:
        images: float32 ``(N, C, H, W)``, normalized, on the scorer's device.
        image_index: int64 ``(P,)``, which image each pair means; several pairs may mean the same one. It and the
            classes are on the device of the images.
        classes: int64 ``(P,)``, which class of the scorer.
        seeds: one 31-bit seed per pair, for methods that draw noise; empty for zeros.
    """

    images: Tensor
    image_index: Tensor
    classes: Tensor
    seeds: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Raises ValueError if the lengths disagree, or an index is on another device than the images."""
        if len(self.classes) != len(self) or len(self.seeds) not in (0, len(self)):
            raise ValueError(f"{len(self)} pairs, but {len(self.classes)} classes and {len(self.seeds)} seeds")
        if not self.image_index.device == self.classes.device == self.images.device:
            raise ValueError("image_index and classes must be on the device of the images")

    def __len__(self) -> int:
        """P, the number of pairs."""
        return len(self.image_index)

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width of the images."""
        return self.images.shape[2], self.images.shape[3]


@dataclass(frozen=True, slots=True, eq=False)
class Attribution:
    """The answer of a saliency method.

    Attributes:
        maps: float32 ``(P, H, W)``, >= 0, one for each pair, at the resolution of the images; only
            the order and the ratios of the values mean anything.
        logits: float32 ``(N, O)``, the network's outputs for the images.
    """

    maps: Tensor
    logits: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class BoundMethod:
    """A saliency method with its settings, made ready for one network.

    Attributes:
        compute: from a batch to maps.
        forward_passes: of the network for one batch row.
        shares_passes: whether several classes of one image cost no further pass, so that they belong into one row.
        trial: reads the same of the network as ``compute`` in few passes, such as by one mask instead of thousands, to
            see whether images stay apart; None for ``compute`` itself.
    """

    compute: Callable[[PairBatch], Attribution]
    forward_passes: int = 1
    shares_passes: bool = False
    trial: Callable[[PairBatch], Attribution] | None = None

    @property
    def cost(self) -> str:
        """In words, such as ``26 forward passes``."""
        return "1 forward pass" if self.forward_passes == 1 else f"{self.forward_passes} forward passes"
