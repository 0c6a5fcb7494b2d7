"""Images as they come from broken disks, downloads and cameras, and what a run must say of each.

A kind makes one file. Its ``reason`` is a pattern for the failure that is recorded, or None if the image must be read.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Write = Callable[[Path, Image.Image], None]
_FULL = "is not an image that can be read"
_CUT = "cannot be decoded"
_LARGE = "more than 100 million pixels"


@dataclass(frozen=True, slots=True)
class Damage:
    """One kind of file.

    Attributes:
        name: what is wrong or odd about it.
        write: makes the file from a sound picture.
        reason: what the failure says; None if the image must be read.
        file: its name, with the number of the item.
    """

    name: str
    write: Write
    reason: str | None
    file: str = "{:06d}.jpg"


def encoded(picture: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    """The bytes of a picture in a format of Pillow."""
    content = io.BytesIO()
    picture.save(content, kind, **options)
    return content.getvalue()


def of_bytes(change: Callable[[bytes], bytes], kind: str = "JPEG") -> Write:
    """A file whose bytes were changed after it was encoded."""
    return lambda path, picture: _write(path, change(encoded(picture, kind)))


def as_kind(
    kind: str, change: Callable[[Image.Image], Image.Image] = lambda picture: picture, **options: object
) -> Write:
    """A sound file of another format or pixel type."""
    return lambda path, picture: _write(path, encoded(change(picture), kind, **options))


def of_array(make: Callable[[NDArray[Any]], NDArray[Any]]) -> Write:
    """A TIFF of other pixels."""
    return lambda path, picture: _write(path, encoded(Image.fromarray(make(np.asarray(picture))), "TIFF"))


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _png(width: int, height: int, data: bytes = b"") -> bytes:
    """A PNG that claims a size, whatever it holds."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def _exif_garbage(content: bytes) -> bytes:
    return content[:2] + b"\xff\xe1\x00\x40Exif\0\0" + b"\xa5" * 56 + content[2:]


def _flipped(content: bytes) -> bytes:
    """One wrong byte in the header of the frame: zero rows."""
    at = content.index(b"\xff\xc0") + 5
    return content[:at] + b"\0\0" + content[at + 2 :]


def _loop(path: Path, _: Image.Image) -> None:
    path.symlink_to(path.name)


def _turned(path: Path, picture: Image.Image) -> None:
    exif = Image.Exif()
    exif[274] = 1  # As it is stored; an orientation that turns would move the box.
    _write(path, encoded(picture, exif=exif))


KINDS = (
    Damage("missing", lambda *_: None, "does not exist"),
    Damage("zero bytes", of_bytes(lambda _: b""), _FULL),
    Damage("half of it", of_bytes(lambda content: content[: len(content) // 2]), f"{_CUT}|Truncated File Read"),
    Damage("a byte short", of_bytes(lambda content: content[:-3]), _CUT),
    Damage("header alone", of_bytes(lambda content: content[:20]), f"{_FULL}|{_CUT}"),
    Damage("zeros at the end", of_bytes(lambda content: content[:400] + bytes(len(content) - 400)), _CUT),
    Damage("zeros throughout", of_bytes(lambda content: bytes(len(content))), _FULL),
    Damage("noise", of_bytes(lambda content: np.random.default_rng(0).bytes(len(content))), _FULL),
    Damage("a web page", of_bytes(lambda _: b"<!DOCTYPE html><title>404</title>"), _FULL),
    Damage("text", of_bytes(lambda _: b"version https://git-lfs.github.com/spec/v1\n"), _FULL),
    Damage("PDF", of_bytes(lambda _: b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"), _FULL),
    Damage("EPS named .jpg", of_bytes(lambda _: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"), _FULL),
    Damage("a frame of no rows", of_bytes(_flipped), f"{_FULL}|{_CUT}"),
    Damage("half a PNG", of_bytes(lambda content: content[: len(content) // 2], "PNG"), _CUT, "{:06d}.png"),
    Damage(
        "PNG that claims 30,000 x 30,000",
        lambda path, _: _write(path, _png(30_000, 30_000)),
        "more than 100 million pixels",
    ),
    Damage(
        "PNG bomb", lambda path, _: _write(path, _png(20_000, 20_000, bytes(1_000_000))), "more than 100 million pixels"
    ),
    Damage("1 x 1", as_kind("JPEG", lambda picture: picture.resize((1, 1))), "less than 8"),
    Damage("7 rows", as_kind("JPEG", lambda picture: picture.resize((64, 7))), "less than 8"),
    Damage("32-bit floats", of_array(lambda pixels: pixels[..., 0].astype(np.float32)), "whose range is unknown"),
    Damage("32-bit integers", of_array(lambda pixels: pixels[..., 0].astype(np.int32)), "whose range is unknown"),
    Damage("a folder", lambda path, _: path.mkdir(), "folder, a pipe or a device"),
    Damage("a pipe", lambda path, _: os.mkfifo(path), "folder, a pipe or a device"),
    Damage("a device", lambda path, _: path.symlink_to("/dev/zero"), "folder, a pipe or a device"),
    Damage("a link to nothing", lambda path, _: path.symlink_to("nothing"), "does not exist"),
    Damage("a link to itself", _loop, "symbolic links"),
    Damage("PNG named .jpg", as_kind("PNG"), None),
    Damage("CMYK", as_kind("JPEG", lambda picture: picture.convert("CMYK")), None),
    Damage("gray", as_kind("JPEG", lambda picture: picture.convert("L")), None),
    Damage("alpha", as_kind("PNG", lambda picture: picture.convert("RGBA")), None, "{:06d}.png"),
    Damage("palette", as_kind("GIF"), None, "{:06d}.gif"),
    Damage("16 bits", of_array(lambda pixels: pixels[..., 0].astype(np.uint16) * 257), None, "{:06d}.tif"),
    Damage("garbage for EXIF", of_bytes(_exif_garbage), None),
    Damage("EXIF orientation", _turned, None),
    Damage("bytes after the end", of_bytes(lambda content: content + b"\0" * 5000), None),
    Damage("a line break in its name", as_kind("JPEG"), None, "{:06d}\nline.jpg"),
    Damage("quotes, commas and semicolons in its name", as_kind("JPEG"), None, '{:06d} \'"a,b;c".jpg'),
    Damage("a name of 200 letters", as_kind("JPEG"), None, "{:06d}" + "ä" * 90 + ".jpg"),
    Damage("a name in other scripts", as_kind("JPEG"), None, "{:06d} 猫 кот 🐈.jpg"),
)
