"""The one image reader: every file becomes RGB uint8 with its EXIF orientation applied.

Rules for what is not 8-bit RGB:

- gray: the value in all three channels;
- 16-bit gray: divided by 257, so that 65535 becomes 255;
- palette and alpha: expanded, then laid over white;
- CMYK, YCbCr, LAB and HSV: converted by Pillow;
- floating point and 32-bit integers: refused, because their range is unknown.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import IMAGELENGTH, IMAGEWIDTH, TiffImageFile

from wsloc.errors import ItemError
from wsloc.records import Source

MAX_PIXELS = 100_000_000
MIN_SIDE = 8
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"})
_EXIF_ORIENTATION = 274


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """The header of an image file, read before its pixels are decoded.

    Attributes:
        stored_wh: width and height as stored, before EXIF transposition.
        orientation: EXIF orientation, 1 where the file has none.
        is_assumed: whether it is what an annotation says of an image that cannot be read.
    """

    stored_wh: tuple[int, int]
    orientation: int
    is_assumed: bool = False

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height after EXIF transposition."""
        width, height = self.stored_wh
        return (height, width) if self.orientation in (5, 6, 7, 8) else (width, height)


def scaled_wh(size_wh: tuple[int, int], longer_side: int) -> tuple[int, int]:
    """Width and height with the longer one brought to so many pixels, and none below one."""
    zoom = longer_side / max(size_wh)
    return max(1, round(size_wh[0] * zoom)), max(1, round(size_wh[1] * zoom))


def read_header(path: Path | bytes) -> ImageHeader:
    """Size and orientation of an image file, or of its bytes, without decoding it.

    Raises:
        ItemError: if the file is missing or not an image.
    """
    with open_image(path) as image:
        try:
            orientation = image.getexif().get(_EXIF_ORIENTATION)
        except Exception as error:  # Pillow may raise anything for a damaged file
            raise ItemError(f"{_name(path)} has EXIF data that cannot be read: {error}") from error
        # Like Pillow's own transposition: an invalid orientation turns nothing.
        if isinstance(orientation, int) and 1 <= orientation <= 8:
            return ImageHeader(_stored_wh(image), orientation)
        return ImageHeader(_stored_wh(image), 1)


def read_image(source: Source) -> NDArray[np.uint8]:
    """The image as RGB uint8 ``(H, W, 3)``, EXIF orientation applied.

    Args:
        source: an image file, its bytes, or the image itself: gray, RGB or RGBA.

    Raises:
        ItemError: if the file is missing, empty, truncated or not an image, if a side is shorter
            than 8 px, or if the image has more than 100 million pixels.
    """
    if isinstance(source, np.ndarray):
        if source.dtype != np.uint8 or source.ndim not in (2, 3) or source.shape[2:] not in ((), (3,), (4,)):
            raise ItemError(f"the image is {source.dtype} {source.shape}, not uint8 (H, W), (H, W, 3) or (H, W, 4)")
        _check_size(source.shape[1], source.shape[0], "the image")
        return source if source.shape[2:] == (3,) else _to_rgb(Image.fromarray(source), "the image", is_16_bit=False)
    with open_image(source) as image:
        _check_size(*image.size, _name(source))
        try:
            # A netpbm file of 16 bits opens as "I", in the range of 16 bits.
            is_16_bit = image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM")
            return _to_rgb(ImageOps.exif_transpose(image), _name(source), is_16_bit)
        except ItemError:
            raise
        except Exception as error:  # Pillow may raise anything for a damaged file
            raise ItemError(f"{_name(source)} cannot be decoded: {error}") from error


def _check_size(width: int, height: int, name: str) -> None:
    if width * height > MAX_PIXELS:
        raise ItemError(f"{name} has {width} x {height} pixels, more than {MAX_PIXELS // 10**6} million")
    if min(width, height) < MIN_SIDE:
        raise ItemError(f"{name} is {width} x {height} pixels, less than {MIN_SIDE} on a side")


def _name(source: Path | bytes) -> str:
    return source.name if isinstance(source, Path) else "the image"


def _stored_wh(image: Image.Image) -> tuple[int, int]:
    # The size that Pillow gives of a TIFF has its orientation applied before a pixel is read.
    if isinstance(image, TiffImageFile):
        return int(image.tag_v2[IMAGEWIDTH]), int(image.tag_v2[IMAGELENGTH])
    return image.size


def open_image(path: Path | bytes) -> Image.Image:
    """An image file, or its bytes, as Pillow has it, to be closed; its pixels are not decoded yet.

    Raises:
        ItemError: if the file is missing or not an image.
    """
    try:
        with warnings.catch_warnings():
            # Our own limit is checked by read_image, before any pixel is decoded.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(path if isinstance(path, Path) else io.BytesIO(path))
    except FileNotFoundError as error:
        raise ItemError(f"{error.filename} does not exist") from error
    except Image.DecompressionBombError as error:
        raise ItemError(f"{_name(path)} has more than {MAX_PIXELS // 10**6} million pixels") from error
    except UnidentifiedImageError as error:
        raise ItemError(f"{_name(path)} is not an image that can be read") from error
    except Exception as error:  # Pillow may raise anything for a damaged file
        raise ItemError(f"{_name(path)} is not an image that can be read: {error}") from error
    if isinstance(image, TiffImageFile):
        # Without its name it is read. Pillow would map an uncompressed one into memory by its turned size, which
        # scrambles its pixels where the orientation swaps the sides.
        image.filename = ""
    return image


def _to_rgb(image: Image.Image, name: str, is_16_bit: bool) -> NDArray[np.uint8]:
    if is_16_bit:
        gray = (np.asarray(image, dtype=np.uint16) / 257).round().astype(np.uint8)
        return np.repeat(gray[:, :, None], 3, axis=2)
    if image.mode in ("I", "F"):
        raise ItemError(f"{name} has pixel type {image.mode!r}, whose range is unknown: save it as 8- or 16-bit")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return np.array(image.convert("RGB"))
