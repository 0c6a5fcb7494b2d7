"""The images of the boxes: copied, linked, or left where they are.

Boxes are in pixels of the image after EXIF transposition, but readers differ: Pillow, and with it torchvision, shows
the stored pixels; OpenCV, Ultralytics and browsers turn them. A turned image is therefore written upright, without the
orientation, and is then the same for all.
"""

from __future__ import annotations

import io
import os
from collections import Counter
from pathlib import Path

from PIL import ImageOps

from wsloc.errors import ItemError
from wsloc.exporters.export_settings import Media
from wsloc.files.reading import is_there, open_regular, read_bytes
from wsloc.images import ImageHeader, open_image, read_header

COPIED = "copied"
LINKED = "linked"
UPRIGHT = "written upright"
MISSING = "not there"
TURNED = "left in place with an EXIF orientation"
NOT_LINKED = "copied, for they cannot be linked"
JPEG_QUALITY = 95
_IN_PNG = {"CMYK": "RGB", "YCbCr": "RGB", "LAB": "RGB", "HSV": "RGB", "RGBX": "RGB"}
"""What colors that PNG does not have become."""


def look_at(source: Path, size_wh: tuple[int, int], media: Media, counts: Counter[str]) -> ImageHeader | None:
    """The header of an image that is to be exported.

    Args:
        source: the image file.
        size_wh: that the run saw, after EXIF transposition.
        media: an image that stays where it is may be missing.
        counts: gets the images that are missing or turned and stay so.

    Returns:
        None for an image that is missing.

    Raises:
        ItemError: if it cannot be read, or has another size than in the run, so that its boxes are of another picture.
    """
    if media == "none" and not is_there(source):
        counts[MISSING] += 1
        return None
    header = read_header(source)
    if header.size_wh != size_wh:
        raise ItemError(
            f"{source.name} has {header.size_wh[0]} x {header.size_wh[1]} pixels, but had {size_wh[0]} x {size_wh[1]} "
            "in the run"
        )
    if media == "none" and header.orientation != 1:
        counts[TURNED] += 1
    return header


def suffix_of(source: Path, header: ImageHeader | None) -> str:
    """The suffix of an exported image: its own, but one that fits where the image is written upright."""
    own = source.suffix
    if header is None or header.orientation == 1:
        return own
    if _is_jpeg(source):
        return own if own.lower() in (".jpg", ".jpeg") else ".jpg"
    return ".png"


def place(source: Path, target: Path, header: ImageHeader, media: Media, counts: Counter[str]) -> None:
    """Put an image where the export wants it; never a link to a folder, never a link to a link.

    Args:
        source: the image file.
        target: in a folder that exists.
        header: of the source.
        media: ``copy`` or ``hardlink``.
        counts: gets what was done.

    Raises:
        ItemError: if the image cannot be read.
        OSError: if the target cannot be written.
    """
    if header.orientation != 1:
        target.write_bytes(_upright(source))
        counts[UPRIGHT] += 1
        return
    if media == "hardlink":
        try:
            os.link(source.resolve(), target)
        except OSError:
            counts[NOT_LINKED] += 1
        else:
            counts[LINKED] += 1
            return
    try:
        content = read_bytes(source)
    except OSError as error:
        raise ItemError(f"{source.name} cannot be read: {error.strerror}") from error
    target.write_bytes(content)
    counts[COPIED] += media == "copy"


def _upright(source: Path) -> bytes:
    """The image with its orientation applied and taken out; JPEG stays JPEG, anything else becomes PNG."""
    written = io.BytesIO()
    with open_image(source) as image:
        try:
            profile = image.info.get("icc_profile")
            turned = ImageOps.exif_transpose(image)
            if _is_jpeg(source):
                turned.save(written, "JPEG", quality=JPEG_QUALITY, icc_profile=profile)
            elif turned.mode in _IN_PNG:
                # The profile is of the colors that the image had.
                turned.convert(_IN_PNG[turned.mode]).save(written, "PNG", icc_profile=None)
            else:
                turned.save(written, "PNG", icc_profile=profile)
        except Exception as error:  # Pillow may raise anything for a damaged file
            raise ItemError(f"{source.name} cannot be decoded: {error}") from error
    return written.getvalue()


def _is_jpeg(source: Path) -> bool:
    with open_regular(source) as file:
        return file.read(2) == b"\xff\xd8"
