from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from wsloc.config import SegmentationSettings
from wsloc.segmentation import CutInput, make_seeds, value_seeds
from wsloc.segmentation.seeds import BACKGROUND, FOREGROUND, PROBABLE_BACKGROUND
from wsloc.segmentation.segment import segment_by_grabcut_by_value

NAN = float("nan")


def test_hand_values() -> None:
    # Twenty different values: 10 % = 2 foreground seeds (18, 19), 25 % = 5 background seeds (0 to 4).
    saliency = np.array(
        [
            [7, 19, 3, 11, 0],
            [2, 14, 9, 5, 17],
            [18, 1, 8, 12, 6],
            [10, 4, 16, 13, 15],
        ],
        dtype=np.float32,
    )
    b, f, u = BACKGROUND, FOREGROUND, PROBABLE_BACKGROUND
    expected = [
        [u, f, b, u, b],
        [b, u, u, u, u],
        [f, b, u, u, u],
        [u, b, u, u, u],
    ]
    for scale in (1.0, 1e-30, 1e30):  # Only the order of the values matters.
        trimap = make_seeds(saliency * np.float32(scale), 0.9, 0.25)
        assert trimap.dtype == np.uint8
        assert trimap.tolist() == expected


def test_codes_are_opencvs() -> None:
    assert (BACKGROUND, FOREGROUND, PROBABLE_BACKGROUND) == (0, 1, 2)


@st.composite
def quantile_pairs(draw: st.DrawFn) -> tuple[float, float]:
    low, high = sorted(draw(st.tuples(*[st.floats(0.001, 0.999)] * 2)))
    return (high, low) if low < high else (0.95, 0.3)


def maps(elements: st.SearchStrategy[float]) -> st.SearchStrategy[NDArray[np.float32]]:
    return arrays(np.float32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=elements)


@given(maps(st.sampled_from([0.0, -0.0, 2.0**-149, 0.5, 1.0, 2.0**127, NAN])), quantile_pairs())
@settings(max_examples=300)
def test_properties_with_many_ties(saliency: NDArray[np.float32], quantiles: tuple[float, float]) -> None:
    if np.isnan(saliency).all():
        return  # working_map refuses it.
    foreground_quantile, background_quantile = quantiles
    trimap = make_seeds(saliency, foreground_quantile, background_quantile)
    covered = ~np.isnan(saliency)
    foreground, background = trimap == FOREGROUND, trimap == BACKGROUND
    # A foreground seed that overwrote a background seed would be missing here.
    assert background.sum() == round(background_quantile * covered.sum())
    at_most = round((1 - foreground_quantile) * covered.sum())
    assert foreground.sum() <= at_most
    assert (trimap[~foreground & ~background] == PROBABLE_BACKGROUND).all()
    assert (trimap[~covered] == PROBABLE_BACKGROUND).all()
    least = saliency[covered].min()
    assert not (foreground & (saliency == least)).any()
    assert foreground.sum() == min(at_most, (saliency[covered] > least).sum())
    # Ranks: no background seed above an undecided pixel, none of the latter above a foreground seed.
    undecided = covered & ~foreground & ~background
    groups = [saliency[group] for group in (background, undecided, foreground) if group.any()]
    for lower, upper in pairwise(groups):
        assert lower.max() <= upper.min()


@given(maps(st.floats(0, 1, width=32)))
@settings(max_examples=50)
def test_the_map_is_not_changed_and_the_seeds_are_reproducible(saliency: NDArray[np.float32]) -> None:
    before = saliency.copy()
    first = make_seeds(saliency, 0.8, 0.3)
    assert np.array_equal(first, make_seeds(saliency, 0.8, 0.3))
    assert np.array_equal(saliency, before)


def test_background_seeds_of_a_map_of_zeros_are_spread() -> None:
    height, width = 100, 100
    saliency = np.zeros((height, width), dtype=np.float32)
    saliency[40:60, 40:60] = np.linspace(0.1, 1, 400, dtype=np.float32).reshape(20, 20)
    trimap = make_seeds(saliency, 0.95, 0.3)
    chosen, zeros = trimap == BACKGROUND, saliency == 0
    fraction = chosen.sum() / zeros.sum()  # 3000 of 9600
    # Pearson's statistic over 25 blocks of 20 x 20 pixels (the middle one has no zeros), against the normal
    # approximation of chi-square with 23 degrees of freedom: mean 23, standard deviation 6.8.
    blocks = [
        (chosen[y : y + 20, x : x + 20].sum(), zeros[y : y + 20, x : x + 20].sum())
        for y in range(0, height, 20)
        for x in range(0, width, 20)
    ]
    statistic = sum((got - n * fraction) ** 2 / (n * fraction * (1 - fraction)) for got, n in blocks if n)
    assert statistic < 23 + 5 * 6.8
    # By scan order the seeds would fill the first 30 rows; neither rows nor columns are skipped by the hash.
    assert chosen.any(axis=0).all()
    assert chosen.any(axis=1).all()


def test_pixels_of_the_least_value_are_never_foreground() -> None:
    saliency = np.full((10, 10), 0.25, dtype=np.float32)
    saliency[3, 4] = 1
    trimap = make_seeds(saliency, 0.5, 0.3)
    assert np.argwhere(trimap == FOREGROUND).tolist() == [[3, 4]]
    assert (trimap == BACKGROUND).sum() == 30


def test_nan_pixels_do_not_count() -> None:
    saliency = np.full((4, 10), np.nan, dtype=np.float32)
    saliency[1:3] = np.arange(20, dtype=np.float32).reshape(2, 10)
    trimap = make_seeds(saliency, 0.9, 0.25)
    assert (trimap[[0, 3]] == PROBABLE_BACKGROUND).all()
    assert np.argwhere(trimap == FOREGROUND).tolist() == [[2, 8], [2, 9]]
    assert np.argwhere(trimap == BACKGROUND).tolist() == [[1, column] for column in range(5)]


def test_positive_and_negative_zero_are_one_value() -> None:
    saliency = np.zeros((30, 30), dtype=np.float32)
    saliency[:15] = -0.0
    saliency[0, 0] = 1
    positive = make_seeds(np.abs(saliency), 0.95, 0.3)
    assert np.array_equal(make_seeds(saliency, 0.95, 0.3), positive)


def test_seeds_by_value_by_hand() -> None:
    saliency = np.array([[0.0, 0.1, 0.11, 0.5], [0.6, 0.61, 0.9, 0.91], [1.0, np.nan, 0.05, 0.3]], dtype=np.float32)
    expected = [[0, 2, 2, 2], [2, 3, 3, 1], [1, 2, 0, 2]]
    # 0.1 and 0.9 as float32 lie just above 0.1 and just below 0.9.
    assert value_seeds(saliency, 0.9, 0.1, 0.6).tolist() == expected


@pytest.mark.parametrize(("low", "high", "count"), [(0.65, 1.0, 400), (0.0, 0.05, 1)])
def test_a_map_that_is_sure_everywhere_needs_no_cut(low: float, high: float, count: int) -> None:
    """A close-up that fills the image; and a single sure pixel."""
    saliency = np.linspace(low, high, 400, dtype=np.float32).reshape(20, 20)
    saliency[-1, -1] = 1
    given = CutInput(np.random.default_rng(0).integers(0, 255, (20, 20, 3), np.uint8), saliency)
    cut = segment_by_grabcut_by_value(given, SegmentationSettings(threshold=0.6))
    assert cut.mask.sum() == count
