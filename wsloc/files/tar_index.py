"""The files in a tar by their names, as if the tar were a folder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from wsloc.files.image_path import TarSpan, image_path
from wsloc.files.reading import is_there, open_regular
from wsloc.files.tar_headers import DamagedTarError, read_members

_OPEN_TARS = 8
"""Few: the images of a run come tar by tar."""


@dataclass(frozen=True, slots=True, eq=False)
class TarIndex:
    """What a tar holds.

    Attributes:
        spans: of the regular files, by their names without ``./`` or ``/`` before them, in the order of the tar.
        twice: names of several files, of which the first one counts.
        outside: names that are none of a file in a folder.
        special: names of links, devices and files with holes.
        damage: what is wrong with the tar, in words that follow its name; empty if it was read to its end.
    """

    spans: dict[str, TarSpan]
    twice: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()
    special: tuple[str, ...] = ()
    damage: str = ""


def index_tar(tar: Path) -> TarIndex:
    """Read the headers of a plain tar; as far as it can be read."""
    spans: dict[str, TarSpan] = {}
    twice: dict[str, None] = {}
    outside: list[str] = []
    special: list[str] = []
    damage = ""
    try:
        with open_regular(tar) as file:
            for member in read_members(file):
                parts = [part for part in member.name.split("/") if part not in ("", ".")]
                name = "/".join(parts)
                if not name or "\0" in name or ".." in parts:
                    outside.append(member.name)
                elif not member.is_regular:
                    special.append(name)
                elif name in spans:
                    twice[name] = None
                else:
                    spans[name] = TarSpan(tar, member.offset, member.size)
    except DamagedTarError as error:
        damage = str(error)
    except OSError as error:
        damage = f"cannot be read: {error.strerror or error}"
    return TarIndex(spans, tuple(twice), tuple(outside), tuple(special), damage)


def path_below(root: Path, file: str) -> Path:
    """The path of an image that records call ``file``, relative to ``root``; it may lead through a tar.

    A tar is what is no folder on the way to the image, whatever it is called. It is looked through on first use, and
    again when it changes.
    """
    for slash in re.finditer("/", file):
        tar, name = root / file[: slash.start()], file[slash.end() :]
        if is_there(tar):
            status = tar.stat()
            span = _cached_index(tar, status.st_size, status.st_mtime_ns).spans.get(name)
            return image_path(root / file, span) if span else root / file
    return root / file


@lru_cache(maxsize=_OPEN_TARS)
def _cached_index(tar: Path, _size: int, _changed: int) -> TarIndex:
    return index_tar(tar)
