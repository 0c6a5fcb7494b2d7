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


@pytest.mark.parametrize("name", ["whole", "mirror", "ten-crop"])
@pytest.mark.parametrize("resize", ["squash", "short-side"])
def test_every_view_lands_where_it_came_from(name: str, resize: str) -> None:
    # The image has the size of the frame already, so that resizing changes nothing.
    side = 56 if name == "ten-crop" else 49
    views = VIEWS[name](_coordinates(side, side), _plain((49, 49), resize))
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


def test_corners_and_center_each_also_mirrored() -> None:
    views = VIEWS["ten-crop"](_coordinates(64, 96), _plain((56, 56), "short-side")).views
    corners = [(0, 0), (0, 40), (8, 0), (8, 40), (4, 20)]
    assert [view.part_xyxy for view in views] == [(left, top, left + 56, top + 56) for top, left in corners * 2]
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
            View(torch.zeros(3, 1, 2), (0, 0, 2, 1), mirrored=False),
            View(torch.zeros(3, 1, 2), (0, 0, 2, 1), mirrored=True),
            View(torch.zeros(3, 2, 2), (1, 0, 3, 2), mirrored=False),
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


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        # Half the size: bilinear between the centers of the cells, which lie a quarter of a pixel off the pixels'.
        ([[0, 8]], [[0, 2, 6, 8], [0, 2, 6, 8]]),
        ([[8], [8]], [[8, 8, 8, 8], [8, 8, 8, 8]]),
        # Twice the size: the mean of what falls on a pixel.
        (
            [[1, 3, 0, 0, 5, 5, 0, 16], [1, 3, 0, 0, 5, 5, 0, 0], [0, 0, 4, 4, 1, 2, 9, 9], [0, 0, 4, 4, 3, 2, 9, 9]],
            [[2, 0, 5, 4], [0, 4, 2, 9]],
        ),
    ],
    ids=["grown", "grown both ways", "shrunk"],
)
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_map_of_another_scale_lands_where_its_part_is(
    values: list[list[float]], expected: list[list[float]], mirrored: bool
) -> None:
    view_map = torch.tensor(values, dtype=torch.float32)
    part = View(torch.zeros(3, *view_map.shape), (1, 3, 5, 5), mirrored)
    averaged = average_views(Views((6, 7), (part,)), [view_map.flip(1) if mirrored else view_map])
    assert averaged.dtype == np.float32
    assert np.isnan(averaged).sum() == 6 * 7 - 2 * 4
    assert np.allclose(averaged[3:5, 1:5], expected, atol=1e-6)


def test_maps_of_several_scales_by_hand() -> None:
    parts = [View(torch.zeros(3, 2, width), (0, 0, 4, 2), mirrored) for width, mirrored in ((4, False), (2, True))]
    maps = [torch.tensor([[1.0, 2.0, 3.0, 4.0]] * 2), torch.tensor([[8.0, 0.0]] * 2)]
    # Turned back and grown, the second one is 0 2 6 8, and with the mean of the first one 0 1.25 3.75 5.
    expected = [[0.5, 1.625, 3.375, 4.5]] * 2
    assert np.allclose(average_views(Views((2, 4), tuple(parts)), maps), expected, atol=1e-6)


@pytest.mark.parametrize("factor", [1e-3, 1.0, 50.0])
def test_a_scale_counts_the_same_however_large_its_values(factor: float) -> None:
    parts = [View(torch.zeros(3, 2, width), (0, 0, 4, 2), False) for width in (4, 8)]
    first, second = torch.rand((2, 2, 4), generator=torch.Generator().manual_seed(0))
    large = factor * second.repeat_interleave(2, dim=1)
    found = average_views(Views((2, 4), tuple(parts)), [first, large])
    expected = (first + second * first.mean() / second.mean()) / 2
    assert np.allclose(found, expected, atol=1e-6)


def test_a_scale_of_zeros_stays_zero() -> None:
    parts = [View(torch.zeros(3, 2, width), (0, 0, 4, 2), False) for width in (4, 2)]
    for first, second, expected in ((1.0, 0.0, 0.5), (0.0, 3.0, 1.5)):
        maps = [torch.full((2, 4), first), torch.full((2, 2), second)]
        assert np.allclose(average_views(Views((2, 4), tuple(parts)), maps), expected)


def _square(height: int, width: int) -> NDArray[np.uint8]:
    image = np.zeros((height, width, 3), dtype=np.uint8)
    image[height // 8 : height // 2, width // 4 : width // 2] = 200
    return image


@pytest.mark.parametrize("resize", ["squash", "short-side"])
def test_each_of_the_scales_alone_shows_the_same(resize: str) -> None:
    """Were each view's map the view itself, every one would give the image back."""
    views = VIEWS["multi-scale"](_square(96, 160), _plain((96, 96), resize))
    assert views.frame_hw == ((96, 96) if resize == "squash" else (96, 160))
    assert len({view.pixels.shape for view in views.views}) == 3
    _, columns = np.mgrid[: views.frame_hw[0], : views.frame_hw[1]]
    for view in views.views:
        found = average_views(Views(views.frame_hw, (view,)), [view.pixels[0]])
        inside, outside = np.s_[16:44, columns.shape[1] // 4 + 4 : columns.shape[1] // 2 - 4], np.s_[56:]
        assert np.allclose(found[inside], 200, atol=0.5)
        assert np.allclose(found[outside], 0, atol=0.5)
        # Rows 12 to 47 and a quarter of the columns; the center does not move by half a pixel.
        assert found.sum() / 200 == pytest.approx(36 * columns.shape[1] / 4, rel=0.02)
        center = (found * (columns + 0.5)).sum() / found.sum()
        assert center == pytest.approx(columns.shape[1] * 3 / 8, abs=0.25)


def test_the_ratios_of_the_values_stay_whatever_the_scale() -> None:
    views = VIEWS["multi-scale"](_square(64, 64), _plain((64, 64)))
    maps = [torch.rand(view.pixels.shape[1:], generator=torch.Generator().manual_seed(0)) for view in views.views]
    averaged = average_views(views, maps)
    assert np.allclose(average_views(views, [4 * view_map for view_map in maps]), 4 * averaged, rtol=1e-6)
    constant = average_views(views, [torch.full_like(view_map, 3) for view_map in maps])
    assert np.allclose(constant, 3, rtol=1e-6)


@pytest.mark.parametrize("scale", [0, 1, 2])
def test_a_nan_of_any_scale_is_infinite_not_uncovered(scale: int) -> None:
    views = VIEWS["multi-scale"](_square(64, 64), _plain((64, 64)))
    maps = [torch.ones(view.pixels.shape[1:]) for view in views.views]
    maps[scale][10, 7] = NAN
    assert np.isinf(average_views(views, maps)).any()
