"""Boxes go where their pixels go."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsloc.detection.augmentation import Example, augmented, brightened, mirrored, window


def marked(width: int, height: int, box: tuple[int, int, int, int]) -> Example:
    """A black image with a white box, which is its object."""
    x0, y0, x1, y1 = box
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[y0:y1, x0:x1] = 255
    return Example(pixels, np.array([box], dtype=np.float64), np.array([1]), np.zeros((0, 4)))


def box_of_white(pixels: np.ndarray) -> list[int]:
    white = pixels.min(axis=2) > 200
    rows, columns = np.flatnonzero(white.any(axis=1)), np.flatnonzero(white.any(axis=0))
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


def test_a_mirrored_box_by_hand() -> None:
    example = marked(10, 6, (1, 2, 4, 5))
    turned = mirrored(Example(example.pixels, example.boxes_xyxy, example.classes, np.array([[0.0, 0, 2.5, 6]])))
    assert turned.boxes_xyxy.tolist() == [[6, 2, 9, 5]]
    assert turned.ignored_xyxy.tolist() == [[7.5, 0, 10, 6]]
    assert box_of_white(turned.pixels) == [6, 2, 9, 5]


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
    assert shown.pixels.shape[:2] == (part[3] - part[1], part[2] - part[0])
    assert shown.boxes_xyxy.tolist() == boxes
    assert len(shown.classes) == len(boxes)
    assert shown.ignored_xyxy.tolist() == ignored


def test_brightness_by_hand() -> None:
    example = marked(10, 6, (1, 2, 4, 5))
    assert set(np.unique(brightened(example, 0.5).pixels)) == {0, 128}
    assert set(np.unique(brightened(example, 1.5).pixels)) == {0, 255}


@settings(deadline=None, max_examples=80)
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
    found = [*changed.boxes_xyxy.tolist(), *changed.ignored_xyxy.tolist()]
    white = (changed.pixels.min(axis=2) > 200).any()
    assert len(found) == (1 if white else 0)
    if found:
        assert box_of_white(changed.pixels) == found[0]
    height, width = changed.pixels.shape[:2]
    # The detector brings both to one size: only the shape must be that of the image.
    assert abs(width / height - 64 / 52) < 0.1


def test_both_coins_are_thrown() -> None:
    example = marked(10, 6, (1, 2, 4, 5))
    changed = [augmented(example, np.random.default_rng(n), flip=True, zoom=0, gain=0) for n in range(40)]
    turned = sum(result.boxes_xyxy[0, 0] == 6 for result in changed)
    assert 8 <= turned <= 32
    never = [augmented(example, np.random.default_rng(n), flip=False, zoom=0, gain=0) for n in range(40)]
    assert all(result.boxes_xyxy[0, 0] == 1 for result in never)
