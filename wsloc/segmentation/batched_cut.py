"""Minimum cuts of many grids at once, in tensor operations that any device runs, each certified to be one.

A cut with pulls ``t`` and links ``w`` is a level set of an image in which total variation is penalized (Chambolle 2005,
"Total variation minimization and a class of binary MRF models"): of the ``u`` that minimizes ``|u - t|^2 / 2 + sum_pq
w_pq |u_p - u_q|``, the pixels above 0 have the least energy. Its dual is a flow along the links, none beyond its
capacity, and ``u`` is what the flow leaves at each pixel. The flow is found by projected gradients with Nesterov's
momentum (Beck, Teboulle 2009, "Fast gradient-based algorithms for constrained total variation image denoising").

A sweep is a few operations on whole tensors, without a branch. Every flow gives a lower bound of the energy (no cut is
cheaper than what flows through it): where the two meet, the cut is a minimum one, and its grid is done.
"""

from __future__ import annotations

import torch
from torch import Tensor

NEIGHBORS = ((0, 1), (1, 0), (1, 1), (1, -1))
"""Rows and columns to the four neighbors that come later; the other four are earlier ones' later neighbors."""
MAX_SWEEPS = 2000
"""A grid that is not certified by then keeps the cut of its last sweep."""
SWEEPS_PER_CHECK = 25
RELATIVE_GAP = 1e-5
"""Certified means that no cut has less energy by more than this fraction of it."""

_STEP = 1 / 12
"""12 is the largest eigenvalue of the Laplacian of a grid with eight neighbors: stripes one pixel wide have it."""
_NOTHING = 1e-3
"""What a flow leaves where both labels are equally good, but for rounding; there the label is background."""
_UNITS = 2.0**16
"""Energies are summed in whole units of a fraction of 1, so that no order of summation changes the sum."""


def min_cut(pulls: Tensor, links: Tensor, max_sweeps: int = MAX_SWEEPS) -> Tensor:
    """The labelings of least energy: the sum of the pulls not followed and of the links cut, in absolute values.

    A grid's labeling does not depend on the others of the batch.

    Args:
        pulls: float32 ``(B, H, W)``, of each pixel to the foreground; negative: to the background. At most 1000.
        links: float32 ``(B, 4, H, W)``, >= 0, from each pixel to its :data:`NEIGHBORS`; 0 beyond the border.
        max_sweeps: maximum number of steps of the flow; the more it has, the farther it reaches.

    Returns:
        Bool ``(B, H, W)``, true for foreground.
    """
    labels = torch.zeros_like(pulls, dtype=torch.bool)
    rows = torch.arange(len(pulls), device=pulls.device)
    flow, ahead, momentum = torch.zeros_like(links), torch.zeros_like(links), 1.0
    for sweep in range(1, max_sweeps + 1):
        # Products and sums are separate operations: fused ones round otherwise at the end of a vector.
        moved = _differences(_left(pulls, ahead)).mul_(_STEP).add_(ahead).clamp_(-links, links)
        following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        ahead = (moved - flow).mul_((momentum - 1) / following).add_(moved)
        flow, momentum = moved, following
        if sweep % SWEEPS_PER_CHECK == 0 or sweep == max_sweeps:
            left = _left(pulls, flow)
            labels[rows] = found = left > _NOTHING
            least, reached = energy_bound(pulls, left), energy(pulls, links, found)
            going = reached - least > RELATIVE_GAP * reached
            if not going.any():
                break
            rows, pulls, links, flow, ahead = (values[going] for values in (rows, pulls, links, flow, ahead))
    return labels


def energy(pulls: Tensor, links: Tensor, labels: Tensor) -> Tensor:
    """The energies of labelings, float64 ``(B,)``; arguments as of :func:`min_cut`, and its result."""
    against = torch.where(labels, (-pulls).clamp(min=0), pulls.clamp(min=0))
    return _total(against) + _total(links * _differences(labels.to(links.dtype)).abs())


def energy_bound(pulls: Tensor, left: Tensor) -> Tensor:
    """What no labeling can have less of, float64 ``(B,)``: the pulls to the foreground, less what the flow leaves."""
    return _total(pulls.clamp(min=0)) - _total(left.clamp(min=0))


def here(values: Tensor, neighbor: tuple[int, int]) -> Tensor:
    """The part of a grid ``(..., H, W)`` whose pixels have such a neighbor; a view."""
    down, right = neighbor
    height, width = values.shape[-2:]
    return values[..., : height - down, max(0, -right) : width - max(0, right)]


def there(values: Tensor, neighbor: tuple[int, int]) -> Tensor:
    """These neighbors of :func:`here`, in the same order; a view."""
    down, right = neighbor
    return values[..., down:, max(0, right) : values.shape[-1] + min(0, right)]


def _left(pulls: Tensor, flow: Tensor) -> Tensor:
    left = pulls.clone()
    for index, neighbor in enumerate(NEIGHBORS):
        along = here(flow[:, index], neighbor)
        here(left, neighbor).sub_(along)
        there(left, neighbor).add_(along)
    return left


def _differences(values: Tensor) -> Tensor:
    """From ``(B, H, W)`` to ``(B, 4, H, W)``: each pixel less its neighbor, 0 where it has none."""
    differences = values.new_zeros(len(values), len(NEIGHBORS), *values.shape[1:])
    for index, neighbor in enumerate(NEIGHBORS):
        torch.sub(here(values, neighbor), there(values, neighbor), out=here(differences[:, index], neighbor))
    return differences


def _total(values: Tensor) -> Tensor:
    return (values.double() * _UNITS).round().long().flatten(1).sum(dim=1).double() / _UNITS
