import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from wsloc.errors import ItemError
from wsloc.flatness import is_flat
from wsloc.segmentation import working_image, working_map


def _map(*rows: list[float]) -> NDArray[np.float32]:
    return np.array(rows, dtype=np.float32)


@pytest.mark.parametrize(
    ("size_hw", "expected_hw"),
    [
        ((500, 375), (320, 240)),
        ((375, 500), (240, 320)),
        ((320, 320), (320, 320)),
        ((321, 100), (320, 100)),
        ((640, 9), (320, 4)),
        ((4000, 8), (320, 1)),
    ],
)
def test_longer_side_of_the_working_image(size_hw: tuple[int, int], expected_hw: tuple[int, int]) -> None:
    image = np.full((*size_hw, 3), (10, 20, 30), dtype=np.uint8)
    working = working_image(image, 320)
    assert working.shape == (*expected_hw, 3)
    assert working.dtype == np.uint8
    assert (working == (10, 20, 30)).all()


def test_never_enlarged() -> None:
    image = np.random.default_rng(0).integers(0, 256, (60, 50, 3), dtype=np.uint8)
    assert np.array_equal(working_image(image, 320), image)
    assert np.array_equal(working_image(image, 60), image)


def test_shrinking_takes_the_mean() -> None:
    image = np.zeros((8, 8, 3), dtype=np.uint8)
    image[0, 0] = (160, 80, 0)  # Bilinear interpolation would look at the middle four of sixteen pixels.
    image[3, 3] = (0, 80, 240)
    working = working_image(image, 2)
    assert working.shape == (2, 2, 3)
    assert working[0, 0].tolist() == [10, 10, 15]
    assert not working[1].any()
    assert not working[0, 1].any()


@pytest.mark.parametrize(
    ("saliency", "message"),
    [
        (_map([0, 0], [0, 0]), "zero everywhere"),
        (_map([0, -0.0], [0, 0]), "zero everywhere"),
        (_map([2, 2], [2, 2]), "flat everywhere"),
        (_map([2, 2], [2, np.nan]), "flat everywhere"),
        (_map([0.92525214, 0.92525226], [0.9252522, 0.92525214]), "flat everywhere"),
        (_map([1e-30, 1.000001e-30], [1e-30, 1e-30]), "flat everywhere"),
        (_map([np.nan, np.nan], [np.nan, np.nan]), "not finite"),
        (_map([0, 1], [np.inf, 2]), "not finite"),
        (_map([0, 1], [-np.inf, 2]), "not finite"),
        (_map([0, 1], [-0.1, 2]), "negative"),
        (_map([-3, np.nan], [-2, -1]), "negative"),
    ],
)
def test_useless_maps_are_refused(saliency: NDArray[np.float32], message: str) -> None:
    with pytest.raises(ItemError, match=message):
        working_map(saliency, (8, 8), 0.02)


def test_without_resizing_and_smoothing_only_the_maximum_becomes_one() -> None:
    saliency = _map([0, 1, 2], [3, 4, 8])
    assert np.array_equal(working_map(saliency, (2, 3), 0), saliency / 8)


@pytest.mark.parametrize("scale", [1e-38, 1e-6, 1.0, 1e30])
def test_only_ratios_matter(scale: float) -> None:
    saliency = np.random.default_rng(1).random((12, 16)).astype(np.float32)
    scaled = working_map(saliency * np.float32(scale), (24, 32), 0.05)
    assert np.isfinite(scaled).all()
    assert np.allclose(scaled, working_map(saliency, (24, 32), 0.05), atol=1e-5)


def test_resizing_is_by_pixel_centers() -> None:
    # Twice the size: the center of pixel j lies at (j + 0.5) / 2 - 0.5 of the map, hence at
    # -0.25, 0.25, 0.75, 1.25; beyond the outer centers the border's value goes on.
    saliency = _map([0, 4])
    assert np.allclose(working_map(saliency, (1, 4), 0), [[0, 0.25, 0.75, 1]])


def test_shrinking_skips_no_pixel() -> None:
    saliency = np.zeros((1, 12), dtype=np.float32)
    saliency[0, 3], saliency[0, 9] = 4, 1  # in the second and the fourth third of four
    assert np.allclose(working_map(saliency, (1, 4), 0), [[0, 1, 0, 0.25]])


def test_nothing_left_after_shrinking() -> None:
    saliency = np.full((1, 1000), np.nan, dtype=np.float32)
    saliency[0, 7:9] = [1, 2]
    with pytest.raises(ItemError, match="nothing is left of the saliency map at the 10 x 1 pixels"):
        working_map(saliency, (1, 10), 0.02)


def test_nan_stays_nan_and_does_not_spread() -> None:
    saliency = np.ones((4, 6), dtype=np.float32)
    saliency[:, 3] = 2
    saliency[:, :2] = np.nan
    enlarged = working_map(saliency, (8, 12), 0.1)
    assert np.isnan(enlarged[:, :4]).all()
    assert np.isfinite(enlarged[:, 4:]).all()
    assert np.nanmax(enlarged) == 1


def test_pixels_beside_a_nan_are_not_darkened() -> None:
    saliency = np.full((20, 20), 5, dtype=np.float32)
    saliency[:, :7] = np.nan
    saliency[0, 19] = 5.0001  # else the map would be flat
    for smoothing in (0, 0.05):
        assert np.allclose(working_map(saliency, (40, 40), smoothing)[:, 14:], 1, atol=1e-3)


@pytest.mark.parametrize("smoothing", [0.02, 0.05, 0.2])
def test_the_border_is_not_darkened_by_smoothing(smoothing: float) -> None:
    saliency = np.full((30, 40), 5, dtype=np.float32)
    saliency[15, 20] = 5.0001
    assert np.allclose(working_map(saliency, (30, 40), smoothing), 1, atol=1e-3)


# Three sigma away from the border, where the mean over fewer pixels begins to draw the peak towards it.
@pytest.mark.parametrize("smoothing", [0.0, 0.02, 0.08])
@pytest.mark.parametrize(("row", "column"), [(10, 14), (15, 20), (12, 29)])
def test_the_peak_stays_where_it_was(smoothing: float, row: int, column: int) -> None:
    y, x = np.mgrid[:30, :40]
    saliency = np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * 3.0**2)).astype(np.float32)
    smooth = working_map(saliency, (30, 40), smoothing)
    assert np.unravel_index(np.argmax(smooth), smooth.shape) == (row, column)
    assert smooth.max() == 1


def test_a_speck_in_the_interior_is_spread_as_a_gaussian() -> None:
    saliency = np.zeros((61, 61), dtype=np.float32)
    saliency[30, 30] = 3
    smooth = working_map(saliency, (61, 61), 2 / 61)  # sigma of 2 pixels
    y, x = np.mgrid[:61, :61]
    expected = np.exp(-((y - 30) ** 2 + (x - 30) ** 2) / (2 * 2.0**2))
    assert np.allclose(smooth, expected, atol=1e-3)


def test_near_the_border_the_mean_is_over_pixels_of_the_image() -> None:
    saliency = np.zeros((1, 40), dtype=np.float32)
    saliency[0, 2] = 3
    columns = np.arange(40)
    weights = np.exp(-((columns[:, None] - columns[None, :]) ** 2) / (2 * 2.0**2))
    expected = weights[:, 2] / weights.sum(axis=1)
    smooth = working_map(saliency, (1, 40), 2 / 40)  # sigma of 2 pixels
    assert np.allclose(smooth[0], expected / expected.max(), atol=1e-3)


@given(
    arrays(
        np.float32,
        st.tuples(st.integers(2, 12), st.integers(2, 12)),
        elements=st.floats(0, 1e6, width=32) | st.just(float("nan")),
    ),
    st.tuples(st.integers(2, 40), st.integers(2, 40)),
    st.sampled_from([0.0, 0.02, 0.2]),
)
@settings(max_examples=200)
def test_a_map_in_the_unit_range_or_an_item_error(
    saliency: NDArray[np.float32], size_hw: tuple[int, int], smoothing: float
) -> None:
    covered = saliency[~np.isnan(saliency)]
    try:
        made = working_map(saliency, size_hw, smoothing)
    except ItemError:
        shrunk_beside_nan = np.isnan(saliency).any() and np.less(size_hw, saliency.shape).any()
        assert not covered.size or is_flat(covered) or shrunk_beside_nan
        return
    assert covered.min() < covered.max()
    assert made.shape == size_hw
    assert made.dtype == np.float32
    known = made[~np.isnan(made)]
    assert known.min() >= 0
    assert known.max() == 1
