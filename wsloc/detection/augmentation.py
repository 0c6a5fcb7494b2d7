"""An image and its boxes changed together by torchvision's transforms: mirrored, zoomed, brightened.

The parameters are drawn from a generator seeded per image: torchvision's random transforms draw from PyTorch's global
generator, which the threads that read images would share.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops import box_area
from torchvision.transforms.v2 import functional as transforms
from torchvision.tv_tensors import BoundingBoxes, BoundingBoxFormat

from wsloc.detection.data import BoxedImage

_GRAY = 114
"""What lies around an image that is zoomed out."""
_MIN_VISIBLE = 0.5
"""Fraction of an object that must be left for it to count; if less is left, the rest is ignored."""


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """What the detector sees of one image.

    Attributes:
        image: RGB uint8 ``(3, H, W)``.
        boxes: float32 ``(N, 4)``, half-open ``xyxy``, pixels of ``image``.
        labels: int64 ``(N,)``, from 1.
        ignored: float32 ``(M, 4)``, regions that are neither object nor background.
    """

    image: Tensor
    boxes: BoundingBoxes
    labels: Tensor
    ignored: BoundingBoxes

    def target(self, device: torch.device) -> dict[str, Tensor]:
        """What torchvision's detectors learn from, and ``ignored`` for our own part of the loss."""
        boxes, ignored = (own.as_subclass(Tensor).to(device) for own in (self.boxes, self.ignored))
        return {"boxes": boxes, "labels": self.labels.to(device), "ignored": ignored}


def example_of(image_rgb: NDArray[np.uint8], boxed: BoxedImage) -> Example:
    """An image uint8 ``(H, W, 3)`` and its boxes, unchanged."""
    size_hw = image_rgb.shape[:2]
    image = torch.from_numpy(np.ascontiguousarray(image_rgb.transpose(2, 0, 1)))
    boxes, ignored = (_as_boxes(own, size_hw) for own in (boxed.boxes_xyxy, boxed.ignored_xyxy))
    return Example(image, boxes, torch.from_numpy(boxed.classes), ignored)


def mirrored(example: Example) -> Example:
    """Left and right exchanged."""
    image, boxes, ignored = map(transforms.horizontal_flip, (example.image, example.boxes, example.ignored))
    return replace(example, image=image, boxes=boxes, ignored=ignored)


def window(example: Example, part_xyxy: tuple[int, int, int, int]) -> Example:
    """What a window shows, which may reach over the border of the image: there it is gray.

    An object of which less than half is left is ignored from then on.

    Args:
        example: the image.
        part_xyxy: the window in whole pixels of the image, half-open; it shows a part of it.
    """
    left, top, right, bottom = part_xyxy
    height, width = example.image.shape[-2:]
    margins = [max(0, -left), max(0, -top), max(0, right - width), max(0, bottom - height)]
    padded = transforms.pad(example.image, margins, fill=_GRAY)
    size_hw = (bottom - top, right - left)
    image = transforms.crop(padded, top + margins[1], left + margins[0], *size_hw)
    # Shifted, and clipped to the window.
    boxes, ignored = (transforms.crop(own, top, left, *size_hw) for own in (example.boxes, example.ignored))
    kept = box_area(boxes) >= _MIN_VISIBLE * box_area(example.boxes)
    rest = torch.cat([ignored, boxes[~kept]])
    return Example(
        image,
        _as_boxes(boxes[kept], size_hw),
        example.labels[kept],
        _as_boxes(rest[box_area(rest) > 0], size_hw),
    )


def brightened(example: Example, gain: float) -> Example:
    """All values multiplied by ``gain`` and cut off at 255."""
    return replace(example, image=transforms.adjust_brightness(example.image, gain))


def augmented(example: Example, rng: np.random.Generator, *, flip: bool, zoom: float, gain: float) -> Example:
    """Changed at random.

    Args:
        example: the image.
        rng: source of randomness; drawn from as often whatever the other arguments are.
        flip: mirror with probability 1/2.
        zoom: the scale is multiplied by ``1 - zoom`` to ``1 + zoom``, in a window of the image's size.
        gain: the values are multiplied by ``1 - gain`` to ``1 + gain``.
    """
    coin, scale, across, down, light = rng.random(5)
    height, width = example.image.shape[-2:]
    factor = 1 + zoom * (2 * scale - 1)
    # The window has the shape of the image, so that the detector brings it to the same size.
    w, h = max(1, round(width / factor)), max(1, round(height / factor))
    left, top = round((width - w) * across), round((height - h) * down)
    if (w, h) != (width, height):
        example = window(example, (left, top, left + w, top + h))
    if gain:
        example = brightened(example, 1 + gain * (2 * light - 1))
    return mirrored(example) if flip and coin < 0.5 else example


def _as_boxes(xyxy: NDArray[np.float64] | Tensor, size_hw: tuple[int, ...]) -> BoundingBoxes:
    values = torch.as_tensor(xyxy, dtype=torch.float32).reshape(-1, 4)
    return BoundingBoxes(values, format=BoundingBoxFormat.XYXY, canvas_size=size_hw)
