"""The one image reader: every file becomes RGB uint8 with its EXIF orientation applied.

Rules for what is not 8-bit RGB:

- gray: the value in all three channels;
- 16-bit pixels: see :mod:`wsloc.deep_pixels`;
- palette and alpha: expanded, then laid over white;
- CMYK, YCbCr, LAB and HSV: converted by Pillow;
- floating point and 32-bit integers: refused, because their range is unknown.

Only the formats named here are opened: Pillow knows others, some of which run programs.
"""

from __future__ import annotations

import contextlib
import io
import logging
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError, features
from PIL.TiffImagePlugin import IMAGELENGTH, IMAGEWIDTH, TiffImageFile

from wsloc.deep_pixels import read_deep_colors, to_8_bits
from wsloc.errors import ItemError
from wsloc.files.image_path import ImagePath
from wsloc.files.reading import open_regular, read_bytes
from wsloc.records import Source

MAX_PIXELS = 100_000_000
MIN_SIDE = 8
MAX_BYTES = 2**30
"""Of a file: more than so many pixels of any type take."""
_SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "GIF": (".gif",),
    "AVIF": (".avif",),
    "JPEG2000": (".jp2", ".j2k", ".j2c", ".jpx", ".jpf", ".jpc"),
}
_OPTIONAL = {"WEBP": "webp", "AVIF": "avif", "JPEG2000": "jpg_2000"}
"""What Pillow may be built without."""


def _is_built_in(name: str) -> bool:
    feature = _OPTIONAL.get(name)
    known = feature in features.modules or feature in features.codecs
    return feature is None or (known and bool(features.check(feature)))


FORMATS = tuple(filter(_is_built_in, _SUFFIXES))
"""Names that Pillow gives the formats that are read."""
IMAGE_SUFFIXES = frozenset(suffix for name in FORMATS for suffix in _SUFFIXES[name])
_EXIF_ORIENTATION = 274
_JPEG_END = b"\xff\xd9"
_log = logging.getLogger(__name__)
_reading = threading.local()


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
            return ImageHeader(_stored_wh(image), _orientation(image))
        except Exception as error:  # Pillow may raise anything for a damaged file
            raise ItemError(f"{_name(path)} has EXIF data that cannot be read: {error}") from error


def usual_suffix(content: bytes) -> str:
    """The suffix that image files of this format usually have, by the bytes of one.

    Raises:
        ItemError: if they are no image that can be read.
    """
    with open_image(content) as image:
        # Cameras add more pictures to a JPEG file, which Pillow then calls by another name.
        return _SUFFIXES.get(image.format or "", _SUFFIXES["JPEG"])[0]


def read_image(source: Source) -> NDArray[np.uint8]:
    """The image as RGB uint8 ``(H, W, 3)``, EXIF orientation applied.

    Args:
        source: an image file, its bytes, or the image itself: gray, RGB or RGBA.

    Raises:
        ItemError: if the file is missing, empty, not an image, or truncated (but see
            :class:`wsloc.files.image_path.ImagePath`), if a side is shorter than 8 px, or if the image has more than
            100 million pixels.
    """
    return read_scaled(source, None)[0]


def read_scaled(source: Source, least_side: int | None) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """The image, a JPEG file at a fraction of its size, and width and height of the whole.

    A JPEG decoder can skip the high frequencies of each block of 8 x 8 pixels, which leaves 1/2, 1/4 or 1/8 of each
    side, rounded up, and most of the work undone.

    Args:
        source: as :func:`read_image` takes it; so are the errors.
        least_side: what both sides keep at least, where they have it; None for the whole image.

    Returns:
        RGB uint8 ``(h, w, 3)``, EXIF orientation applied, and the size of the whole image, likewise turned.
    """
    if isinstance(source, np.ndarray):
        whole = _given(source)
        return whole, (whole.shape[1], whole.shape[0])
    with open_image(source) as image:
        stored_wh = image.size
        _check_size(*stored_wh, _name(source))
        try:
            if least_side is not None:
                image.draft(None, (least_side, least_side))
            is_scaled = image.size != stored_wh
            rgb = _decoded(image, source)
            if is_scaled:
                return rgb, ImageHeader(stored_wh, _orientation(image)).size_wh
            return rgb, (rgb.shape[1], rgb.shape[0])
        except ItemError:
            raise
        except Exception as error:  # Pillow may raise anything for a damaged file
            is_cut_off = image.format in ("JPEG", "MPO") and "truncated" in str(error)
            if is_cut_off and isinstance(source, ImagePath) and source.lenient:
                _log.info("%s: ends too early, and is gray where it does", source)
                return read_scaled(read_bytes(source, MAX_BYTES) + _JPEG_END, least_side)
            raise ItemError(f"{_name(source)} cannot be decoded: {error}") from error


def _given(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.shape[2:] not in ((), (3,), (4,)):
        raise ItemError(f"the image is {image.dtype} {image.shape}, not uint8 (H, W), (H, W, 3) or (H, W, 4)")
    _check_size(image.shape[1], image.shape[0], "the image")
    return image if image.shape[2:] == (3,) else _to_rgb(Image.fromarray(image), "the image")


def _decoded(image: Image.Image, source: Path | bytes) -> NDArray[np.uint8]:
    # A netpbm file of 16 bits opens as "I", in the range of 16 bits.
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        deep = to_8_bits(np.asarray(ImageOps.exif_transpose(image), dtype=np.uint16), _log_name(source))
        return _to_rgb(Image.fromarray(deep), _name(source))
    colors = read_deep_colors(image, _log_name(source))
    return _to_rgb(ImageOps.exif_transpose(image) if colors is None else colors, _name(source))


def _check_size(width: int, height: int, name: str) -> None:
    if width * height > MAX_PIXELS:
        raise ItemError(f"{name} has {width} x {height} pixels, more than {MAX_PIXELS // 10**6} million")
    if min(width, height) < MIN_SIDE:
        raise ItemError(f"{name} is {width} x {height} pixels, less than {MIN_SIDE} on a side")


def _name(source: Path | bytes) -> str:
    return source.name if isinstance(source, Path) else "the image"


def _log_name(source: Path | bytes) -> str:
    return str(source) if isinstance(source, Path) else _name(source)


def _orientation(image: Image.Image) -> int:
    """Like Pillow's own transposition: an invalid orientation turns nothing."""
    orientation = image.getexif().get(_EXIF_ORIENTATION)
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def _stored_wh(image: Image.Image) -> tuple[int, int]:
    # The size that Pillow gives of a TIFF has its orientation applied before a pixel is read.
    if isinstance(image, TiffImageFile):
        return int(image.tag_v2[IMAGEWIDTH]), int(image.tag_v2[IMAGELENGTH])
    return image.size


@contextlib.contextmanager
def open_known(source: Path | bytes) -> Iterator[Image.Image]:
    """An image file of one of :data:`FORMATS`; raises whatever the system and Pillow do."""
    # Of a header alone, the file is not read to its end. Not by its path: Pillow would map an uncompressed TIFF by its
    # turned size, which scrambles its pixels.
    opened = open_regular(source, MAX_BYTES) if isinstance(source, Path) else io.BytesIO(source)
    with opened as file, Image.open(file, formats=FORMATS) as image:
        yield image


@contextlib.contextmanager
def open_image(source: Path | bytes) -> Iterator[Image.Image]:
    """An image file, or its bytes, as Pillow has it; its pixels are not decoded yet.

    Raises:
        ItemError: if the file is missing, or not an image of one of :data:`FORMATS`.
    """
    _reading.name = _log_name(source)
    try:
        with contextlib.ExitStack() as stack:
            yield _opened(source, stack)
    finally:
        _reading.name = None


def being_read() -> str | None:
    """The image that this thread has open, of which a warning of Pillow's would be; None if there is none."""
    name: str | None = getattr(_reading, "name", None)
    return name


def _opened(path: Path | bytes, stack: contextlib.ExitStack) -> Image.Image:
    try:
        with warnings.catch_warnings():
            # Our own limit is checked by read_image, before any pixel is decoded.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return stack.enter_context(open_known(path))
    except FileNotFoundError as error:
        raise ItemError(f"{_name(path)} does not exist") from error
    except Image.DecompressionBombError as error:
        raise ItemError(f"{_name(path)} has more than {MAX_PIXELS // 10**6} million pixels") from error
    except UnidentifiedImageError as error:
        raise ItemError(f"{_name(path)} is not an image that can be read") from error
    except OSError as error:
        raise ItemError(f"{_name(path)} is not an image that can be read: {error.strerror or error}") from error
    except Exception as error:  # Pillow may raise anything for a damaged file
        raise ItemError(f"{_name(path)} is not an image that can be read: {error}") from error


def _to_rgb(image: Image.Image, name: str) -> NDArray[np.uint8]:
    if image.mode in ("I", "F"):
        raise ItemError(f"{name} has pixel type {image.mode!r}, whose range is unknown: save it as 8- or 16-bit")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return np.array(image.convert("RGB"))
