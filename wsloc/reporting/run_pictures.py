"""Pictures of chosen items: photographs of the data set, and the layers that the run kept."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsloc.errors import ItemError
from wsloc.images import read_image
from wsloc.ordered import ordered_map
from wsloc.records import ImageRecord, Pair
from wsloc.visualization.layers import shrink

PAGE_BYTES = 15_000_000
"""Limit of all pictures of a page together, as text."""
_LARGEST_SIDE = 400
_LARGEST_PHOTO = 40_000
_QUALITIES = (78, 68, 55, 40, 25)


@dataclass(frozen=True, slots=True)
class Photo:
    """A photograph as a data URI with its original size; or, with an empty URI, why there is none."""

    uri: str
    size_wh: tuple[int, int]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Pictures:
    """Pictures of some items.

    Attributes:
        photos: by image id.
        layers: by item ``saliency``, ``seeds`` and ``mask`` as data URIs; an item that has none has no entry.
        reason: why an item with a box may have no layers; one sentence.
    """

    photos: dict[str, Photo] = field(default_factory=dict)
    layers: dict[Pair, Mapping[str, str]] = field(default_factory=dict)
    reason: str = ""


def take_photos(
    images: Sequence[ImageRecord], max_bytes: int, pool: Executor | None = None
) -> Iterator[tuple[str, Photo]]:
    """Image ids with their photographs, in order.

    Args:
        images: to be shown.
        max_bytes: of one photograph, as text; the smallest picture is taken where none is small enough.
        pool: threads that read.
    """
    photos = ordered_map(pool, partial(_photo, max_bytes=max_bytes), images, window=16)
    return ((image.image_id, photo) for image, photo in zip(images, photos, strict=True))


def photo_bytes(images: int, layers: Iterable[Mapping[str, str]]) -> int:
    """How many bytes, as text, each of some photographs may take in addition to some layers."""
    left = PAGE_BYTES - sum(len(uri) for of_item in layers for uri in of_item.values())
    return min(_LARGEST_PHOTO, left // max(images, 1))


def layer_uris(layers: Mapping[str, bytes]) -> dict[str, str]:
    """WebP pictures as data URIs."""
    return {name: _data_uri("webp", content) for name, content in layers.items()}


def encode_photo(image_rgb: NDArray[np.uint8], max_bytes: int) -> str:
    """A photograph, uint8 ``(H, W, 3)``, as the best JPEG that is small enough, as a data URI."""
    picture, side = Image.fromarray(image_rgb), _LARGEST_SIDE
    while True:
        # Less quality first, then a smaller picture.
        small = shrink(picture, side, Image.Resampling.LANCZOS, reducing_gap=2.0)
        for quality in _QUALITIES:
            content = io.BytesIO()
            small.save(content, format="JPEG", quality=quality)
            uri = _data_uri("jpeg", content.getvalue())
            if len(uri) <= max_bytes:
                return uri
        if side <= 32:
            return uri
        side = round(0.75 * side)


def _photo(image: ImageRecord, max_bytes: int) -> Photo:
    try:
        pixels = read_image(image.source)
    except ItemError as error:
        return Photo("", (0, 0), f"No picture: {str(error).rstrip('.')}.")
    return Photo(encode_photo(pixels, max_bytes), (pixels.shape[1], pixels.shape[0]))


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64," + base64.b64encode(content).decode("ascii")
