from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from wsloc.boxes import mask_box
from wsloc.datasets.frames import Frame, frame_of, header_of, place_boxes, turn_masks
from wsloc.errors import ItemError
from wsloc.images import ImageHeader

EXIF_ORIENTATION = 274


@pytest.mark.parametrize(
    ("annotated_wh", "stored_wh", "orientation", "expected"),
    [
        ((40, 30), (40, 30), 1, (True, True)),
        (None, (40, 30), 1, (True, True)),
        ((30, 40), (40, 30), 1, (True, True)),
        ((40, 30), (40, 30), 6, (True, True)),
        ((30, 40), (40, 30), 6, (False, True)),
        (None, (40, 30), 6, (True, False)),
        ((80, 60), (40, 30), 6, (True, False)),
        ((40, 40), (40, 40), 8, (True, False)),
        ((40, 30), (40, 30), 3, (True, False)),
    ],
)
def test_the_frame_is_told_by_the_size(
    annotated_wh: tuple[int, int] | None, stored_wh: tuple[int, int], orientation: int, expected: tuple[bool, bool]
) -> None:
    header = ImageHeader(stored_wh, orientation)
    is_stored, is_certain = expected
    found = Frame(stored_wh, orientation, is_certain) if is_stored else Frame(header.size_wh, 1, is_certain)
    assert frame_of(annotated_wh, header) == found


def test_boxes_are_cut_off_dropped_and_told_of() -> None:
    given_xyxy = [[1, 2, 5, 6], [-1, 0, 4, 4], [5, 5, 5, 9], [9, 0, 12.5, 3], [20, 0, 30, 5], [4, 4, 2, 6]]
    placed = place_boxes(given_xyxy, list("abcdef"), Frame((10, 8), 1), tolerance=1)
    assert placed.boxes_xyxy.tolist() == [[1, 2, 5, 6], [0, 0, 4, 4], [9, 0, 10, 3]]
    assert placed.kept.tolist() == [0, 1, 3]
    assert [sentence.split(" is ")[0].split(" reaches ")[0] for sentence in placed.problems] == [
        "the box of a c",
        "the box of a d",
        "the box of a e",
        "the box of a f",
    ]
    assert "over the border" in placed.problems[1]
    assert all("left out" in placed.problems[index] for index in (0, 2, 3))


def test_no_boxes_are_no_problem() -> None:
    placed = place_boxes([], [], Frame((10, 8), 6))
    assert placed.boxes_xyxy.shape == (0, 4)
    assert (placed.kept.tolist(), placed.problems) == ([], ())


def test_an_unreadable_image_has_the_size_of_its_annotation(tmp_path: Path) -> None:
    assert header_of(tmp_path / "none.jpg", (7, 5)) == ImageHeader((7, 5), 1, is_assumed=True)
    with pytest.raises(ItemError, match="does not exist"):
        header_of(tmp_path / "none.jpg", None)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_masks_turn_as_pillow_turns_images(orientation: int) -> None:
    pixels = np.random.default_rng(orientation).random((3, 5)) < 0.5
    image = Image.fromarray(pixels.astype(np.uint8) * 255)
    image.getexif()[EXIF_ORIENTATION] = orientation
    expected = np.asarray(ImageOps.exif_transpose(image)) > 0
    np.testing.assert_array_equal(turn_masks(pixels, orientation), expected)
    np.testing.assert_array_equal(turn_masks(np.stack([pixels, ~pixels]), orientation), [expected, ~expected])


@given(
    orientation=st.integers(1, 8),
    corners=st.tuples(st.integers(0, 8), st.integers(0, 5), st.integers(1, 4), st.integers(1, 4)),
)
def test_the_box_of_a_turned_mask_is_the_turned_box(orientation: int, corners: tuple[int, int, int, int]) -> None:
    x, y, width, height = corners
    mask = np.zeros((9, 12), dtype=bool)
    mask[y : y + height, x : x + width] = True
    placed = place_boxes([mask_box(mask)], ["a"], Frame((12, 9), orientation))
    assert placed.boxes_xyxy.tolist() == [list(mask_box(turn_masks(mask, orientation)))]
