from __future__ import annotations

import numpy as np
import pytest

from wsloc.visualization.curve import draw_curve


@pytest.mark.parametrize("values", [[3.0], [5.0, 5.0], [-1.0, 0.0, 2.0], list(range(1000))])
def test_the_size_is_the_same_for_any_values(values: list[float]) -> None:
    assert draw_curve(values, "step", "score").shape == (400, 640, 3)


def test_a_rising_line_rises() -> None:
    picture = draw_curve([-1.0, 0.0, 1.0, 2.0], "step", "score").astype(int)
    rows, columns = ((picture[..., 2] - picture[..., 0]) > 100).nonzero()  # the line alone is blue
    assert rows[columns == columns.min()].mean() > rows[columns == columns.max()].mean() + 250
    assert columns.max() - columns.min() > 400
    assert np.corrcoef(rows, columns)[0, 1] < -0.99
