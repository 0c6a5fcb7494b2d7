"""Boxes go where their pixels go."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from wsloc.detection.augmentation import Example, augmented, brightened, example_of, mirrored, window
from wsloc.detection.data import BoxedImage
from wsloc.records import ImageRecord


def marked(
    width: int,
    height: int,
    box: tuple[int, int, int, int],
    ignored: NDArray[np.float64] = np.zeros((0, 4)),  # noqa: B008
) -> Example:
    """A black image with a white box, which is its object."""
    x0, y0, x1, y1 = box
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[y0:y1, x0:x1] = 255
    image = ImageRecord("a", "a.png", Path("a.png"))
    return example_of(pixels, BoxedImage(image, np.array([box], dtype=np.float64), np.array([1]), ignored))


def box_of_white(image: Tensor) -> list[int]:
    white = image.numpy().min(axis=0) > 200
    rows, columns = np.flatnonzero(white.any(axis=1)), np.flatnonzero(white.any(axis=0))
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


def test_a_mirrored_box_by_hand() -> None:
    turned = mirrored(marked(10, 6, (1, 2, 4, 5), np.array([[0.0, 0, 2.5, 6]])))
    assert turned.boxes.tolist() == [[6, 2, 9, 5]]
    assert turned.ignored.tolist() == [[7.5, 0, 10, 6]]
    assert box_of_white(turned.image) == [6, 2, 9, 5]


@pytest.mark.parametrize(
    ("part", "boxes", "ignored"),
    [
        ((0, 0, 10, 6), [[1, 2, 4, 5]], []),
        ((-2, -1, 8, 5), [[3, 3, 6, 6]], []),  # moved, nothing cut off
        ((2, 0, 10, 6), [[0, 2, 2, 5]], []),  # two of three columns are left
        ((3, 0, 10, 6), [], [[0, 2, 1, 5]]),  # one of three
        ((4, 0, 10, 6), [], []),  # nothing
    ],
)
def test_a_window_by_hand(part: tuple[int, int, int, int], boxes: list[list[int]], ignored: list[list[int]]) -> None:
    shown = window(marked(10, 6, (1, 2, 4, 5)), part)
    assert shown.image.shape[1:] == (part[3] - part[1], part[2] - part[0])
    assert shown.boxes.tolist() == boxes
    assert len(shown.labels) == len(boxes)
    assert shown.ignored.tolist() == ignored


def test_brightness_by_hand() -> None:
    example = marked(10, 6, (1, 2, 4, 5))
    assert set(np.unique(brightened(example, 0.5).image)) == {0, 127}
    assert set(np.unique(brightened(example, 1.5).image)) == {0, 255}


@settings(max_examples=80)
@given(
    seed=st.integers(0, 10_000),
    zoom=st.floats(0, 0.6),
    flip=st.booleans(),
    x=st.integers(0, 40),
    y=st.integers(0, 30),
    w=st.integers(4, 20),
    h=st.integers(4, 20),
)
def test_a_box_frames_its_pixels_after_any_change(
    seed: int, zoom: float, flip: bool, x: int, y: int, w: int, h: int
) -> None:
    example = marked(64, 52, (x, y, x + w, y + h))
    changed = augmented(example, np.random.default_rng(seed), flip=flip, zoom=zoom, gain=0.1)
    found = [*changed.boxes.tolist(), *changed.ignored.tolist()]
    white = (changed.image.min(dim=0).values > 200).any()
    assert len(found) == (1 if white else 0)
    if found:
        assert box_of_white(changed.image) == found[0]
    height, width = changed.image.shape[1:]
    # The detector brings both to one size: only the shape must be that of the image.
    assert abs(width / height - 64 / 52) < 0.1


def test_both_coins_are_thrown() -> None:
    example = marked(10, 6, (1, 2, 4, 5))
    changed = [augmented(example, np.random.default_rng(n), flip=True, zoom=0, gain=0) for n in range(40)]
    turned = sum(result.boxes[0, 0] == 6 for result in changed)
    assert 8 <= turned <= 32
    never = [augmented(example, np.random.default_rng(n), flip=False, zoom=0, gain=0) for n in range(40)]
    assert all(result.boxes[0, 0] == 1 for result in never)
