"""The published arithmetic of Choe et al. 2020: their own test cases, hand-worked ones, and a slow transcription."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from wsloc.evaluation.wsol import (
    SIDE,
    THRESHOLDS,
    contour_boxes,
    curve_of_map,
    inclusive_iou,
    resized_boxes,
    score_map,
)

INCLUSIVE = np.array([0.0, 0.0, 1.0, 1.0])
"""What makes boxes of the tables half-open."""


def _largest_box(saliency: ArrayLike, threshold: float) -> list[int]:
    scores = (np.asarray(saliency, dtype=np.float64) * 255).astype(np.uint8)
    boxes, areas = contour_boxes((scores > int(threshold * int(scores.max()))).astype(np.uint8))
    return list(boxes[areas.argmax()])


# The maps and boxes of the published evaluation_test.py.
UNIMODAL = [[0, 0, 0, 0, 0], [0, 0.4, 0.4, 0.4, 0.6], [0, 0.4, 1, 0.8, 0.6], [0, 0.4, 0.4, 0.4, 0.6]]
MULTIMODAL = [[0.4, 0, 0.2, 0.2, 0.2], [0.4, 0.4, 0, 0.4, 0], [0, 0, 0, 0.4, 0], [1, 0.6, 0.8, 0.2, 0.2]]


@pytest.mark.parametrize(
    ("saliency", "boxes"),
    [
        (np.zeros((3, 3)), [[0, 0, 0, 0]] * 5),
        (UNIMODAL, [[1, 1, 4, 3], [1, 1, 4, 3], [2, 1, 4, 3], [2, 2, 4, 3], [2, 2, 3, 3]]),
        (MULTIMODAL, [[0, 0, 4, 3], [0, 0, 2, 2], [0, 3, 3, 3], [2, 3, 3, 3], [0, 3, 1, 3]]),
    ],
)
def test_boxes_of_the_published_tests(saliency: ArrayLike, boxes: list[list[int]]) -> None:
    assert [_largest_box(saliency, threshold) for threshold in np.arange(0, 1, 0.2)] == boxes


def test_iou_of_the_published_tests() -> None:
    eye = np.array([[1, 1, 3, 3], [4, 4, 5, 5]])
    assert np.array_equal(inclusive_iou(eye, eye), np.eye(2))
    assert inclusive_iou(np.array([[1, 2, 5, 6]]), np.array([[3, 1, 4, 5]]))[0, 0] == 8 / 27
    assert np.array_equal(inclusive_iou(np.zeros((3, 4), int), np.zeros((5, 4), int)), np.ones((3, 5)))


@pytest.mark.parametrize(
    ("box", "size_wh", "expected"),
    [
        # ILSVRC val2/995/0.jpeg of the published tables: 156,163,318,230 in 500 x 375; both corners inside.
        ((156, 163, 319, 231), (500, 375), [69, 97, 142, 137]),
        ((0, 0, 500, 375), (500, 375), [0, 0, 223, 223]),
        ((0, 0, 501, 376), (500, 375), [0, 0, 224, 224]),  # over the border, as some tables have it
        ((3, 5, 4, 6), (224, 224), [3, 5, 3, 5]),
        ((3.2, 5.0, 3.9, 6.1), (224, 224), [3, 5, 3, 6]),  # every pixel that is touched
    ],
)
def test_true_boxes_become_whole_pixels_of_224(box: tuple[float, ...], size_wh: tuple[int, int], expected: list[int]):
    assert resized_boxes(np.array([box], dtype=np.float64), size_wh).tolist() == [expected]


def test_half_open_boxes_of_the_tables_give_their_numbers_back() -> None:
    generator = np.random.default_rng(0)
    width, height = 487, 333
    corner = generator.integers(0, 300, (500, 2))
    table = np.concatenate([corner, corner + generator.integers(0, 180, (500, 2))], axis=1)
    expected = [[int(x * 224.0 / side) for x, side in zip(row, (width, height) * 2, strict=True)] for row in table]
    assert resized_boxes(table + INCLUSIVE, (width, height)).tolist() == expected


def test_by_hand() -> None:
    # A blob of 10 x 20 pixels: as a predicted box it is one column and one row too large.
    saliency = np.zeros((SIDE, SIDE), dtype=np.float32)
    saliency[40:60, 30:40] = 2
    curve = curve_of_map(saliency, np.array([[30.0, 40.0, 40.0, 60.0]]), (SIDE, SIDE))
    assert np.array_equal(curve.largest, np.full(1000, 200 / (11 * 21)))
    # A second, larger one of half the height, which ends at the border: int(t * 255) reaches 127 at t = 0.499.
    saliency[200:, 204:] = 1
    curve = curve_of_map(saliency, np.array([[204.0, 200.0, 224.0, 224.0]]), (SIDE, SIDE))
    assert np.array_equal(curve.largest, np.where(THRESHOLDS < 127 / 255, 1, 0))
    assert np.array_equal(curve.best, curve.largest)
    curve = curve_of_map(saliency, np.array([[30.0, 40.0, 40.0, 60.0]]), (SIDE, SIDE))
    assert np.array_equal(curve.largest, np.where(THRESHOLDS < 127 / 255, 0, 200 / 231))
    assert np.array_equal(curve.best, np.full(1000, 200 / 231))


def test_the_best_contour_may_be_that_of_a_hole() -> None:
    saliency = np.zeros((SIDE, SIDE), dtype=np.float32)
    saliency[10:110, 10:110] = 1
    saliency[40:80, 40:80] = 0
    # The contour of the hole runs through the pixels around it, columns and rows 39 to 80; its box ends past them.
    true = np.array([[39.0, 39.0, 82.0, 82.0]])
    curve = curve_of_map(saliency, true, (SIDE, SIDE))
    assert curve.best[500] == 1
    assert curve.largest[500] == 43**2 / 101**2


@pytest.mark.parametrize("value", [0.0, 7.0, np.nan])
def test_a_flat_map_gives_the_box_of_the_first_pixel(value: float) -> None:
    curve = curve_of_map(np.full((5, 5), value, dtype=np.float32), np.array([[0.0, 0.0, 2.0, 5.0]]), (224, 224))
    assert np.array_equal(curve.largest, np.full(1000, 1 / 10))
    assert np.array_equal(curve.best, np.full(1000, 1 / 10))


def test_undecided_pixels_are_the_lowest() -> None:
    saliency = np.random.default_rng(0).random((SIDE, SIDE)).astype(np.float32)
    drawn = saliency.copy()
    drawn[:50] = np.nan
    saliency[:50] = saliency[50:].min()
    assert np.array_equal(score_map(drawn), score_map(saliency))


def _slow_curve(
    saliency: NDArray[np.floating], true: list[tuple[int, ...]], every_contour: bool
) -> list[float]:  # the published algorithm in other words: one threshold, one contour after the other
    scores = saliency.astype(np.float64)
    if scores.shape != (224, 224):
        scores = cv2.resize(scores, (224, 224), interpolation=cv2.INTER_CUBIC)
    scores = scores - scores.min()
    gray = (scores / scores.max() * 255).astype(np.uint8)
    curve = []
    for threshold in np.arange(0, 1, 0.001):
        binary = cv2.threshold(gray, int(threshold * gray.max()), 255, cv2.THRESH_BINARY)[1]
        contours = cv2.findContours(binary, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[0]
        if not every_contour and contours:
            contours = [max(contours, key=cv2.contourArea)]
        found = []
        for contour in contours:
            x, y, w, h = cv2.boundingRect(contour)
            found.append((x, y, min(x + w, 223), min(y + h, 223)))
        best = 0.0
        for ax0, ay0, ax1, ay1 in found or [(0, 0, 0, 0)]:
            for bx0, by0, bx1, by1 in true:
                w, h = min(ax1, bx1) - max(ax0, bx0) + 1, min(ay1, by1) - max(ay0, by0) + 1
                shared = max(0, w) * max(0, h)
                whole = (ax1 - ax0 + 1) * (ay1 - ay0 + 1) + (bx1 - bx0 + 1) * (by1 - by0 + 1) - shared
                best = max(best, shared / whole)
        curve.append(best)
    return curve


@pytest.mark.parametrize(
    ("seed", "shape", "dtype"),
    [(0, (7, 7), "float32"), (1, (14, 14), "float64"), (2, (28, 40), "float32"), (3, (60, 60), "float16")],
)
def test_against_the_slow_transcription_exactly(seed: int, shape: tuple[int, int], dtype: str) -> None:
    generator = np.random.default_rng(seed)
    saliency = generator.random(shape).astype(dtype)
    table = [(60, 33, 240, 200), (0, 0, 499, 333)][: 1 + seed % 2]
    true = [(int(a * 224 / 500), int(b * 224 / 334), int(c * 224 / 500), int(d * 224 / 334)) for a, b, c, d in table]
    curve = curve_of_map(saliency, table + INCLUSIVE, (500, 334))
    assert curve.largest.tolist() == _slow_curve(saliency, true, every_contour=False)
    assert curve.best.tolist() == _slow_curve(saliency, true, every_contour=True)


def test_noise_at_full_size_exactly() -> None:
    """Thousands of contours, many of equal area."""
    generator = np.random.default_rng(4)
    saliency = np.round(generator.standard_t(4, (SIDE, SIDE)).astype(np.float32) ** 2, 1)
    curve = curve_of_map(saliency, np.array([[50.0, 60, 120, 90]]), (SIDE, SIDE))
    assert curve.largest.tolist() == _slow_curve(saliency, [(50, 60, 119, 89)], every_contour=False)


def test_scale_and_offset_of_the_map_do_not_matter() -> None:
    saliency = np.random.default_rng(5).integers(0, 500, (SIDE, SIDE)).astype(np.float32)
    saliency = cv2.boxFilter(saliency, -1, (9, 9), normalize=False)  # whole numbers still
    true = np.array([[10.0, 20, 150, 160]])
    before, after = (curve_of_map(m, true, (SIDE, SIDE)) for m in (saliency, saliency * 7 - 300))
    assert np.array_equal(before.largest, after.largest)
    assert np.array_equal(before.best, after.best)
