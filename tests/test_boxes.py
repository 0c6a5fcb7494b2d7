from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps
from pycocotools import mask as coco_mask
from torchvision.ops import box_iou

from wsloc import boxes

EXIF_ORIENTATION = 274
whole = st.integers(min_value=0, max_value=200)


@st.composite
def whole_boxes(draw: st.DrawFn) -> tuple[int, int, int, int]:
    """A box of whole numbers, at least 1 px on each side."""
    x0, y0 = draw(whole), draw(whole)
    return x0, y0, x0 + draw(st.integers(1, 100)), y0 + draw(st.integers(1, 100))


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((0, 0, 4, 4), (0, 0, 4, 4), 1.0),
        ((0, 0, 4, 4), (2, 0, 6, 4), 8 / 24),
        ((0, 0, 4, 4), (1, 1, 3, 3), 4 / 16),
        ((0, 0, 4, 4), (3, 3, 5, 5), 1 / 19),
        ((0, 0, 4, 4), (4, 0, 8, 4), 0.0),  # half-open: an edge in common is no overlap
        ((0, 0, 4, 4), (10, 10, 12, 12), 0.0),
        ((0.5, 0, 1.5, 1), (1, 0, 2, 1), 0.5 / 1.5),
        ((2, 2, 2, 2), (2, 2, 2, 2), 0.0),
        ((0, 0, 4, 4), (3, 3, 1, 1), 0.0),  # inverted
    ],
)
def test_iou_by_hand(a: tuple[float, ...], b: tuple[float, ...], expected: float) -> None:
    assert boxes.iou_matrix(a, b) == pytest.approx(np.array([[expected]]))
    assert boxes.iou_matrix(b, a) == pytest.approx(np.array([[expected]]))


def test_iou_of_each_with_each() -> None:
    a, b = [(0, 0, 2, 2), (0, 0, 4, 1)], [(0, 0, 2, 2), (1, 0, 3, 2), (8, 8, 9, 9)]
    assert boxes.iou_matrix(a, b) == pytest.approx(np.array([[1, 2 / 6, 0], [2 / 6, 2 / 6, 0]]))
    assert boxes.iou_matrix([], b).shape == (0, 3)
    assert boxes.iou_matrix(a, np.zeros((0, 4))).shape == (2, 0)


@given(st.lists(whole_boxes(), min_size=1, max_size=6), st.lists(whole_boxes(), min_size=1, max_size=6))
def test_iou_is_that_of_torchvision(a: list[tuple[int, ...]], b: list[tuple[int, ...]]) -> None:
    reference = box_iou(torch.tensor(a, dtype=torch.float64), torch.tensor(b, dtype=torch.float64)).numpy()
    np.testing.assert_allclose(boxes.iou_matrix(a, b), reference, rtol=1e-12)


@given(whole_boxes(), whole_boxes())
def test_iou_is_the_overlap_of_the_painted_pixels(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    """Half-open: the box covers the columns x0 to x1 - 1, as a NumPy slice does."""
    painted = np.zeros((2, 301, 301), dtype=bool)
    for canvas, (x0, y0, x1, y1) in zip(painted, (a, b), strict=True):
        canvas[y0:y1, x0:x1] = True
    union = np.logical_or(*painted).sum()
    assert boxes.iou_matrix(a, b)[0, 0] == pytest.approx(np.logical_and(*painted).sum() / union)
    assert boxes.area(a)[0] == painted[0].sum()


@pytest.mark.parametrize(
    "wrong", [np.zeros(3), np.zeros(8), np.zeros((2, 5)), np.zeros((1, 2, 4)), [(0, 0, 1)], 7.0], ids=str
)
def test_other_shapes_are_refused_with_the_shape(wrong: object) -> None:
    with pytest.raises(ValueError, match=r"must have shape \(N, 4\) or \(4,\), not \("):
        boxes.as_boxes(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("right", [(0, 0, 1, 1), [(0, 0, 1, 1)], np.zeros((1, 4), dtype=np.float32)], ids=str)
def test_one_box_and_a_list_of_one_are_the_same(right: object) -> None:
    found = boxes.as_boxes(right)  # type: ignore[arg-type]
    assert found.shape == (1, 4)
    assert found.dtype == np.float64


@pytest.mark.parametrize("empty", [[], (), np.zeros((0, 4)), np.zeros(0)], ids=["list", "tuple", "0x4", "0"])
def test_no_box_has_shape_0_4(empty: object) -> None:
    assert boxes.as_boxes(empty).shape == (0, 4)  # type: ignore[arg-type]


def test_inverted_boxes_have_no_area() -> None:
    assert boxes.area([(0, 0, 3, 2), (3, 0, 0, 2), (3, 2, 0, 0), (1, 1, 1, 5)]).tolist() == [6, 0, 0, 0]


def test_voc_by_hand() -> None:
    """The pixel in column 3, row 5 (from 0) is 4, 6, 4, 6 in VOC, and (3, 5, 4, 6) here."""
    assert boxes.from_voc(4, 6, 4, 6) == (3, 5, 4, 6)
    assert boxes.to_voc((3, 5, 4, 6)) == (4, 6, 4, 6)
    assert boxes.from_voc(1, 1, 500, 375) == (0, 0, 500, 375)


@given(whole_boxes())
def test_voc_round_trip(box: tuple[int, int, int, int]) -> None:
    assert boxes.from_voc(*boxes.to_voc(box)) == box
    assert boxes.to_voc(boxes.from_voc(*box)) == box


@pytest.mark.parametrize(
    ("box", "written"),
    [
        ((0.4, 0.6, 9.6, 9.4), (1, 2, 10, 9)),
        ((0.2, 0.2, 0.4, 0.4), (1, 1, 1, 1)),
        ((7, 3, 7, 3), (8, 4, 8, 4)),
        ((7, 3, 2, 1), (8, 4, 8, 4)),
    ],
)
def test_voc_is_written_in_whole_numbers_of_at_least_one_pixel(
    box: tuple[float, ...], written: tuple[int, ...]
) -> None:
    found = boxes.to_voc(box)
    assert found == written
    assert all(type(value) is int for value in found)


@given(st.tuples(*[st.floats(0, 500) for _ in range(4)]))
def test_a_written_voc_box_is_never_empty(box: tuple[float, ...]) -> None:
    xmin, ymin, xmax, ymax = boxes.to_voc(box)
    assert xmax >= xmin >= 1
    assert ymax >= ymin >= 1


@given(st.lists(whole_boxes(), max_size=4))
def test_coco_round_trip(many: list[tuple[int, ...]]) -> None:
    np.testing.assert_array_equal(boxes.from_xywh(boxes.to_xywh(many)), boxes.as_boxes(many))


@pytest.mark.parametrize("box", [(2, 3, 7, 5), (0, 0, 1, 1), (0, 0, 9, 8)], ids=str)
def test_coco_boxes_are_those_of_pycocotools(box: tuple[int, int, int, int]) -> None:
    """The mask of known columns and rows has the known xywh and area in pycocotools."""
    x0, y0, x1, y1 = box
    mask = np.zeros((8, 9), dtype=np.uint8, order="F")
    mask[y0:y1, x0:x1] = 1
    encoded = coco_mask.encode(mask)
    np.testing.assert_array_equal(boxes.to_xywh(box)[0], coco_mask.toBbox(encoded))
    assert boxes.area(box)[0] == coco_mask.area(encoded)


@given(whole_boxes(), whole_boxes())
def test_iou_is_that_of_pycocotools(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    reference = coco_mask.iou(boxes.to_xywh(a), boxes.to_xywh(b), [0])
    np.testing.assert_allclose(boxes.iou_matrix(a, b), reference, rtol=1e-12)


def _bounding_box(white: NDArray[np.uint8]) -> list[int]:
    rows, columns = np.nonzero(white)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_turn_as_pillow_turns_the_pixels(orientation: int) -> None:
    pixels = np.zeros((7, 11), dtype=np.uint8)
    pixels[1:3, 4:9] = 255
    image = Image.fromarray(pixels)
    image.getexif()[EXIF_ORIENTATION] = orientation
    turned = np.asarray(ImageOps.exif_transpose(image))
    found = boxes.apply_exif_orientation((4, 1, 9, 3), (11, 7), orientation)
    assert found.tolist() == [_bounding_box(turned)]


@pytest.mark.parametrize("orientation", [0, 9, -1, 274])
def test_an_unknown_orientation_turns_nothing(orientation: int) -> None:
    assert boxes.apply_exif_orientation((4, 1, 9, 3), (11, 7), orientation).tolist() == [[4, 1, 9, 3]]


@given(whole_boxes(), st.integers(1, 8))
def test_turning_keeps_area_and_count(box: tuple[int, ...], orientation: int) -> None:
    turned = boxes.apply_exif_orientation([box, box], (400, 300), orientation)
    assert turned.shape == (2, 4)
    assert boxes.area(turned).tolist() == boxes.area([box, box]).tolist()


def test_no_box_can_be_turned() -> None:
    assert boxes.apply_exif_orientation([], (11, 7), 6).shape == (0, 4)


def test_scale_by_hand() -> None:
    assert boxes.scale((1, 2, 3, 4), (10, 20), (20, 10)).tolist() == [[2, 1, 6, 2]]


@given(whole_boxes(), whole_boxes())
def test_scaling_keeps_iou(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    before, after = (320, 213), (500, 333)
    scaled = boxes.iou_matrix(boxes.scale(a, before, after), boxes.scale(b, before, after))
    np.testing.assert_allclose(scaled, boxes.iou_matrix(a, b), rtol=1e-9)


@pytest.mark.parametrize(
    ("box", "inside"),
    [
        ((-3, -1, 12, 9), (0, 0, 10, 8)),
        ((2, 3, 4, 5), (2, 3, 4, 5)),
        ((-9, -9, -2, -2), (0, 0, 0, 0)),
        ((11, 2, 15, 4), (10, 2, 10, 4)),
    ],
)
def test_clip(box: tuple[int, ...], inside: tuple[int, ...]) -> None:
    assert boxes.clip(box, (10, 8)).tolist() == [list(inside)]


def test_baselines() -> None:
    assert boxes.centered((200, 100)) == pytest.approx(np.array([[30, 15, 170, 85]]))
    assert boxes.centered((200, 100), 0.5).tolist() == [[50, 25, 150, 75]]
    assert boxes.full_image((200, 100)).tolist() == [[0, 0, 200, 100]]
    iou = boxes.iou_matrix(boxes.centered((640, 427)), boxes.full_image((640, 427)))
    assert iou[0, 0] == pytest.approx(0.49)


def test_the_caller_keeps_its_boxes() -> None:
    given_boxes = np.array([[1.0, 2.0, 30.0, 40.0]])
    before = given_boxes.copy()
    boxes.clip(given_boxes, (10, 10))
    boxes.scale(given_boxes, (10, 10), (5, 5))
    boxes.to_xywh(given_boxes)
    boxes.from_xywh(given_boxes)
    boxes.apply_exif_orientation(given_boxes, (50, 50), 1)[:] = 0
    np.testing.assert_array_equal(given_boxes, before)
