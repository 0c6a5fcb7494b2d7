"""Masks as COCO's run lengths: runs of background and object in turn, down the columns.

They are expanded here: some versions of pycocotools read past the end of those that do not fill the image.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_masks

from wsloc.errors import ItemError
from wsloc.images import MAX_PIXELS


def encode(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """A mask ``(H, W)`` as compressed run lengths: ``size``, height and width, and ``counts``, text."""
    encoded = coco_masks.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": list(mask.shape), "counts": encoded["counts"].decode("ascii")}


def decode(mask_rle: Mapping[str, Any]) -> NDArray[np.bool_]:
    """The mask ``(H, W)`` of compressed run lengths, as records hold them.

    Raises:
        ItemError: if they are damaged.
    """
    size, counts = mask_rle.get("size"), mask_rle.get("counts")
    if not isinstance(size, list) or len(size) != 2 or any(type(side) is not int or side < 1 for side in size):
        raise ItemError("the run lengths of its mask are damaged: they have no height and width")
    height, width = size
    runs = read_counts(counts, height * width) if isinstance(counts, str) and height * width <= MAX_PIXELS else None
    if runs is None:
        raise ItemError("the run lengths of its mask are damaged: they do not fill the image")
    return expand(runs, (height, width))


def decode_at(mask_rle: Mapping[str, Any], size_wh: tuple[int, int]) -> NDArray[np.bool_]:
    """The same mask, which covers the whole image at any resolution, at the image's by the nearest pixel.

    Raises:
        ItemError: as :func:`decode`.
    """
    resized = cv2.resize(decode(mask_rle).view(np.uint8), size_wh, interpolation=cv2.INTER_NEAREST_EXACT)
    return resized.astype(bool)


def read_counts(counts: object, pixels: int) -> NDArray[np.int64] | None:
    """The lengths of the runs ``(R,)``, from text or a list; None if they are malformed or do not fill the image."""
    if isinstance(counts, str):
        counts = _decompressed(counts)
    if not isinstance(counts, list) or any(type(count) is not int or count < 0 for count in counts):
        return None
    return np.array(counts, dtype=np.int64) if sum(counts) == pixels else None


def expand(runs: NDArray[np.int64], size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask ``(H, W)`` of runs that fill it."""
    height, width = size_hw
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T


def _decompressed(text: str) -> list[int] | None:
    """Five bits per character; the fourth run and later ones as changes to the run before the last."""
    counts: list[int] = []
    value, shift = 0, 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64:
            return None
        value |= (code & 0x1F) << shift
        shift += 5
        if code & 0x20:
            continue
        if code & 0x10:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value, shift = 0, 0
    return counts if shift == 0 else None
