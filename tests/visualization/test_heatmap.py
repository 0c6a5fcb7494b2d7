from __future__ import annotations

import warnings
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from wsloc.visualization import COLORMAPS, STYLES, color_map, gray_map, overlay_heatmap, stretch_map
from wsloc.visualization.heatmap import UNDECIDED_COLOR

NAN = np.nan
ENDS = {
    "turbo": ((48, 18, 59), (122, 4, 3)),
    "viridis": ((68, 1, 84), (253, 231, 37)),
    "inferno": ((0, 0, 4), (252, 255, 164)),
    "jet": ((0, 0, 128), (128, 0, 0)),
}
"""First and last color of each as their makers publish them (Google's turbo, matplotlib's others)."""


@pytest.fixture(autouse=True)
def _no_warning() -> Iterator[None]:
    """NumPy warns where NaN, 0 / 0 or an overflow slips through."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def floats(values: list[list[float]]) -> NDArray[np.float32]:
    return np.array(values, dtype=np.float32)


def even(color: tuple[int, int, int], size_hw: tuple[int, int] = (2, 2)) -> NDArray[np.uint8]:
    return np.full((*size_hw, 3), color, dtype=np.uint8)


def test_every_colormap_is_tested() -> None:
    assert set(ENDS) == set(COLORMAPS)


@pytest.mark.parametrize("name", ENDS)
def test_zero_has_the_first_color_and_the_maximum_the_last(name: str) -> None:
    first, last = ENDS[name]
    np.testing.assert_allclose(color_map(floats([[0, 7], [7, 0]]), name), [[first, last], [last, first]], atol=1)


def test_overlay_by_hand() -> None:
    """0.2 times turbo's (48, 18, 59) and (122, 4, 3), and 0.8 times a gray of 100."""
    found = overlay_heatmap(even((100, 100, 100)), floats([[0, 4], [4, 0]]), alpha=0.2)
    np.testing.assert_array_equal(found[0], [(90, 84, 92), (104, 81, 81)])
    np.testing.assert_array_equal(found[1], found[0, ::-1])


@pytest.mark.parametrize(("alpha", "expected"), [(0.0, (124, 124, 124)), (1.0, (122, 4, 3))])
def test_the_ends_of_alpha(alpha: float, expected: tuple[int, int, int]) -> None:
    """0.299 * 200 + 0.587 * 100 + 0.114 * 50 = 124.2."""
    np.testing.assert_array_equal(
        overlay_heatmap(even((200, 100, 50)), floats([[3, 3], [3, 3]]), alpha)[0, 0], expected
    )


def test_gray_by_hand() -> None:
    found = gray_map(floats([[0, 1], [2, 5]]))
    np.testing.assert_array_equal(found, np.repeat(np.array([[0, 51], [102, 255]])[..., None], 3, axis=2))
    assert found.dtype == np.uint8


def test_inverted_is_255_minus_gray() -> None:
    saliency = np.random.default_rng(0).random((9, 7), dtype=np.float32)
    np.testing.assert_array_equal(gray_map(saliency, inverted=True), 255 - gray_map(saliency))


def test_pixels_that_no_view_reached_are_shown_as_such() -> None:
    saliency = floats([[NAN, 1], [2, NAN]])
    photograph = even((10, 200, 30))
    assert tuple(overlay_heatmap(photograph, saliency)[0, 0]) == (10, 200, 30)
    for picture in (color_map(saliency), gray_map(saliency), gray_map(saliency, inverted=True)):
        assert tuple(picture[0, 0]) == tuple(picture[1, 1]) == UNDECIDED_COLOR
    np.testing.assert_array_equal(gray_map(saliency)[0, 1], [128] * 3)
    np.testing.assert_array_equal(gray_map(saliency)[1, 0], [255] * 3)


def test_no_other_pixel_has_the_color_of_those() -> None:
    ramp = np.arange(256, dtype=np.float32)[None]
    for picture in (*(color_map(ramp, name) for name in COLORMAPS), gray_map(ramp)):
        assert np.abs(picture.astype(int) - UNDECIDED_COLOR).max(axis=2).min() >= 30


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("value", [0.0, NAN])
def test_a_map_of_zeros_or_of_nothing(style: str, value: float) -> None:
    photograph = even((40, 80, 120))
    found = STYLES[style](photograph, floats([[value] * 2] * 2), 1.0, "turbo")
    nothing = (40, 80, 120) if style == "overlay" else UNDECIDED_COLOR
    zero = {"overlay": ENDS["turbo"][0], "color": ENDS["turbo"][0], "gray": (0,) * 3, "inverted-gray": (255,) * 3}
    np.testing.assert_array_equal(found, even(zero[style] if value == 0 else nothing))


@pytest.mark.parametrize("style", STYLES)
def test_a_style_draws_as_large_as_the_map_and_changes_neither_argument(style: str) -> None:
    photograph, saliency = even((40, 80, 120), (3, 5)), np.eye(3, 5, dtype=np.float32)
    before = photograph.copy(), saliency.copy()
    found = STYLES[style](photograph, saliency, 0.5, "viridis")
    assert (found.shape, found.dtype) == ((3, 5, 3), np.uint8)
    np.testing.assert_array_equal(photograph, before[0])
    np.testing.assert_array_equal(saliency, before[1])


@pytest.mark.parametrize("bad", [np.inf, -np.inf, -0.5])
def test_a_map_that_is_no_saliency_is_refused(bad: float) -> None:
    for draw in STYLES.values():
        with pytest.raises(ValueError, match="finite and >= 0"):
            draw(even((0, 0, 0)), floats([[bad, 1], [0, NAN]]), 0.5, "turbo")


def test_an_overlay_in_color_is_rgb_not_bgr() -> None:
    """OpenCV's own answer, channels reversed."""
    ramp = np.arange(256, dtype=np.float32)[None]
    expected = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[None], cv2.COLORMAP_JET)[..., ::-1]
    np.testing.assert_array_equal(color_map(ramp, "jet"), expected)


@pytest.mark.parametrize(
    ("values", "percentile", "expected"),
    [
        ([1, 2, 3, 5], 100, [0, 0.25, 0.5, 1]),
        ([0, 1, 2, 3, 40], 50, [0, 0.5, 1, 1, 1]),
        ([0, 1, 2, 3, 40], 75, [0, 1 / 3, 2 / 3, 1, 1]),
        ([NAN, 4, 8, NAN, 6], 100, [NAN, 0, 1, NAN, 0.5]),
        ([0] * 999 + [2], 99, [0] * 999 + [1]),  # the percentile is the minimum, so the maximum stands in
        ([3, 3], 99, [0, 0]),
        ([NAN], 99, [NAN]),
    ],
    ids=lambda value: str(value)[:20],
)
def test_stretched_by_hand(values: list[float], percentile: float, expected: list[float]) -> None:
    found = stretch_map(floats([values]), percentile)
    np.testing.assert_allclose(found, [expected], rtol=1e-6)
    assert found.dtype == np.float32


@given(arrays(np.float32, (5, 6), elements=st.floats(0, 1e6, width=32)), st.floats(1, 100))
def test_stretching_keeps_the_order(saliency: NDArray[np.float32], percentile: float) -> None:
    found = stretch_map(saliency, percentile)
    assert found.min() == 0
    assert found.max() == (1 if saliency.min() < saliency.max() else 0)
    assert (np.diff(found.ravel()[saliency.ravel().argsort()]) >= 0).all()
