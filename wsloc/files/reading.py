"""Reading files that people and other tools wrote: whole, once, and never what waits or does not end."""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from wsloc.errors import UserError
from wsloc.files.image_path import file_of, span_of

_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""A pipe without a writer is opened at once."""
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    # Before UTF-16, whose mark begins that of UTF-32.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@contextlib.contextmanager
def open_regular(path: Path, max_bytes: int | None = None) -> Iterator[BinaryIO]:
    """A regular file, or an image in a tar, open at its beginning inside the ``with`` block.

    Args:
        path: of the file.
        max_bytes: that it may hold; None for no limit.

    Raises:
        OSError: if it is missing, cannot be read, holds more, or is a folder, a pipe or a device.
    """
    with _opened(path, max_bytes) as (file, _):
        yield file


def read_bytes(path: Path, max_bytes: int | None = None) -> bytes:
    """The content of a regular file: as much as it held when it was opened; else as :func:`open_regular`."""
    with _opened(path, max_bytes) as (file, size):
        return file.read(size)


def is_there(path: Path) -> bool:
    """Whether a file exists, or the tar that an image is in; False for a name that is too long for the file system."""
    try:
        return file_of(path).is_file()
    except OSError:
        return False


@contextlib.contextmanager
def _opened(path: Path, max_bytes: int | None) -> Iterator[tuple[BinaryIO, int]]:
    """The same, and how many bytes it holds."""
    span = span_of(path)
    descriptor = os.open(file_of(path), _FLAGS)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is a folder, a pipe or a device, not a file", str(path))
        # Of a tar that was cut off, what there is.
        size = found.st_size if span is None else max(0, min(span.size, found.st_size - span.offset))
        if max_bytes is not None and size > max_bytes:
            raise OSError(errno.EFBIG, f"it holds more than {max_bytes:,} bytes", str(path))
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            if span is None:
                yield file, size
            else:
                file.seek(span.offset)
                yield io.BytesIO(file.read(size)), size
    finally:
        os.close(descriptor)


def decode(content: bytes, encoding: str = "utf-8") -> str:
    r"""Text without byte order marks, its lines ended by ``\n`` alone.

    Args:
        content: that begins with a mark, or is in ``encoding``.
        encoding: where there is no mark.

    Raises:
        ValueError: if it is no text in that encoding.
        LookupError: if there is no such encoding.
    """
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), encoding)
    text = content.decode(encoding)
    if "\0" in text:
        raise ValueError("there are zero bytes in it")
    # Files that were joined have a mark at the beginning of each.
    return re.sub("^\ufeff+", "", text.replace("\r\n", "\n").replace("\r", "\n"), flags=re.MULTILINE)


def read_text(path: Path, what: str = "", missing: str = "check the path") -> str:
    r"""The text of a file, in UTF-8 or with a byte order mark; see :func:`decode`.

    Args:
        path: of the file.
        what: it is, such as ``The configuration``; the sentences begin with it.
        missing: what to do if it does not exist.

    Raises:
        UserError: if it cannot be read or is no such text.
    """
    named = f"{what} {path}".lstrip()
    try:
        return decode(read_bytes(path))
    except FileNotFoundError as error:
        raise UserError(f"{named} does not exist; {missing}.") from error
    except OSError as error:
        raise UserError(f"{named} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise UserError(f"{named} is not UTF-8 text; save it as UTF-8 (of a spreadsheet: as 'CSV UTF-8').") from error


def read_lines(path: Path, what: str = "", missing: str = "check the path") -> list[str]:
    """The lines of a text that are not blank, without spaces around them; else as :func:`read_text`."""
    # Not splitlines(), for which names may hold the end of a line.
    return [line.strip() for line in read_text(path, what, missing).split("\n") if line.strip()]
