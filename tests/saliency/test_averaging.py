import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from wsloc.classifiers import VIEWS, Preprocessing, Views
from wsloc.classifiers.preprocessing import View
from wsloc.saliency import average_views

NAN = float("nan")


def _coordinates(height: int, width: int) -> NDArray[np.uint8]:
    """An image whose pixels say where they are: red the row, green and blue the column."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns // 4, columns % 4], axis=2).astype(np.uint8)


def _plain(size_hw: tuple[int, int], resize: str = "squash") -> Preprocessing:
    """So that a view's pixels are the image's values."""
    return Preprocessing(size_hw, mean=(0.0,) * 3, std=(1 / 255,) * 3, resize=resize)


def _rows_and_columns(pixels: Tensor) -> tuple[Tensor, Tensor]:
    values = pixels.round()
    return values[0], 4 * values[1] + values[2]


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("resize", ["squash", "short-side"])
def test_every_view_lands_where_it_came_from(name: str, resize: str) -> None:
    # The image has the size of the frame already, so that resizing changes nothing.
    side = 56 if name == "ten-crop" else 49
    views = VIEWS[name](_coordinates(56 if name == "ten-crop" else 49, side), _plain((49, 49), resize))
    assert views.frame_hw == (side, side)
    assert len(views.views) == {"whole": 1, "mirror": 2, "ten-crop": 10}[name]
    rows, columns = zip(*[_rows_and_columns(view.pixels) for view in views.views], strict=True)
    expected_rows, expected_columns = np.mgrid[:side, :side].astype(np.float32)
    assert np.array_equal(average_views(views, rows), expected_rows)
    assert np.array_equal(average_views(views, columns), expected_columns)


def test_each_view_of_ten_alone() -> None:
    views = VIEWS["ten-crop"](_coordinates(64, 96), _plain((56, 56), "short-side"))
    assert views.frame_hw == (64, 96)
    for view in views.views:
        one = Views(views.frame_hw, (view,))
        rows, columns = _rows_and_columns(view.pixels)
        for values, expected in zip((rows, columns), np.mgrid[:64, :96], strict=True):
            averaged = average_views(one, [values])
            covered = ~np.isnan(averaged)
            assert covered.sum() == 56 * 56
            assert np.array_equal(averaged[covered], expected[covered])


def test_corners_and_centre_each_also_mirrored() -> None:
    views = VIEWS["ten-crop"](_coordinates(64, 96), _plain((56, 56), "short-side")).views
    corners = [(0, 0), (0, 40), (8, 0), (8, 40), (4, 20)]
    assert [(view.top, view.left) for view in views] == corners * 2
    assert [view.mirrored for view in views] == [False] * 5 + [True] * 5
    for upright, mirrored in zip(views[:5], views[5:], strict=True):
        assert torch.equal(upright.pixels.flip(-1), mirrored.pixels)
        assert not torch.equal(upright.pixels, mirrored.pixels)


def test_pixels_of_a_panorama_that_no_crop_covers_are_nan() -> None:
    views = VIEWS["ten-crop"](_coordinates(64, 200), _plain((56, 56), "short-side"))
    maps = [torch.ones(56, 56) for _ in views.views]
    averaged = average_views(views, maps)
    # The crops begin at columns 0, 72 and 144, and are 56 wide; the one in the middle spans rows 4 to 59.
    expected = np.full((64, 200), np.nan, dtype=np.float32)
    expected[:, :56] = expected[:, 144:] = 1
    expected[4:60, 72:128] = 1
    assert averaged.dtype == np.float32
    assert np.array_equal(averaged, expected, equal_nan=True)


def test_mean_by_hand() -> None:
    views = Views(
        (2, 4),
        (
            View(torch.zeros(3, 1, 2), 0, 0, mirrored=False),
            View(torch.zeros(3, 1, 2), 0, 0, mirrored=True),
            View(torch.zeros(3, 2, 2), 0, 1, mirrored=False),
        ),
    )
    maps = [torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 5.0]]), torch.tensor([[6.0, 7.0], [8.0, 9.0]])]
    # Upper row: (1 + 5) / 2, (2 + 3 + 6) / 3, 7, no view; lower row: no view, 8, 9, no view.
    expected = np.array([[3, 11 / 3, 7, NAN], [NAN, 8, 9, NAN]], dtype=np.float32)
    assert np.allclose(average_views(views, maps), expected, equal_nan=True)
    assert maps[1].tolist() == [[3, 5]]


def test_a_map_is_missing() -> None:
    views = VIEWS["mirror"](_coordinates(49, 49), _plain((49, 49)))
    with pytest.raises(ValueError, match="zip"):
        average_views(views, [torch.ones(49, 49)])
