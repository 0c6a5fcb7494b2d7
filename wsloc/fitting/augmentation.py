"""Random changes of an image: cropped, mirrored, its colors shifted, by torchvision's transforms.

The parameters are drawn from a generator seeded per image: torchvision's random transforms draw from PyTorch's global
generator, which the threads that read images would share.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

from wsloc.classifiers.preprocessing import Preprocessing, whole

_ASPECTS = (3 / 4, 4 / 3)
_TRIES = 10


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How strongly images are changed.

    Attributes:
        crop_scale: smallest area of the crop, as a fraction of the image, in (0, 1].
        jitter: largest change of brightness, contrast and saturation, as a fraction, in [0, 1).
    """

    crop_scale: float
    jitter: float


def augmented(
    image_rgb: NDArray[np.uint8], preprocessing: Preprocessing, augmentation: Augmentation, seed: int
) -> Tensor:
    """A network input float32 ``(C, H, W)``, normalized, of the network's input size.

    Args:
        image_rgb: ``(H, W, 3)``.
        preprocessing: of the network; a crop is squashed to the input size, whatever its ``resize``.
        augmentation: how strongly.
        seed: of the change.
    """
    generator = np.random.default_rng(seed)
    x0, y0, x1, y1 = random_crop((image_rgb.shape[1], image_rgb.shape[0]), augmentation.crop_scale, generator)
    interpolation = InterpolationMode[preprocessing.resample.name]
    size_hw = list(preprocessing.input_size_hw)
    picture = transforms.resized_crop(
        Image.fromarray(image_rgb), y0, x0, y1 - y0, x1 - x0, size_hw, interpolation=interpolation
    )
    if generator.random() < 0.5:
        picture = transforms.horizontal_flip(picture)
    for adjust in (transforms.adjust_brightness, transforms.adjust_contrast, transforms.adjust_saturation):
        picture = adjust(picture, 1 + augmentation.jitter * (2 * generator.random() - 1))
    squashed = Preprocessing(
        preprocessing.input_size_hw, preprocessing.mean, preprocessing.std, "squash", preprocessing.resample
    )
    return whole(np.asarray(picture), squashed).views[0].pixels


def random_crop(size_wh: tuple[int, int], min_area: float, generator: np.random.Generator) -> tuple[int, int, int, int]:
    """A half-open box ``xyxy`` in whole pixels inside the image.

    Its area is drawn from ``min_area`` to 1 of the image's, its aspect, log-uniformly, from 3/4 to 4/3 (Szegedy et
    al. 2015, as torchvision's RandomResizedCrop); the whole image where no such box fits in ten tries.
    """
    width, height = size_wh
    for _ in range(_TRIES):
        area = width * height * generator.uniform(min_area, 1)
        aspect = math.exp(generator.uniform(math.log(_ASPECTS[0]), math.log(_ASPECTS[1])))
        crop_w, crop_h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < crop_w <= width and 0 < crop_h <= height:
            x0, y0 = int(generator.integers(width - crop_w + 1)), int(generator.integers(height - crop_h + 1))
            return x0, y0, x0 + crop_w, y0 + crop_h
    return 0, 0, width, height
