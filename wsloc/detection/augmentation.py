"""An image and its boxes changed together: mirrored, zoomed, brightened."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsloc import boxes

_GRAY = 114
"""What lies around an image that is zoomed out."""
_MIN_VISIBLE = 0.5
"""Fraction of an object that must be left for it to stay an object; with less of it, its rest is ignored."""


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """What the detector sees of one image.

    Attributes:
        pixels: RGB uint8 ``(H, W, 3)``.
        boxes_xyxy: float64 ``(N, 4)``, half-open, pixels of ``pixels``.
        classes: int64 ``(N,)``, from 1.
        ignored_xyxy: float64 ``(M, 4)``, likewise.
    """

    pixels: NDArray[np.uint8]
    boxes_xyxy: NDArray[np.float64]
    classes: NDArray[np.int64]
    ignored_xyxy: NDArray[np.float64]


def mirrored(example: Example) -> Example:
    """Left and right changed."""
    width = example.pixels.shape[1]

    def flipped(boxes_xyxy: NDArray[np.float64]) -> NDArray[np.float64]:
        x0, y0, x1, y1 = boxes_xyxy.T
        return np.stack([width - x1, y0, width - x0, y1], axis=1)

    return Example(example.pixels[:, ::-1], flipped(example.boxes_xyxy), example.classes, flipped(example.ignored_xyxy))


def window(example: Example, part_xyxy: tuple[int, int, int, int]) -> Example:
    """What a window shows, which may reach over the border of the image: there it is gray.

    An object of which less than half is left is ignored from then on.

    Args:
        example: the image.
        part_xyxy: the window in whole pixels of the image, half-open; it shows a part of it.
    """
    left, top, right, bottom = part_xyxy
    height, width = example.pixels.shape[:2]
    pixels = np.full((bottom - top, right - left, 3), _GRAY, dtype=np.uint8)
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    pixels[y0 - top : y1 - top, x0 - left : x1 - left] = example.pixels[y0:y1, x0:x1]
    shift = np.array([left, top, left, top])
    size_wh = (right - left, bottom - top)
    moved = boxes.clip(example.boxes_xyxy - shift, size_wh)
    visible = boxes.area(moved) / np.maximum(boxes.area(example.boxes_xyxy), 1e-9)
    kept = visible >= _MIN_VISIBLE
    ignored = np.concatenate([boxes.clip(example.ignored_xyxy - shift, size_wh), moved[~kept]])
    return Example(pixels, moved[kept], example.classes[kept], ignored[boxes.area(ignored) > 0])


def brightened(example: Example, gain: float) -> Example:
    """All values multiplied by ``gain`` and cut off at 255."""
    table = np.clip(np.arange(256) * gain, 0, 255).round().astype(np.uint8)
    return Example(table[example.pixels], example.boxes_xyxy, example.classes, example.ignored_xyxy)


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
    height, width = example.pixels.shape[:2]
    factor = 1 + zoom * (2 * scale - 1)
    # The window has the shape of the image, so that the detector brings it to the same size.
    w, h = max(1, round(width / factor)), max(1, round(height / factor))
    left, top = round((width - w) * across), round((height - h) * down)
    if (w, h) != (width, height):
        example = window(example, (left, top, left + w, top + h))
    if gain:
        example = brightened(example, 1 + gain * (2 * light - 1))
    return mirrored(example) if flip and coin < 0.5 else example
