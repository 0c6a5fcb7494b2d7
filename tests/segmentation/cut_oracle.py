"""The energy of a labeling written again from OpenCV's formulas, and its minimum by SciPy's maximum flow."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import maximum_flow

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]
GAMMA = 50.0
CAPACITY = 1e5
"""Units of integer capacity for one unit of energy."""


def edges_of(image: Pixels) -> tuple[NDArray[np.int32], NDArray[np.int32], Floats]:
    """Each pair of 8-neighbors once: both pixels, and the energy of cutting between them."""
    height, width = image.shape[:2]
    index = np.arange(height * width, dtype=np.int32).reshape(height, width)
    colors = image.astype(np.float64)
    firsts, seconds, squares, distances = [], [], [], []
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        here = np.s_[: height - dy, max(0, -dx) : width - max(0, dx)]
        there = np.s_[dy:, max(0, dx) : width + min(0, dx)]
        firsts.append(index[here].ravel())
        seconds.append(index[there].ravel())
        squares.append(((colors[here] - colors[there]) ** 2).sum(axis=2).ravel())
        distances.append(np.full(squares[-1].shape, np.hypot(dy, dx)))
    square = np.concatenate(squares)
    assert len(square) == 4 * height * width - 3 * (height + width) + 2
    beta = 1 / (2 * square.mean()) if square.any() else 0
    return (
        np.concatenate(firsts),
        np.concatenate(seconds),
        GAMMA * np.exp(-beta * square) / np.concatenate(distances),
    )


def energy_of(mask: NDArray[np.bool_], unary: tuple[Floats, Floats], edges: tuple) -> float:
    """Of a labeling, given the energy of each pixel as background and as foreground."""
    labels = mask.reshape(-1)
    first, second, weight = edges
    return float(np.where(labels, unary[1], unary[0]).sum() + weight[labels[first] != labels[second]].sum())


def min_energy(unary: tuple[Floats, Floats], edges: tuple) -> float:
    """The minimum cut between a source (foreground) and a sink (background)."""
    as_background, as_foreground = unary
    first, second, weight = edges
    count = len(as_background)
    source, sink = count, count + 1
    pixels = np.arange(count)
    rows = np.concatenate([np.full(count, source), pixels, first, second])
    columns = np.concatenate([pixels, np.full(count, sink), second, first])
    capacities = np.round(CAPACITY * np.concatenate([as_background, as_foreground, weight, weight]))
    graph = coo_array((capacities.astype(np.int32), (rows, columns)), shape=(count + 2, count + 2)).tocsr()
    return int(maximum_flow(graph, source, sink).flow_value) / CAPACITY
