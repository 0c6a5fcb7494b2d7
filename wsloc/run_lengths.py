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
    runs: NDArray[np.int64] | None = None
    if isinstance(counts, str):
        runs = _decompressed(counts)
    elif isinstance(counts, list) and all(type(count) is int and 0 <= count <= pixels for count in counts):
        runs = np.array(counts, dtype=np.int64)
    # Seen as unsigned, a negative length is a large one.
    fills = runs is not None and runs.view(np.uint64).max(initial=0) <= pixels and runs.sum() == pixels
    return runs if fills else None


def expand(runs: NDArray[np.int64], size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask ``(H, W)`` of runs that fill it."""
    height, width = size_hw
    is_object = np.zeros(len(runs), dtype=bool)
    is_object[1::2] = True
    return is_object.repeat(runs).reshape(width, height).T


def _decompressed(text: str) -> NDArray[np.int64] | None:
    """Five bits per character; the fourth run and later ones as changes to the run before the last."""
    codes = np.frombuffer(text.encode(errors="surrogatepass"), dtype=np.uint8) - np.uint8(ord("0"))
    if not codes.size or codes.max() >= 64 or codes[-1] & 0x20:
        return None
    ends = np.flatnonzero(codes < 0x20)
    starts = np.concatenate([[0], ends[:-1] + 1])
    shifts = 5 * (np.arange(len(codes)) - starts.repeat(ends - starts + 1))
    runs = np.add.reduceat((codes & 0x1F).astype(np.int64) << shifts, starts)
    runs -= (codes[ends] & 0x10).astype(np.int64) << (shifts[ends] + 1)
    for every_other in (runs[1::2], runs[2::2]):
        every_other.cumsum(out=every_other)
    return runs
