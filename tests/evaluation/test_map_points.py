"""The highest point of a map, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from wsloc.evaluation.pointing import highest_point


@pytest.mark.parametrize(
    ("row", "column", "size_wh", "point"),
    [
        (0, 0, (4, 3), (0.5, 0.5)),
        (2, 3, (4, 3), (3.5, 2.5)),
        (1, 2, (400, 30), (250.0, 15.0)),
        (2, 0, (2, 6), (0.25, 5.0)),
    ],
)
def test_the_center_of_the_highest_pixel_in_the_image(
    row: int, column: int, size_wh: tuple[int, int], point: tuple[float, float]
) -> None:
    saliency = np.arange(12, dtype=np.float32).reshape(3, 4) / 100
    saliency[row, column] = 1
    assert highest_point(saliency, size_wh) == point
    assert highest_point(saliency * 8 + 5, size_wh) == point
    width, height = size_wh
    assert highest_point(saliency[::-1, ::-1], size_wh) == (width - point[0], height - point[1])


def test_of_equal_ones_the_first_in_reading_order_and_never_an_undecided_one() -> None:
    saliency = np.array([[np.nan, 1, 3], [3, 2, np.inf]], dtype=np.float32)
    assert highest_point(saliency, (3, 2)) == (2.5, 0.5)


@pytest.mark.parametrize("value", [0.0, 2.0, np.nan])
def test_a_flat_map_points_nowhere(value: float) -> None:
    assert highest_point(np.full((3, 4), value, dtype=np.float32), (4, 3)) is None
