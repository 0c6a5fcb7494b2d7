"""Pictures as data URIs, small enough that a page of many stays light.

A page holds a photograph once. Map, seeds and mask are transparent layers, and boxes are drawn by the browser, so that
four pictures of an item weigh little more than one.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsloc.pipeline.results import Trace
from wsloc.visualization import color_map, stretch_map
from wsloc.visualization.heatmap import SEED_COLORS

PAGE_BYTES = 15_000_000
"""What all pictures of a page together may take, as text."""
_LARGEST_SIDE = 400
_LARGEST_PHOTO = 40_000
_QUALITIES = (78, 68, 55, 40, 25)
_LAYER_SIDE = 160
_MAP_SIDE = 112
_OUTSIDE = (0, 0, 0, 170)
_OUTLINE = (255, 255, 255, 255)
_SEED_OPACITY = 190


@dataclass(frozen=True, slots=True)
class Layers:
    """How a box came about, as data URIs of transparent pictures that cover the whole image."""

    saliency: str
    seeds: str
    mask: str


def photo_bytes(images: int, items: int) -> int:
    """How many bytes, as text, each of some photographs may take beside the layers of some items."""
    left = PAGE_BYTES - items * 3 * _layer_bytes(items)
    return min(_LARGEST_PHOTO, left // max(images, 1))


def _layer_bytes(items: int) -> int:
    return PAGE_BYTES // (7 * max(items, 1))


def encode_photo(image_rgb: NDArray[np.uint8], max_bytes: int) -> str:
    """A photograph as the best WebP that is small enough.

    Args:
        image_rgb: uint8 ``(H, W, 3)``.
        max_bytes: of the data URI; the smallest picture is taken where none is small enough.
    """
    return _encode_within(Image.fromarray(image_rgb), _LARGEST_SIDE, max_bytes)


def encode_layers(trace: Trace, items: int) -> Layers:
    """The layers of one of so many items."""
    most = _layer_bytes(items)
    return Layers(
        _encode_within(Image.fromarray(_saliency_rgba(trace.saliency)), _MAP_SIDE, most),
        _encode_within(Image.fromarray(_seeds_rgba(trace.trimap)), _LAYER_SIDE, most, lossless=True),
        _encode_within(Image.fromarray(_mask_rgba(trace.mask)), _LAYER_SIDE, most, lossless=True),
    )


def _saliency_rgba(saliency: NDArray[np.float32]) -> NDArray[np.uint8]:
    """In color from its minimum to its 99th percentile; clear where undecided."""
    undecided = np.isnan(saliency)
    alpha = np.where(undecided, 0, 255).astype(np.uint8)
    return np.dstack([color_map(stretch_map(saliency)), alpha])


def _seeds_rgba(trimap: NDArray[np.uint8]) -> NDArray[np.uint8]:
    shown = np.zeros((*trimap.shape, 4), dtype=np.uint8)
    for code, color in SEED_COLORS.items():
        shown[trimap == code] = (*color, _SEED_OPACITY)
    return shown


def _mask_rgba(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """All but the mask darkened, and its outline."""
    shown = np.zeros((*mask.shape, 4), dtype=np.uint8)
    shown[~mask] = _OUTSIDE
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(shown, outlines, -1, _OUTLINE, 1), dtype=np.uint8)


def _encode_within(picture: Image.Image, longer_side: int, max_bytes: int, *, lossless: bool = False) -> str:
    """Less quality first, then a smaller picture."""
    side = longer_side
    while True:
        small = _shrunk(picture, side, lossless=lossless)
        for quality in _QUALITIES[-1:] if lossless else _QUALITIES:
            uri = _data_uri(small, quality, lossless=lossless)
            if len(uri) <= max_bytes:
                return uri
        if side <= 32:
            return uri
        side = round(0.75 * side)


def _shrunk(picture: Image.Image, longer_side: int, *, lossless: bool) -> Image.Image:
    zoom = longer_side / max(picture.size)
    if zoom >= 1:
        return picture
    width, height = (max(1, round(side * zoom)) for side in picture.size)
    # Colors of seeds are names, which must not mix.
    return picture.resize((width, height), Image.Resampling.NEAREST if lossless else Image.Resampling.LANCZOS)


def _data_uri(picture: Image.Image, quality: int, *, lossless: bool) -> str:
    content = io.BytesIO()
    picture.save(content, format="WEBP", quality=quality, lossless=lossless, method=4)
    return "data:image/webp;base64," + base64.b64encode(content.getvalue()).decode("ascii")
