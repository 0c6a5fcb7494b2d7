"""From masks to outlines, compared with pycocotools."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_run import record
from numpy.typing import NDArray
from pycocotools import mask as coco_masks

from wsloc.exporters.outlines import area_of, full_size, mask_of, polygons_of, run_lengths_of

Mask = NDArray[np.bool_]


def drawn(polygons: list[list[float]], size_wh: tuple[int, int]) -> Mask:
    """What pycocotools fills."""
    runs = coco_masks.frPyObjects(polygons, size_wh[1], size_wh[0])
    return np.asarray(coco_masks.decode(coco_masks.merge(runs))).astype(bool)


def blob(generator: np.random.Generator, side: int = 60) -> Mask:
    """One piece with holes: a disc with a bite, and a few holes in it."""
    y, x = np.mgrid[:side, :side]
    mask = np.hypot(x - side / 2, (y - side / 2) * generator.uniform(1, 1.5)) < side * 0.42
    for _ in range(4):
        a, b, radius = (*generator.uniform(0.25 * side, 0.75 * side, 2), generator.uniform(2, 6))
        mask &= np.hypot(x - a, y - b) > radius
    return np.asarray(mask)


def test_a_frame_around_a_hole() -> None:
    mask = np.ones((3, 4), dtype=bool)
    mask[1, 1:3] = False
    (ring,) = json.loads(polygons_of(mask, (40, 30)))
    corners = {(x, y) for x, y in zip(ring[::2], ring[1::2], strict=True)}
    outer, inner = {(0, 0), (40, 0), (40, 30), (0, 30)}, {(10, 10), (30, 10), (30, 20), (10, 20)}
    assert corners == outer | inner
    assert len(ring) == 2 * (4 + 4 + 2)  # there and back
    assert (drawn([ring], (40, 30)) == full_size(mask, (40, 30))).all()


def test_corners_are_written_to_a_hundredth_of_a_pixel() -> None:
    mask = np.triu(np.ones((7, 3), dtype=bool), k=-2)
    (ring,) = json.loads(polygons_of(mask, (10, 100), tolerance=0))
    assert ring[:6] == [0.0, 0.0, 0.0, 42.86, 3.33, 42.86]
    assert (max(ring[::2]), max(ring[1::2])) == (10, 71.43)


@given(st.integers(1, 9), st.integers(1, 9), st.data())
def test_unsimplified_polygons_are_the_mask(height: int, width: int, data: st.DataObject) -> None:
    bits = data.draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width).filter(any))
    mask = np.array(bits).reshape(height, width)
    polygons = json.loads(polygons_of(mask, (width, height), tolerance=0))
    assert all(len(ring) >= 6 for ring in polygons)
    # Pieces that touch at a corner alone are one ring, and all rings together are the mask.
    assert (drawn(polygons, (width, height)) == mask).all()


@pytest.mark.parametrize("seed", range(6))
def test_simplified_polygons_reach_as_far_and_cover_nearly_the_same(seed: int) -> None:
    mask = blob(np.random.default_rng(seed))
    size_wh = (180, 120)
    polygons = json.loads(polygons_of(mask, size_wh))
    points = np.concatenate([np.reshape(ring, (-1, 2)) for ring in polygons])
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    expected = [columns[0] * 3, rows[0] * 2, (columns[-1] + 1) * 3, (rows[-1] + 1) * 2]
    assert [*points.min(axis=0), *points.max(axis=0)] == expected
    exact, simple = json.loads(polygons_of(mask, size_wh, tolerance=0)), drawn(polygons, size_wh)
    assert sum(map(len, polygons)) < 0.8 * sum(map(len, exact))
    whole = full_size(mask, size_wh)
    assert (simple & whole).sum() / (simple | whole).sum() > 0.95


def test_thin_masks_keep_their_shape() -> None:
    mask = np.eye(20, dtype=bool)
    assert (drawn(json.loads(polygons_of(mask, (20, 20))), (20, 20)) == mask).mean() > 0.98


def test_area_and_run_lengths() -> None:
    mask = blob(np.random.default_rng(0))
    assert area_of(mask, (120, 180)) == mask.sum() * 6
    runs: Any = run_lengths_of(mask, (120, 180))
    assert runs["size"] == [180, 120]
    assert coco_masks.area(runs) == mask.sum() * 6
    assert (coco_masks.decode(runs)[::3, ::2].astype(bool) == mask).all()


@pytest.mark.parametrize(
    "rle",
    [
        None,
        {},
        {"size": [16, 16]},
        {"size": "16 x 16", "counts": "P8"},
        {"size": [16], "counts": "P8"},
        {"size": [0, 16], "counts": ""},
        {"size": [16, True], "counts": "0"},
        {"size": [16, 16], "counts": "1"},  # does not fill the image
        {"size": [16, 16], "counts": "\x01 no run lengths"},
        {"size": [10**6, 10**6], "counts": "P8"},
        {"size": [16, 16], "counts": "P8"},  # nothing but background
    ],
)
def test_masks_that_are_none(rle: dict[str, Any] | None) -> None:
    assert mask_of(record("i", "cat", (0, 0, 5, 5), (50, 50), mask_rle=rle)) is None


def test_a_mask_is_read() -> None:
    mask = mask_of(record("i", "cat", (0, 0, 25, 50), (50, 50)))
    assert mask is not None
    assert mask[:, :8].all()
    assert not mask[:, 8:].any()
