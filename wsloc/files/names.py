"""File names for images and classes, whatever characters those hold."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TypeGuard

from wsloc.seeding import stable_hash

_LONGEST = 200
"""Bytes; most file systems take 255, and a hash and a suffix follow."""


def is_text(value: object) -> TypeGuard[str]:
    """Whether a value is text that files can hold: without zero bytes, and without half of a character, as JSON may
    have it; bytes of file names that are not UTF-8, which Python keeps as such halves, can be written."""
    if not isinstance(value, str) or "\0" in value:
        return False
    try:
        value.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def safe_name(text: str) -> str:
    """A name that every file system takes; a hash tells apart what it would make equal."""
    plain = re.sub(r"[^\w.-]+", "_", text).encode()[-_LONGEST:].decode(errors="ignore")
    return plain if plain == text and plain.strip(".") else f"{plain}-{stable_hash(0, text, ''):08x}"


def safe_path(text: str) -> str:
    """The same for a name with sub-folders between slashes."""
    return "/".join(safe_name(part) for part in text.split("/"))


def flat_stem(file: str) -> str:
    """The name of a file without folders and suffix, as every file system takes it."""
    # Ultralytics and shells do not see names that begin with a dot.
    return safe_name(PurePosixPath(file).stem).lstrip(".") or "image"


def distinct_stem(file: str, attempt: int = 0) -> str:
    """The same with a hash of the whole path, for files of one name; another hash at each attempt."""
    return f"{flat_stem(file)}-{stable_hash(attempt, file, ''):08x}"
