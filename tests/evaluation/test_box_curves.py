"""Boxes of thresholded maps, against hand-worked maps of 4 x 4 and a slow transcription of the definition."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from wsloc.evaluation.box_curves import THRESHOLDS, curve_of_map

# Two components: three pixels of 2 and 4 on the left, one of 5 on the right.
MAP = np.array(
    [
        [4, 2, 0, 0],
        [0, 4, 0, 0],
        [0, 0, 0, 5],
        [0, 0, 0, 0],
    ],
    dtype=np.float32,
)
LEFT, RIGHT = [0.0, 0.0, 2.0, 2.0], [3.0, 2.0, 4.0, 3.0]


def _slow(
    saliency: NDArray[np.float32], true_xyxy: NDArray[np.float64], size_wh: tuple[int, int]
) -> list[tuple[float, float]]:
    """Largest and best, by flood filling and fractions; thresholds are k / 100."""
    values = [[Fraction(float(value)) for value in row] for row in saliency]
    low, high = min(map(min, values)), max(map(max, values))
    height, width = saliency.shape
    curve = []
    for k in range(100):
        left = {
            (y, x)
            for y in range(height)
            for x in range(width)
            if (values[y][x] - low) * 100 >= k * (high - low) and not (high == low and k > 0)
        }
        found = []
        for seed in sorted(left):
            if seed not in left:
                continue
            left.remove(seed)
            part, queue = [], [seed]
            while queue:
                y, x = queue.pop()
                part.append((y, x))
                near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
                left -= near
                queue += near
            rows, columns = [y for y, _ in part], [x for _, x in part]
            x, y = size_wh[0] / width, size_wh[1] / height
            box = min(columns) * x, min(rows) * y, (max(columns) + 1) * x, (max(rows) + 1) * y
            fit = 0.0
            for true in true_xyxy.tolist():
                sides = [max(0.0, min(box[i + 2], true[i + 2]) - max(box[i], true[i])) for i in (0, 1)]
                areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (box, true)]
                fit = max(fit, sides[0] * sides[1] / (sum(areas) - sides[0] * sides[1]))
            found.append((-len(part), min(rows), min(columns), fit))
        curve.append((min(found)[3], max(fit for *_, fit in found)) if found else (0.0, 0.0))
    return curve


def _at(curve: NDArray[np.float64], threshold: float) -> float:
    return float(curve[np.flatnonzero(threshold == THRESHOLDS)[0]])


@pytest.mark.parametrize(
    ("threshold", "largest", "best"),
    [
        (0.0, 4 / 16, 4 / 16),  # the whole image
        (0.01, 1.0, 1.0),  # the left component: three pixels, its box is the true one
        (0.4, 1.0, 1.0),  # 2 / 5: reached, not passed
        (0.41, 1.0, 1.0),  # the pixel of 2 is gone, the two of 4 touch at a corner
        (0.8, 1.0, 1.0),
        (0.81, 0.0, 0.0),  # the right pixel alone
        (0.99, 0.0, 0.0),
    ],
)
def test_left_box_by_hand(threshold: float, largest: float, best: float) -> None:
    curve = curve_of_map(MAP, np.array([LEFT]), (4, 4))
    assert (_at(curve.largest, threshold), _at(curve.best, threshold)) == (largest, best)


def test_the_best_component_need_not_be_the_largest() -> None:
    curve = curve_of_map(MAP, np.array([RIGHT]), (4, 4))
    assert [_at(curve.largest, t) for t in (0.0, 0.01, 0.8, 0.81)] == [1 / 16, 0, 0, 1]
    assert [_at(curve.best, t) for t in (0.0, 0.01, 0.8, 0.81)] == [1 / 16, 1, 1, 1]


def test_any_true_box_will_do_and_boxes_are_scaled_to_the_image() -> None:
    # An image of 40 x 20: the left component is (0, 0, 20, 10).
    true = np.array([[30.0, 15.0, 40.0, 20.0], [0.0, 0.0, 20.0, 5.0]])
    assert _at(curve_of_map(MAP, true, (40, 20)).largest, 0.4) == 0.5


def test_of_equal_components_the_upper_then_the_left() -> None:
    saliency = np.zeros((4, 4), dtype=np.float32)
    saliency[0, 3] = saliency[2, 0] = saliency[2, 2] = 1
    for box, expected in (([3, 0, 4, 1], 1.0), ([0, 2, 1, 3], 0.0)):
        assert _at(curve_of_map(saliency, np.array([box], dtype=float), (4, 4)).largest, 0.5) == expected
    saliency[0, 3] = 0
    assert _at(curve_of_map(saliency, np.array([[0.0, 2.0, 1.0, 3.0]]), (4, 4)).largest, 0.5) == 1


def test_undecided_pixels_are_in_no_mask() -> None:
    saliency = MAP.copy()
    saliency[:, 2:] = np.nan
    curve = curve_of_map(saliency, np.array([[0.0, 0.0, 2.0, 4.0]]), (4, 4))
    assert _at(curve.largest, 0.0) == 1
    assert _at(curve.largest, 0.99) == 4 / 8  # of the highest decided value, now 4


@pytest.mark.parametrize("value", [0.0, 3.5, np.nan, np.inf])
def test_a_flat_map_is_the_whole_image_at_0_and_nothing_above(value: float) -> None:
    saliency = np.full((3, 5), value, dtype=np.float32)
    curve = curve_of_map(saliency, np.array([[0.0, 0.0, 10.0, 5.0]]), (10, 10))
    assert curve.largest[0] == curve.best[0] == (0.5 if np.isfinite(value) else 0)
    assert not curve.largest[1:].any()
    assert not curve.best[1:].any()


@given(st.integers(0, 10_000), st.integers(1, 7), st.integers(1, 7), st.sampled_from([3, 20, 1000]))
@settings(max_examples=40)
def test_against_the_slow_transcription(seed: int, height: int, width: int, values: int) -> None:
    generator = np.random.default_rng(seed)
    saliency = generator.integers(0, values, (height, width)).astype(np.float32)
    corner = generator.uniform(0, 50, (2, 2))
    true = np.concatenate([corner, corner + generator.uniform(1, 50, (2, 2))], axis=1)
    size = (100, 70)
    curve = curve_of_map(saliency, true, size)
    assert np.allclose(np.stack([curve.largest, curve.best], axis=1), _slow(saliency, true, size), rtol=0, atol=1e-12)


@given(st.integers(0, 10_000), st.integers(1, 50), st.integers(-100, 100))
@settings(max_examples=25)
def test_scale_and_offset_of_the_map_do_not_matter(seed: int, factor: int, offset: int) -> None:
    generator = np.random.default_rng(seed)
    saliency = generator.integers(0, 200, (9, 12)).astype(np.float32)  # whole numbers, so that no sum is rounded
    true = np.array([[10.0, 5.0, 60.0, 55.0]])
    before, after = (curve_of_map(m, true, (90, 60)) for m in (saliency, saliency * factor + offset))
    assert np.array_equal(before.largest, after.largest)
    assert np.array_equal(before.best, after.best)


@given(st.integers(0, 10_000))
@settings(max_examples=25)
def test_flipping_map_and_boxes_together(seed: int) -> None:
    generator = np.random.default_rng(seed)
    saliency = generator.random((9, 12)).astype(np.float32)
    x0, y0 = generator.uniform(0, 40, 2)
    true, mirrored = np.array([[x0, y0, x0 + 30, y0 + 20]]), np.array([[60 - x0, y0, 90 - x0, y0 + 20]])
    before, after = curve_of_map(saliency, true, (90, 60)), curve_of_map(saliency[:, ::-1], mirrored, (90, 60))
    assert np.allclose(before.best, after.best, rtol=0, atol=1e-12)


def test_a_perfect_map_fits_exactly_at_every_threshold_but_0() -> None:
    saliency = np.zeros((60, 90), dtype=np.float32)
    saliency[10:50, 20:70] = 0.3
    curve = curve_of_map(saliency, np.array([[20.0, 10.0, 70.0, 50.0]]), (90, 60))
    assert curve.largest[1:].tolist() == curve.best[1:].tolist() == [1.0] * 99
