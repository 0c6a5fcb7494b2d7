"""Energy-based pointing, by hand and by a fine grid."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsloc.evaluation.pointing import energy_inside

MAP = np.array(
    [
        [1, 2, 0, 0],
        [3, 4, 0, 0],
        [0, 0, 8, 0],
        [0, 0, 0, 2],
    ],
    dtype=np.float32,
)  # the sum is 20


@pytest.mark.parametrize(
    ("boxes", "size_wh", "fraction"),
    [
        ([[0, 0, 4, 4]], (4, 4), 1),
        ([[0, 0, 2, 2]], (4, 4), 10 / 20),
        ([[0, 0, 200, 100]], (400, 200), 10 / 20),
        ([[0, 0, 2, 2], [2, 2, 3, 3]], (4, 4), 18 / 20),
        ([[0, 0, 2, 2], [1, 1, 3, 3]], (4, 4), 18 / 20),  # the overlap counts once
        ([[0.5, 0, 2, 2]], (4, 4), 8 / 20),  # half of the left column of 1 and 3
        ([[2.5, 2.5, 3.5, 3.5]], (4, 4), (8 / 4 + 2 / 4) / 20),
        ([[2, 0, 4, 2]], (4, 4), 0),
        ([[-3, -3, 2, 2]], (4, 4), 10 / 20),  # over the border
        ([[3, 3, 9, 9]], (4, 4), 2 / 20),
    ],
)
def test_by_hand(boxes: list[list[float]], size_wh: tuple[int, int], fraction: float) -> None:
    assert energy_inside(MAP, np.array(boxes, dtype=float), size_wh) == pytest.approx(fraction, abs=1e-12)


def test_what_is_negative_or_undecided_holds_no_energy() -> None:
    saliency = MAP.copy()
    saliency[0, 0], saliency[1, 1], saliency[3, 3] = -5, np.nan, np.inf
    assert energy_inside(saliency, np.array([[0.0, 0, 2, 2]]), (4, 4)) == pytest.approx(5 / 13)


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan])
def test_a_map_without_energy_is_missed(value: float) -> None:
    assert energy_inside(np.full((4, 4), value, dtype=np.float32), np.array([[0.0, 0, 4, 4]]), (4, 4)) == 0


def test_a_perfect_map_is_1() -> None:
    saliency = np.zeros((7, 9), dtype=np.float32)
    saliency[2:5, 3:8] = np.random.default_rng(0).random((3, 5))
    assert energy_inside(saliency, np.array([[3.0, 2, 8, 5]]), (9, 7)) == 1


@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 6), st.integers(1, 4))
@settings(max_examples=40)
def test_against_a_fine_grid(seed: int, height: int, width: int, count: int) -> None:
    generator = np.random.default_rng(seed)
    saliency = generator.random((height, width))
    size_wh = 8 * width, 4 * height  # each pixel of the map is 8 x 4 pixels of the image
    corner = generator.integers(0, [8 * width - 1, 4 * height - 1], (count, 2))
    true = np.concatenate([corner, corner + generator.integers(1, 20, (count, 2))], axis=1).astype(float)
    fine = np.kron(saliency, np.ones((4, 8)))
    inside = np.zeros(fine.shape, dtype=bool)
    for x0, y0, x1, y1 in true.astype(int).tolist():
        inside[y0:y1, x0:x1] = True
    fraction = energy_inside(saliency, true, size_wh)
    assert fraction == pytest.approx(fine[inside].sum() / fine.sum(), abs=1e-12)
    assert energy_inside(saliency * 8, true, size_wh) == fraction
    mirrored = true[:, [2, 1, 0, 3]] * [-1, 1, -1, 1] + [8 * width, 0, 8 * width, 0]
    assert energy_inside(saliency[:, ::-1], mirrored, size_wh) == pytest.approx(fraction, abs=1e-12)
