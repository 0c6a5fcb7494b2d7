import numpy as np
import pytest
import skimage.measure
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from wsloc.segmentation import largest_components


def _mask(*rows: str) -> NDArray[np.bool_]:
    return np.array([[pixel == "#" for pixel in row] for row in rows])


def test_box_of_known_rows_and_columns() -> None:
    mask = np.zeros((10, 20), dtype=bool)
    mask[2:5, 7:13] = True  # rows 2, 3, 4 and columns 7 to 12
    (component,) = largest_components(mask)
    assert component.box_xyxy == (7, 2, 13, 5)
    assert all(type(value) is int for value in component.box_xyxy)
    assert component.mask.dtype == bool
    assert np.array_equal(component.mask, mask)
    # torchvision names the last column and row, not the ones behind them.
    inclusive = torchvision.ops.masks_to_boxes(torch.from_numpy(mask)[None])[0].tolist()
    assert [*inclusive[:2], inclusive[2] + 1, inclusive[3] + 1] == list(component.box_xyxy)


def test_one_pixel_and_the_whole_mask() -> None:
    mask = np.zeros((6, 6), dtype=bool)
    mask[5, 3] = True
    assert largest_components(mask)[0].box_xyxy == (3, 5, 4, 6)
    assert largest_components(np.ones((4, 7), dtype=bool))[0].box_xyxy == (0, 0, 7, 4)


def test_diagonal_neighbors_are_connected() -> None:
    components = largest_components(_mask("#...", ".#..", "..#.", "...."), count=9)
    assert [component.box_xyxy for component in components] == [(0, 0, 3, 3)]


def test_a_component_inside_a_ring_is_another() -> None:
    ring, dot = largest_components(_mask("#####", "#...#", "#.#.#", "#...#", "#####"), count=2)
    assert ring.box_xyxy == (0, 0, 5, 5)
    assert dot.box_xyxy == (2, 2, 3, 3)
    assert ring.mask.sum() == 16
    assert dot.mask.sum() == 1


THREE = _mask(
    "##...#....",
    "##........",
    "....####..",
    "....####..",
)
"""Areas 8, 4 and 1 of 40 pixels: 20 %, 10 % and 2.5 %."""


@pytest.mark.parametrize(
    ("count", "min_area_fraction", "expected"),
    [
        (1, 0.0, [8]),
        (2, 0.0, [8, 4]),
        (9, 0.0, [8, 4, 1]),
        (9, 0.025, [8, 4, 1]),
        (9, 0.026, [8, 4]),
        (9, 0.1, [8, 4]),
        (9, 0.11, [8]),
        (9, 1.0, [8]),  # The largest is kept whatever its area.
        (None, 0.0, [8, 4, 1]),
        (None, 0.1, [8, 4]),
    ],
)
def test_how_many(count: int | None, min_area_fraction: float, expected: list[int]) -> None:
    components = largest_components(THREE, count, min_area_fraction)
    assert [int(component.mask.sum()) for component in components] == expected


def test_of_equal_ones_the_upper_comes_first() -> None:
    mask = _mask(".....##", "##.....", "....##.", ".......")
    boxes = [component.box_xyxy for component in largest_components(mask, count=3)]
    assert boxes == [(5, 0, 7, 1), (0, 1, 2, 2), (4, 2, 6, 3)]


def test_empty_mask() -> None:
    assert largest_components(np.zeros((5, 5), dtype=bool), count=3) == ()


@given(arrays(np.bool_, st.tuples(st.integers(1, 24), st.integers(1, 24))), st.integers(1, 5))
@settings(max_examples=200)
def test_the_same_regions_as_skimage(mask: NDArray[np.bool_], count: int) -> None:
    labels = skimage.measure.label(mask, connectivity=2)
    regions = skimage.measure.regionprops(labels)
    components = largest_components(mask, count)
    areas = sorted((int(region.area) for region in regions), reverse=True)
    assert [int(component.mask.sum()) for component in components] == areas[:count]
    for component in components:
        (label,) = np.unique(labels[component.mask])
        assert np.array_equal(component.mask, labels == label)
        top, left, bottom, right = regions[label - 1].bbox  # half-open, as ours
        assert component.box_xyxy == (left, top, right, bottom)


def test_random_masks_of_photograph_size() -> None:
    generator = np.random.default_rng(0)
    for fraction in (0.2, 0.4, 0.6):
        mask = generator.random((180, 240)) < fraction
        regions = skimage.measure.regionprops(skimage.measure.label(mask, connectivity=2))
        largest = max(regions, key=lambda region: region.area)
        top, left, bottom, right = largest.bbox
        (component,) = largest_components(mask)
        assert component.box_xyxy == (left, top, right, bottom)
        assert component.mask.sum() == largest.area
