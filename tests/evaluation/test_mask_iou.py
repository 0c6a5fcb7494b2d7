"""IoU of masks given as run lengths."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools import mask as coco_masks

from wsloc.errors import ItemError
from wsloc.evaluation.map_masks import mask_iou


def _rle(mask: NDArray[np.bool_]) -> dict[str, Any]:
    encoded = coco_masks.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": list(mask.shape), "counts": encoded["counts"].decode()}


def _rectangle(x0: int, y0: int, x1: int, y1: int, size_wh: tuple[int, int]) -> NDArray[np.bool_]:
    mask = np.zeros(size_wh[::-1], dtype=bool)
    mask[y0:y1, x0:x1] = True
    return mask


def test_by_hand_with_the_best_of_two() -> None:
    found = _rectangle(0, 0, 2, 2, (4, 4))
    true = np.stack([_rectangle(0, 0, 4, 2, (4, 4)), _rectangle(1, 1, 4, 4, (4, 4))])
    assert mask_iou(_rle(found), true) == 4 / 8
    assert mask_iou(_rle(found), true[1:]) == 1 / 12
    assert mask_iou(_rle(found), true[1:, ::-1]) == 2 / 11  # rows of the mask are rows of the image


def test_the_mask_is_brought_to_the_image() -> None:
    found = _rectangle(1, 0, 3, 1, (4, 2))
    assert mask_iou(_rle(found), _rectangle(100, 0, 300, 50, (400, 100))[None]) == 1
    assert mask_iou(_rle(found), _rectangle(100, 0, 300, 100, (400, 100))[None]) == 0.5


def test_halves_of_pixels_fall_alike_on_both_sides() -> None:
    found = np.random.default_rng(0).random((30, 41)) < 0.5
    true = np.random.default_rng(1).random((1, 100, 97)) < 0.5
    assert mask_iou(_rle(found), true) == mask_iou(_rle(found[:, ::-1]), true[..., ::-1])


def test_two_empty_masks_have_iou_0() -> None:
    empty = _rectangle(0, 0, 0, 0, (4, 4))
    assert mask_iou(_rle(empty), empty[None]) == 0


@pytest.mark.parametrize(
    "rle",
    [
        {},
        {"size": [4, 4]},
        {"size": [4, 4], "counts": ""},
        {"size": [4, 4], "counts": "0"},
        {"size": [4, 4], "counts": "zzz"},
        {"size": [0, 4], "counts": "0"},
        {"size": ["a", 4], "counts": "0"},
        {"size": [4, 4], "counts": [3, 4, 9]},
    ],
)
def test_damaged_run_lengths_are_told(rle: dict[str, Any]) -> None:
    with pytest.raises(ItemError, match="damaged"):
        mask_iou(rle, np.ones((1, 4, 4), dtype=bool))
