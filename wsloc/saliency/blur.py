"""Smoothing of images on the device."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


def gaussian_blur(images: Tensor, sigma: float) -> Tensor:
    """Images ``(N, C, H, W)`` smoothed by a Gaussian of this sigma in pixels (> 0), edge pixels repeated."""
    radius = math.ceil(3 * sigma)
    weights = torch.exp(-(torch.arange(-radius, radius + 1, device=images.device) ** 2) / (2 * sigma**2))
    weights /= weights.sum()
    channels = images.shape[1]
    padded = F.pad(images, (radius,) * 4, mode="replicate")
    for kernel in (weights.view(1, 1, 1, -1), weights.view(1, 1, -1, 1)):
        padded = F.conv2d(padded, kernel.expand(channels, 1, -1, -1), groups=channels)
    return padded
