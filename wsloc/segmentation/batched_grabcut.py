"""``grabcut-torch``: GrabCut from coarse to fine for a batch of images of one size, on any device.

Energy and steps are those of ``graphcut.grabcut``; color models and cuts are made for all images of the batch at
once. An image's mask does not depend on the others, or on how many there are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wsloc.config import SegmentationSettings
from wsloc.errors import ItemError, UserError
from wsloc.segmentation.batched_cut import NEIGHBORS, here, min_cut, there
from wsloc.segmentation.batched_mixtures import first_components, log_likelihoods, moments
from wsloc.segmentation.color_models import require_samples
from wsloc.segmentation.graphcut import COARSE_SIZE, has_samples, resized_labels
from wsloc.segmentation.seeds import BACKGROUND, FOREGROUND, is_foreground, is_seed, make_seeds
from wsloc.segmentation.segment import CutInput, Segmentation, Segmenter
from wsloc.segmentation.working import working_image

SMOOTHNESS = 50.0
"""OpenCV's gamma: the price of parting two equal neighbors."""
CERTAIN = 9 * SMOOTHNESS
"""OpenCV's lambda: the pull of a seed, which no eight links outweigh."""

_PIXELS = 2**21
"""Of all images of a batch; the work takes some 300 bytes for each."""
_FRACTION = 2.0**10
"""Pulls and links are whole multiples of 1 by this, so that the last bits of a device's logarithm do not matter."""


def bind_grabcut_torch(settings: SegmentationSettings, device: torch.device) -> Segmenter:
    """The entry of the registry.

    Raises:
        UserError: if the device has no 64-bit floats.
    """
    if device.type == "mps":
        raise UserError(
            "`segmenter='grabcut-torch'` computes with 64-bit floats, which mps does not have; use `device='cpu'` or "
            "`segmenter='grabcut'`."
        )
    batch_size = max(1, _PIXELS // settings.working_size**2)
    return Segmenter(partial(_segment, settings, device), batch_size, on_device=True)


def _segment(
    settings: SegmentationSettings, device: torch.device, items: Sequence[CutInput]
) -> list[Segmentation | ItemError]:
    trimaps = [make_seeds(item.saliency, settings.foreground_quantile, settings.background_quantile) for item in items]
    errors = [_error_of(trimap) for trimap in trimaps]
    good = [index for index, error in enumerate(errors) if error is None]
    images = [items[index].image_rgb for index in good]
    masks = iter(_halving(images, [trimaps[index] for index in good], device, settings.cut_iterations))
    return [error or Segmentation(next(masks), trimap) for error, trimap in zip(errors, trimaps, strict=True)]


def _error_of(trimap: NDArray[np.uint8]) -> ItemError | None:
    try:
        require_samples(is_foreground(trimap))
    except ItemError as error:
        return error
    return None


def _halving(
    images: Sequence[NDArray[np.uint8]], trimaps: Sequence[NDArray[np.uint8]], device: torch.device, iterations: int
) -> list[NDArray[np.bool_]]:
    """The masks; a batch that the memory of the device does not hold is halved, which changes none of them."""
    if not images:
        return []
    try:
        return list(grabcut_batch(np.stack(images), np.stack(trimaps), device, iterations))
    except torch.OutOfMemoryError as error:
        if len(images) == 1:
            raise UserError(
                "The memory of the device does not suffice to cut one image at a time; choose a smaller "
                "`working_size`, or `segmenter='grabcut'`."
            ) from error
    half = len(images) // 2
    return [
        mask
        for part in (slice(half), slice(half, None))
        for mask in _halving(images[part], trimaps[part], device, iterations)
    ]


def grabcut_batch(
    images_rgb: NDArray[np.uint8],
    trimaps: NDArray[np.uint8],
    device: torch.device,
    max_iterations: int = 5,
    coarse_size: int = COARSE_SIZE,
) -> NDArray[np.bool_]:
    """:func:`wsloc.segmentation.grabcut` of several images of one size.

    Args:
        images_rgb: uint8 ``(B, H, W, 3)``.
        trimaps: uint8 ``(B, H, W)`` in OpenCV's codes, each with 5 pixels or more on either side.
        device: where to compute.
        max_iterations: in the small images, at least 1.
        coarse_size: longer side of the small images, in pixels.

    Returns:
        The masks, bool ``(B, H, W)``.
    """
    small_rgb = np.stack([working_image(image, coarse_size) for image in images_rgb])
    small = np.stack([resized_labels(trimap, small_rgb.shape[1:3]) for trimap in trimaps])
    # As there: what is small already, or has too few pixels once it is, is cut as it is.
    coarse = np.array([small.shape != trimaps.shape and has_samples(trimap) for trimap in small])
    masks = np.empty(trimaps.shape, dtype=bool)
    if coarse.any():
        scenes = _Scenes.of(small_rgb[coarse], small[coarse], device)
        found, models = _iterated(scenes, *_start(scenes, is_foreground(small[coarse])), max_iterations)
        large = np.stack([resized_labels(mask, trimaps.shape[1:]) for mask in found.byte().cpu().numpy()]) > 0
        start = torch.from_numpy(np.where(is_seed(trimaps[coarse]), is_foreground(trimaps[coarse]), large)).to(device)
        scenes = _Scenes.of(images_rgb[coarse], trimaps[coarse], device)
        masks[coarse] = _iterated(scenes, start, models, 1)[0].cpu().numpy()
    if not coarse.all():
        scenes = _Scenes.of(images_rgb[~coarse], trimaps[~coarse], device)
        found, _ = _iterated(scenes, *_start(scenes, is_foreground(trimaps[~coarse])), max_iterations)
        masks[~coarse] = found.cpu().numpy()
    return masks


@dataclass(frozen=True, eq=False)
class _Scenes:
    """What stays while some images are cut.

    Attributes:
        colors: float64 ``(B, 3, H, W)``, 0 to 255.
        links: float32 ``(B, 4, H, W)``, of :func:`image_links`.
        trimaps: uint8 ``(B, H, W)``.
    """

    colors: Tensor
    links: Tensor
    trimaps: Tensor

    @classmethod
    def of(cls, images_rgb: NDArray[np.uint8], trimaps: NDArray[np.uint8], device: torch.device) -> _Scenes:
        colors = torch.from_numpy(images_rgb).to(device).movedim(-1, 1).double().contiguous()
        return cls(colors, image_links(colors), torch.from_numpy(trimaps).to(device))

    def __getitem__(self, rows: Tensor) -> _Scenes:
        return _Scenes(self.colors[rows], self.links[rows], self.trimaps[rows])

    @property
    def fixed(self) -> Tensor:
        """The seeds, bool ``(B, H, W)``."""
        return (self.trimaps == BACKGROUND) | (self.trimaps == FOREGROUND)


def _start(scenes: _Scenes, foreground: NDArray[np.bool_]) -> tuple[Tensor, Tensor]:
    """Labels as they are, and the first models."""
    labels = torch.from_numpy(foreground).to(scenes.colors.device)
    return labels, moments(scenes.colors, first_components(scenes.colors, labels))


def _iterated(scenes: _Scenes, foreground: Tensor, models: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Labels and models after some iterations, each image's until its labels stay or only one of them is left."""
    foreground, models = foreground.clone(), models.clone()
    rows = torch.arange(len(foreground), device=foreground.device)
    _, closest = log_likelihoods(models, scenes.colors)
    for _ in range(most):
        before = foreground[rows].flatten(1)
        # Only those that have both labels yet.
        going = before.any(dim=1) & ~before.all(dim=1)
        if not going.any():
            break
        rows, closest, scenes = rows[going], closest[going], scenes[going]
        models[rows] = moments(scenes.colors, torch.where(foreground[rows], closest[:, 1], closest[:, 0]))
        likelihoods, closest = log_likelihoods(models[rows], scenes.colors)
        cut = min_cut(image_pulls(likelihoods, scenes.trimaps), scenes.links)
        cut = torch.where(scenes.fixed, foreground[rows], cut)
        changed = (cut != foreground[rows]).flatten(1).any(dim=1)
        foreground[rows] = cut
        rows, closest, scenes = rows[changed], closest[changed], scenes[changed]
    return foreground, models


def image_links(colors: Tensor) -> Tensor:
    """What it costs to part each pixel from its :data:`NEIGHBORS`: little where the colors differ much.

    Args:
        colors: float64 ``(B, 3, H, W)``, whole numbers.

    Returns:
        Float32 ``(B, 4, H, W)``.
    """
    height, width = colors.shape[2:]
    links = colors.new_zeros(len(colors), len(NEIGHBORS), height, width)
    for index, neighbor in enumerate(NEIGHBORS):
        torch.sum((here(colors, neighbor) - there(colors, neighbor)) ** 2, dim=1, out=here(links[:, index], neighbor))
    pairs = 4 * height * width - 3 * (height + width) + 2
    # Whole numbers, whose sum is exact. An image of one color has links of 50 everywhere.
    doubled_mean = 2 * links.sum(dim=(1, 2, 3)).clamp(min=1)[:, None, None] / max(pairs, 1)
    for index, neighbor in enumerate(NEIGHBORS):
        squares = here(links[:, index], neighbor)
        squares.copy_(torch.exp(-squares / doubled_mean) * (SMOOTHNESS / math.hypot(*neighbor)))
    return _rounded(links)


def image_pulls(likelihoods: Tensor, trimaps: Tensor) -> Tensor:
    """How much cheaper each pixel is as foreground than as background, float32 ``(B, H, W)``.

    Args:
        likelihoods: float64 ``(B, 2, H, W)``, logarithms under background and foreground.
        trimaps: uint8 ``(B, H, W)``; seeds are pulled by :data:`CERTAIN`, the others by no more.
    """
    pulls = (likelihoods[:, 1] - likelihoods[:, 0]).clamp(-CERTAIN, CERTAIN)
    pulls = torch.where(trimaps == FOREGROUND, CERTAIN, torch.where(trimaps == BACKGROUND, -CERTAIN, pulls))
    return _rounded(pulls)


def _rounded(energies: Tensor) -> Tensor:
    return ((energies * _FRACTION).round() / _FRACTION).float()
