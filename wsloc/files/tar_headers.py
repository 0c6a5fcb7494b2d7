"""The headers of a tar: which files it holds and where their bytes are, so that it need not be unpacked.

Written for tars of any size and origin: the tarfile of the standard library takes a damaged header for the end, reads
into memory what a header says of its own length, and takes three times as long.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

BLOCK = 512
RECORD = 20 * BLOCK
"""What tars are filled up to with zeros."""
_MAX_EXTENDED = 2**20
"""Bytes of a long name, or of the records of a pax header."""
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_REGULAR = (b"0", b"\0", b"7")
_LINKS_AND_DEVICES = (b"1", b"2", b"3", b"4", b"6", b"S")
"""And files with holes."""
_WITHOUT_DATA = (b"1", b"2", b"3", b"4", b"5", b"6")
"""Links, devices, folders, pipes: whatever size their headers give."""
_PAX_RECORD = re.compile(rb"(\d{1,8}) ([^=]+)=")


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
    offset = 0
    said: dict[bytes, bytes] = {}
    while any(header := _read_block(file, offset)):
        size, kind, data = _checked_size(header, offset), header[156:157], offset + BLOCK
        if kind in (b"x", b"X"):
            said |= _pax_records(_read_extended(file, data, size, length))
        elif kind == b"L":
            said[b"path"] = _text(_read_extended(file, data, size, length))
        elif kind not in (b"g", b"K"):
            data = _after_map(file, header, data) if kind == b"S" else data
            size = 0 if kind in _WITHOUT_DATA else _number(said[b"size"], 10) if b"size" in said else size
            name = (said.get(b"path") or _name(header)).decode("utf-8", "surrogateescape")
            has_holes = any(key.startswith(b"GNU.sparse") for key in said)
            if kind in _LINKS_AND_DEVICES or (kind in _REGULAR and not name.endswith("/")):
                yield TarMember(name, data, size, kind in _REGULAR and not has_holes)
            said = {}
        if data + size > length:
            raise DamagedTarError(f"ends too early, within {_name(header).decode('utf-8', 'surrogateescape')}")
        offset = data + -(-size // BLOCK) * BLOCK
    file.seek(offset)
    if any(file.read(2 * RECORD)):
        raise DamagedTarError("goes on after its end mark, as joined tars do, and is not read any further")


def _read_block(file: BinaryIO, offset: int) -> bytes:
    file.seek(offset)
    block = file.read(BLOCK)
    if len(block) == BLOCK:
        return block
    if offset == 0:
        raise _not_a_tar(block)
    raise DamagedTarError("has no end mark, as if it were cut off")


def _checked_size(header: bytes, offset: int) -> int:
    """The size that a header gives, if its checksum is right."""
    try:
        if sum(header) - sum(header[148:156]) + 8 * ord(" ") == _number(header[148:156]):
            return _number(header[124:136])
    except DamagedTarError:
        pass
    if offset:
        raise DamagedTarError(f"is damaged at byte {offset:,}, and not read any further")
    raise _not_a_tar(header)


def _not_a_tar(start: bytes) -> DamagedTarError:
    for magic, name in _COMPRESSED.items():
        if start.startswith(magic):
            return DamagedTarError(f"is compressed ({name}), and only plain tars are read in place; decompress it")
    return DamagedTarError("is not a tar" if start else "is empty")


def _number(field: bytes, base: int = 8) -> int:
    """A number of a header: octal digits, or 0x80 and a binary number where these do not suffice."""
    if field[:1] == b"\x80":
        return int.from_bytes(field[1:], "big")
    try:
        number = int(_text(field) or b"0", base)
    except ValueError as error:
        raise DamagedTarError("is damaged") from error
    if number < 0:
        raise DamagedTarError("is damaged")
    return number


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _name(header: bytes) -> bytes:
    prefix = _text(header[345:500]) if header[257:263] == b"ustar\0" else b""
    return (prefix + b"/" if prefix else b"") + _text(header[:100])


def _read_extended(file: BinaryIO, offset: int, size: int, length: int) -> bytes:
    if size > min(_MAX_EXTENDED, length - offset):
        raise DamagedTarError(f"is damaged at byte {offset:,}, and not read any further")
    file.seek(offset)
    return file.read(size)


def _pax_records(content: bytes) -> dict[bytes, bytes]:
    records, position = {}, 0
    # Zeros after the last record are allowed.
    while found := _PAX_RECORD.match(content, position):
        end = position + int(found[1])
        if end <= found.end():
            break
        records[found[2]] = content[found.end() : end - 1]
        position = end
    return records


def _after_map(file: BinaryIO, header: bytes, offset: int) -> int:
    """Where the data of a sparse file begins, after the blocks that say where its holes are."""
    more = header[482]
    while more:
        more = _read_block(file, offset)[504]
        offset += BLOCK
    return offset
