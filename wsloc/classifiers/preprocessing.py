"""From an RGB image to the views of it that the network sees, and where each view came from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from wsloc.errors import ItemError, UserError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
TEN_CROP_RATIO = 256 / 224
"""Side of the resized image over side of the crops (Simonyan et al. 2013: 224 px crops of 256 px)."""
_SIZE_STEP = 16
"""Whole images whose aspect is kept have sides of so many pixels times n: few different sizes, so that batches fill."""
_SCALED_STEP = 8
SCALES = (0.75, 1.25)
"""Of the other whole images of ``multi-scale``."""
LARGE_RATIO = 10 / 7
"""Of the sides of ``large`` to the input size: 320 pixels for 224."""
_LARGE_STEP, _LARGE_MAX_ASPECT = 32, 2
MAX_ASPECT = 8
"""Longer over shorter side beyond which the aspect is not kept, since the network's input would be endless."""


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What the network expects of its input.

    Attributes:
        input_size_hw: height and width in pixels; with ``short-side`` both are the shorter side.
        mean: per channel, for values in [0, 1]; its length is the number of channels, 3 or 1.
        std: per channel, for values in [0, 1].
        resize: ``squash`` brings both sides to the input size; ``short-side`` keeps the aspect, the longer side
            rounded to a multiple of 16 px.
        resample: a Pillow filter, used with antialiasing.
    """

    input_size_hw: tuple[int, int]
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    resize: Literal["squash", "short-side"] = "squash"
    resample: Image.Resampling = Image.Resampling.BILINEAR

    @property
    def channels(self) -> int:
        """3 for color, 1 for gray."""
        return len(self.mean)


def adjusted(
    own: Preprocessing,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    input_size: int | None,
    resize: Literal["squash", "short-side"] | None,
) -> Preprocessing:
    """A network's own preprocessing, with the user's values in place of its own; None if there are none.

    Raises:
        UserError: if mean and standard deviation are not those of three channels or of one.
    """
    mean, std = mean or own.mean, std or own.std
    if len(mean) != len(std) or len(mean) not in (1, 3):
        raise UserError(
            f"`mean` and `std` need three numbers each, or one each for a gray network, not {len(mean)} and {len(std)}."
        )
    size_hw = (input_size, input_size) if input_size else own.input_size_hw
    return replace(own, input_size_hw=size_hw, mean=mean, std=std, resize=resize or own.resize)


@dataclass(frozen=True, slots=True)
class View:
    """One network input: a part of the frame, perhaps at another scale, perhaps mirrored.

    Attributes:
        pixels: float32 ``(C, H, W)``, normalized.
        part_xyxy: the part of the frame that it shows, half-open, in whole pixels of the frame.
        mirrored: True where the part was flipped left to right after it was cut out.
    """

    pixels: Tensor
    part_xyxy: tuple[int, int, int, int]
    mirrored: bool


@dataclass(frozen=True, slots=True)
class Views:
    """All views of one image.

    Attributes:
        frame_hw: size of the frame, which always covers the whole original.
        views: at least one.
    """

    frame_hw: tuple[int, int]
    views: tuple[View, ...]


MakeViews = Callable[[NDArray[np.uint8], Preprocessing], Views]
"""An entry of :data:`wsloc.registries.VIEWS`: from an image ``(H, W, 3)`` to the network's inputs."""


def whole(image_rgb: NDArray[np.uint8], preprocessing: Preprocessing) -> Views:
    """One view: the whole image ``(H, W, 3)`` at the network's input size.

    Raises:
        ItemError: here and below, if the aspect is to be kept and is more than 8 to 1.
    """
    frame_hw = _frame_hw(image_rgb, preprocessing, multiple=_SIZE_STEP)
    return Views(frame_hw, (_whole_view(image_rgb, preprocessing, frame_hw),))


def mirror(image_rgb: NDArray[np.uint8], preprocessing: Preprocessing) -> Views:
    """Two views: the whole image and its mirror image."""
    return _with_mirrored(whole(image_rgb, preprocessing))


def multi_scale(image_rgb: NDArray[np.uint8], preprocessing: Preprocessing) -> Views:
    """Six views: the whole image at 3/4, 1 and 5/4 of the input size, each also mirrored."""
    base = whole(image_rgb, preprocessing)
    sizes = [tuple(round(side * scale / _SCALED_STEP) * _SCALED_STEP for side in base.frame_hw) for scale in SCALES]
    others = [
        replace(_whole_view(image_rgb, preprocessing, (height, width)), part_xyxy=base.views[0].part_xyxy)
        for height, width in sizes
    ]
    return _with_mirrored(Views(base.frame_hw, (*base.views, *others)))


def large(image_rgb: NDArray[np.uint8], preprocessing: Preprocessing) -> Views:
    """One view: the whole image at 10/7 of the input size, its aspect kept up to 2 to 1.

    Positions are finer than at the input size, and objects have their natural shape.
    """
    shorter = min(image_rgb.shape[:2])
    height, width = (
        _LARGE_STEP * max(1, round(min(side / shorter, _LARGE_MAX_ASPECT) * own * LARGE_RATIO / _LARGE_STEP))
        for side, own in zip(image_rgb.shape[:2], preprocessing.input_size_hw, strict=True)
    )
    return Views((height, width), (_whole_view(image_rgb, preprocessing, (height, width)),))


def large_mirror(image_rgb: NDArray[np.uint8], preprocessing: Preprocessing) -> Views:
    """Two views: the same and its mirror image."""
    return _with_mirrored(large(image_rgb, preprocessing))


def ten_crop(image_rgb: NDArray[np.uint8], preprocessing: Preprocessing) -> Views:
    """Ten views: four corners and the center, each also mirrored (Krizhevsky et al. 2012).

    The image is resized to 8/7 of the input size, the crops have the input size.
    """
    frame_h, frame_w = _frame_hw(image_rgb, preprocessing, TEN_CROP_RATIO)
    pixels = _resized(image_rgb, preprocessing, (frame_h, frame_w))
    crop_h, crop_w = preprocessing.input_size_hw
    bottom, right = frame_h - crop_h, frame_w - crop_w
    corners = ((0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2))
    crops = tuple(
        View(pixels[:, top : top + crop_h, left : left + crop_w], (left, top, left + crop_w, top + crop_h), False)
        for top, left in corners
    )
    return _with_mirrored(Views((frame_h, frame_w), crops))


def _whole_view(image_rgb: NDArray[np.uint8], preprocessing: Preprocessing, size_hw: tuple[int, int]) -> View:
    height, width = size_hw
    return View(_resized(image_rgb, preprocessing, size_hw), (0, 0, width, height), mirrored=False)


def _with_mirrored(views: Views) -> Views:
    mirrored = tuple(replace(view, pixels=view.pixels.flip(-1), mirrored=True) for view in views.views)
    return Views(views.frame_hw, views.views + mirrored)


def _frame_hw(
    image_rgb: NDArray[np.uint8], preprocessing: Preprocessing, ratio: float = 1.0, multiple: int = 1
) -> tuple[int, int]:
    height, width = image_rgb.shape[:2]
    target_h, target_w = (round(side * ratio) for side in preprocessing.input_size_hw)
    if preprocessing.resize == "squash":
        return target_h, target_w
    if max(height, width) > MAX_ASPECT * min(height, width):
        raise ItemError(
            f"the image is {width} x {height} pixels, more than {MAX_ASPECT} to 1; it needs `resize='squash'`"
        )
    zoom = target_h / min(height, width)
    longer = multiple * round(max(height, width) * zoom / multiple)
    if height <= width:
        return target_h, max(target_w, longer)
    return max(target_h, longer), target_w


def _resized(image_rgb: NDArray[np.uint8], preprocessing: Preprocessing, frame_hw: tuple[int, int]) -> Tensor:
    image = Image.fromarray(image_rgb)
    if preprocessing.channels == 1:
        image = image.convert("L")
    height, width = frame_hw
    image = image.resize((width, height), preprocessing.resample)
    values = torch.from_numpy(np.array(image, dtype=np.float32)).div_(255).reshape(height, width, -1)
    normalized = (values - torch.tensor(preprocessing.mean)) / torch.tensor(preprocessing.std)
    return normalized.permute(2, 0, 1).contiguous()
