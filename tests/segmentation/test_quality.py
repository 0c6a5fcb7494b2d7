"""The agreement of map and mask."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.spatial.distance import cosine

from wsloc.segmentation import agreement

SALIENCY = np.array([[1, 3], [2, 0]], dtype=np.float32)
maps = arrays(np.float32, (4, 5), elements=st.floats(0, 1, width=32))
masks = arrays(np.bool_, (4, 5))


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        ([[1, 1], [0, 0]], 4 / math.sqrt(14 * 2)),
        ([[0, 0], [1, 1]], 2 / math.sqrt(14 * 2)),
        ([[1, 1], [1, 0]], 6 / math.sqrt(14 * 3)),
        ([[1, 1], [1, 1]], 6 / math.sqrt(14 * 4)),
        ([[0, 0], [0, 1]], 0),
        ([[0, 0], [0, 0]], 0),
    ],
)
def test_by_hand(mask: list[list[int]], expected: float) -> None:
    assert agreement(SALIENCY, np.array(mask, dtype=bool)) == pytest.approx(expected)


def test_a_flat_map_on_its_own_mask() -> None:
    mask = np.zeros((7, 9), dtype=bool)
    mask[2:5, 1:8] = True
    assert agreement(mask.astype(np.float32) * 0.3, mask) == pytest.approx(1)
    assert agreement(np.zeros((7, 9), dtype=np.float32), mask) == 0


def test_nan_pixels_do_not_count() -> None:
    saliency = np.array([[1, 3], [2, np.nan]], dtype=np.float32)
    for last in (False, True):
        mask = np.array([[True, True], [False, last]])
        assert agreement(saliency, mask) == pytest.approx(4 / math.sqrt(14 * 2))
    assert agreement(np.full((2, 2), np.nan, dtype=np.float32), np.ones((2, 2), dtype=bool)) == 0


@given(maps, masks)
def test_scipy_agrees(saliency: NDArray[np.float32], mask: NDArray[np.bool_]) -> None:
    if saliency.max() < 1e-6 or not mask.any():
        return
    assert agreement(saliency, mask) == pytest.approx(1 - cosine(saliency.ravel(), mask.ravel().astype(float)))


@given(maps, masks, st.sampled_from([0.5, 2.0, 64.0]))
def test_the_scale_of_the_map_does_not_count(
    saliency: NDArray[np.float32], mask: NDArray[np.bool_], scale: float
) -> None:
    if saliency.max() < 1e-6:
        return
    assert agreement(saliency * np.float32(scale), mask) == pytest.approx(agreement(saliency, mask), abs=1e-6)


@given(maps, masks)
def test_no_mask_of_the_same_size_agrees_better_than_the_most_salient_pixels(
    saliency: NDArray[np.float32], mask: NDArray[np.bool_]
) -> None:
    best = np.zeros(mask.size, dtype=bool)
    best[np.argsort(-saliency, axis=None)[: mask.sum()]] = True
    assert agreement(saliency, mask) <= agreement(saliency, best.reshape(mask.shape)) + 1e-9
