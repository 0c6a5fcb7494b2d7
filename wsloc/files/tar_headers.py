"""Which files a tar holds and where their bytes are, so that it need not be unpacked.

The tarfile of the standard library reads the headers. It takes a damaged header for the end of a tar, so what lies
there is looked at; and it would read into memory whatever length a header gives itself.
"""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

BLOCK = tarfile.BLOCKSIZE
_LONGEST_HEADER = 2**20
"""Bytes of a long name, or of the records of a pax header."""
_NO_NAME = re.compile(rb"[0-9]{256}")
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}


@dataclass(frozen=True, slots=True)
class TarMember:
    """What a tar has under a name, folders apart.

    Attributes:
        name: as the tar has it.
        offset: of its first byte in the tar.
        size: bytes.
        is_regular: whether these bytes are a file: not of a link, a device, or a file with holes.
    """

    name: str
    offset: int
    size: int
    is_regular: bool = True


class DamagedTarError(Exception):
    """What is wrong with a tar from here on, in words that follow its name."""


def read_members(file: BinaryIO) -> Iterator[TarMember]:
    """What there is in a tar, in its order.

    Args:
        file: open for reading; it may be moved between two members.

    Raises:
        DamagedTarError: after the last member that can be found, if the tar does not end there. The data of that one
            may be cut off.
    """
    length = file.seek(0, os.SEEK_END)
    file.seek(0)
    start = file.read(BLOCK)
    headers, offset = _Headers(file), 0
    file.seek(0)
    try:
        with tarfile.open(fileobj=headers, mode="r:", encoding="utf-8", errors="surrogateescape") as tar:  # type: ignore[call-overload]
            for member in tar:
                if member.size < 0 or tar.offset <= member.offset:
                    # Older versions of Python would go round for ever.
                    raise _damaged_at(member.offset)
                offset = tar.offset
                if not member.isdir():
                    is_file = member.isreg() and not member.issparse() and not _has_holes(member)
                    yield TarMember(member.name, member.offset_data, member.size, is_file)
                if member.isreg() and member.offset_data + member.size > length:
                    raise DamagedTarError(f"ends too early, within {member.name}")
            offset = tar.offset
    # What a header says may be no number, or too large a one for a file, in any place; a header may be of a header.
    except (tarfile.TarError, ValueError, OverflowError, RecursionError) as error:
        raise (_damaged_at(offset) if offset else _not_a_tar(start)) from error
    file.seek(offset)
    _check_end(file.read(BLOCK), file.read(tarfile.RECORDSIZE), offset)


class _Headers:
    """A file of which nothing is read that headers are not: in older versions of Python, time grows with the square of
    the digits in a row."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.seek, self.tell = file, file.seek, file.tell

    def read(self, size: int) -> bytes:
        if size > _LONGEST_HEADER:
            raise tarfile.ReadError("a header gives itself a length that none has")
        content = self._file.read(size)
        if size > BLOCK and _NO_NAME.search(content):
            raise tarfile.ReadError("a header holds more digits than a name has")
        return content


def _has_holes(member: tarfile.TarInfo) -> bool:
    return any(key.startswith("GNU.sparse") for key in member.pax_headers)


def _check_end(block: bytes, rest: bytes, offset: int) -> None:
    """Refuse what tarfile took for the end of a tar but is none."""
    if len(block) < BLOCK:
        raise DamagedTarError("has no end mark, as if it were cut off")
    if any(block):
        raise _damaged_at(offset)
    if any(rest):
        raise DamagedTarError("goes on after its end mark, as joined tars do, and is not read any further")


def _damaged_at(offset: int) -> DamagedTarError:
    return DamagedTarError(f"is damaged at byte {offset:,}, and not read any further")


def _not_a_tar(start: bytes) -> DamagedTarError:
    for magic, name in _COMPRESSED.items():
        if start.startswith(magic):
            return DamagedTarError(f"is compressed ({name}), and only plain tars are read in place; decompress it")
    return DamagedTarError("is not a tar" if start else "is empty")
