"""Color models of many images at once: the Gaussian mixtures of ``color_models.py``, in tensor operations.

A model is held as the moments of its components: numbers, sums, and sums of products of whole numbers, which are the
same in whatever order a device adds them. All else is computed pixel by pixel, or component by component, so that a
model does not depend on the other images of the batch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from wsloc.segmentation.color_models import COMPONENTS, MIN_DETERMINANT, WHITE_NOISE

_SECOND = torch.tensor([[0, 1, 2], [1, 3, 4], [2, 4, 5]])
"""Where the product of two channels stands among those of :func:`_products`."""
_SQUARINGS = 24
"""As many find the wider of two axes whose variances differ by a part in a million."""


def first_components(colors: Tensor, foreground: Tensor) -> Tensor:
    """The colors of each side split into up to 5 components (Orchard, Bouman 1991), as :func:`fit_color_models` does.

    Args:
        colors: float64 ``(B, 3, H, W)``, whole numbers.
        foreground: bool ``(B, H, W)``.

    Returns:
        Int64 ``(B, H, W)``: 0 to 4 for the background's components, 5 to 9 for the foreground's.
    """
    component = COMPONENTS * foreground.long()
    for count in range(1, COMPONENTS):
        found = moments(colors, component)
        means, covariances = _means_covariances(found)
        axes = _principal_axes(covariances)
        scatter = found[..., 0] * _dot(axes, _dot(covariances, axes[..., None, :]))
        for side in range(2):
            # The component of the largest scatter is split at its mean across its axis.
            most, widest = scatter[:, COMPONENTS * side : COMPONENTS * (side + 1)].max(dim=1)
            widest += COMPONENTS * side
            at = torch.arange(len(widest), device=widest.device), widest
            away = _dot(colors - _over_pixels(means[at]), _over_pixels(axes[at]), dim=1)
            own = (component == _over_pixels(widest)) & _over_pixels(most >= MIN_DETERMINANT)
            component = torch.where(own & (away > 0), COMPONENTS * side + count, component)
    return component


def moments(colors: Tensor, component: Tensor) -> Tensor:
    """The moments of all components, float64 ``(B, 10, 10)``: number of pixels, 3 sums, 6 sums of products.

    Args:
        colors: float64 ``(B, 3, H, W)``, whole numbers.
        component: int64 ``(B, H, W)``, 0 to 9.
    """
    powers = torch.cat([torch.ones_like(colors[:, :1]), colors, _products(colors)], dim=1).flatten(2)
    members = component.flatten(1)[:, None] == torch.arange(2 * COMPONENTS, device=colors.device)[:, None]
    # Exact in any order: whole numbers below 2^53.
    return members.to(colors.dtype) @ powers.transpose(1, 2)


def log_likelihoods(models: Tensor, colors: Tensor) -> tuple[Tensor, Tensor]:
    """How likely the models make each color, and by which component it is explained best.

    Args:
        models: as of :func:`moments`, with a pixel or more on either side.
        colors: float64 ``(B, 3, H, W)``.

    Returns:
        Float64 ``(B, 2, H, W)``, the logarithm of the likelihood but for a constant, under background and foreground;
        int64 ``(B, 2, H, W)``, the component of each whose density is highest, 0 to 9.
    """
    means, covariances = _means_covariances(models)
    inverses, determinants = _inverses(covariances)
    numbers = models[..., 0]
    heights = torch.where(numbers > 0, -determinants.log() / 2, -torch.inf)
    densities = colors.new_empty(len(colors), 2 * COMPONENTS, *colors.shape[2:])
    for index in range(2 * COMPONENTS):
        away, inverse = colors - _over_pixels(means[:, index]), _over_pixels(inverses[:, index])
        weighted = torch.stack([_dot(inverse[:, row], away, dim=1) for row in range(3)], dim=1)
        # Rounding may leave a distance below 0 where a variance is tiny.
        densities[:, index] = _over_pixels(heights[:, index]) - _dot(weighted, away, dim=1).clamp(min=0) / 2
    by_side = densities.view(len(colors), 2, COMPONENTS, *colors.shape[2:])
    numbers = numbers.view(len(colors), 2, COMPONENTS)
    weights = numbers / numbers.sum(dim=2, keepdim=True)
    first = torch.tensor([0, COMPONENTS], device=colors.device)[:, None, None]
    return (by_side + _over_pixels(weights.log())).logsumexp(dim=2), by_side.argmax(dim=2) + first


def _over_pixels(values: Tensor) -> Tensor:
    """From ``(...)`` to ``(..., 1, 1)``: the same for all pixels."""
    return values[..., None, None]


def _products(colors: Tensor) -> Tensor:
    """From ``(B, 3, H, W)`` to ``(B, 6, H, W)``: each channel times itself and all later ones."""
    return torch.cat([colors[:, first : first + 1] * colors[:, first:] for first in range(3)], dim=1)


def _means_covariances(found: Tensor) -> tuple[Tensor, Tensor]:
    """Of moments ``(B, 10, 10)``: ``(B, 10, 3)`` and ``(B, 10, 3, 3)``; zeros for components without pixels."""
    number, sums = found[..., :1].clamp(min=1), found[..., 1:4]
    second = found[..., 4:][..., _SECOND]
    # Before the division all numbers are whole, so that nothing is lost where they cancel.
    return sums / number, (number[..., None] * second - sums[..., None] * sums[..., None, :]) / number[..., None] ** 2


def _inverses(covariances: Tensor) -> tuple[Tensor, Tensor]:
    """Of matrices ``(..., 3, 3)``, near-singular ones with white noise added, their inverses and determinants."""
    noise = WHITE_NOISE * torch.eye(3, dtype=covariances.dtype, device=covariances.device)
    singular = _determinants(covariances) <= MIN_DETERMINANT
    covariances = torch.where(singular[..., None, None], covariances + noise, covariances)
    first, second, third = covariances.unbind(dim=-2)
    crosses = [torch.linalg.cross(*pair) for pair in ((second, third), (third, first), (first, second))]
    determinants = _dot(first, crosses[0])
    return torch.stack(crosses, dim=-2) / determinants[..., None, None], determinants


def _determinants(matrices: Tensor) -> Tensor:
    first, second, third = matrices.unbind(dim=-2)
    return _dot(first, torch.linalg.cross(second, third))


def _principal_axes(covariances: Tensor) -> Tensor:
    """The axes of largest variance of matrices ``(..., 3, 3)``, ``(..., 3)`` of length 1; any axis for zeros.

    Squared again and again, a symmetric matrix becomes the projection on its first axis. ``torch.linalg.eigh`` would
    take another algorithm for another batch size.
    """
    variance = covariances.diagonal(dim1=-2, dim2=-1).amax(dim=-1)
    any_axes = torch.eye(3, dtype=covariances.dtype, device=covariances.device)
    powers = torch.where((variance > 0)[..., None, None], covariances, any_axes)
    for _ in range(_SQUARINGS):
        powers = powers / (powers[..., 0, 0] + powers[..., 1, 1] + powers[..., 2, 2])[..., None, None]
        powers = _dot(powers[..., None, :], powers[..., None, :, :])
    largest = powers.diagonal(dim1=-2, dim2=-1).argmax(dim=-1)
    axes = powers.gather(-2, largest[..., None, None].expand(*largest.shape, 1, 3))[..., 0, :]
    return axes / _dot(axes, axes).sqrt()[..., None]


def _dot(left: Tensor, right: Tensor, dim: int = -1) -> Tensor:
    """The sum of three products, always in the same order."""
    (a, b, c), (x, y, z) = left.unbind(dim), right.unbind(dim)
    return a * x + b * y + c * z
