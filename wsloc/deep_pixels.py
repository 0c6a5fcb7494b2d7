"""Pixels of 16 bits, to be shown in 8.

Cameras and scanners of 10, 12 or 14 bits write their values into 16 as they are, and no format says so reliably. The
largest value tells: divided by 257, as 16 bits would be, those of 12 bits would all be nearly black.
"""

from __future__ import annotations

import logging

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

_log = logging.getLogger(__name__)
_ORIENTATION = 274


def to_8_bits(values: NDArray[np.uint16], name: str) -> NDArray[np.uint8]:
    """Values scaled so that the largest of 8, 10, 12, 14 or 16 bits becomes 255.

    The fewest bits that hold the largest value are taken; where they are not 16, the log says so.

    Args:
        values: ``(H, W)``, or ``(H, W, C)`` with three or four channels; the fourth is alpha, which has 16 bits in any
            case.
        name: of the image, for the log.
    """
    has_alpha = values.ndim == 3 and values.shape[2] == 4
    colors = values[..., :-1] if has_alpha else values
    largest = int(colors.max())
    bits = next((bits for bits in (8, 10, 12, 14) if 0 < largest < 2**bits), 16)
    if bits < 16:
        _log.info("%s: 16-bit pixels of %d-bit values, scaled as such", name, bits)
    scaled = (values * (255 / (2**bits - 1))).round()
    if has_alpha:
        scaled[..., -1] = (values[..., -1] / 257).round()
    shown: NDArray[np.uint8] = scaled.astype(np.uint8)
    return shown


def read_deep_colors(image: Image.Image, name: str) -> Image.Image | None:
    """A PNG or TIFF image of 16 bits per color in 8 bits, upright; None for any other, of which Pillow loses nothing.

    Args:
        image: as Pillow opened it from memory, not yet decoded: it would keep the upper 8 bits alone.
        name: of the image, for the log.
    """
    if not isinstance(image, PngImageFile | TiffImageFile) or image.fp is None:
        return None
    raw_modes = [tile.args if isinstance(tile.args, str) else tile.args[0] for tile in image.tile if tile.args]
    if not any(";16" in str(mode) for mode in raw_modes):
        return None
    place = image.fp.tell()
    image.fp.seek(0)
    content = np.frombuffer(image.fp.read(), dtype=np.uint8)
    image.fp.seek(place)
    orientation = image.getexif().get(_ORIENTATION, 1)
    # OpenCV's versions differ in whether they turn a TIFF image, and in what they make of a transparent color.
    if "transparency" in image.info or (orientation != 1 and isinstance(image, TiffImageFile)):
        return None
    values = cv2.imdecode(content, cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype != np.uint16 or values.shape[2:] not in ((3,), (4,)):
        return None
    order = [2, 1, 0, 3][: values.shape[2]]
    shown = Image.fromarray(to_8_bits(values[..., order].astype(np.uint16), name))
    shown.getexif()[_ORIENTATION] = orientation
    return ImageOps.exif_transpose(shown)
