"""Files that are whole or not there, whenever the process or the machine stops."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from wsloc.errors import UserError


def write_atomic(path: Path, text: str | Iterable[str]) -> None:
    """Write a file under a temporary name, force it to the disk and rename it into place; its folder is made.

    Args:
        path: of the file.
        text: whole, or in pieces that need not fit into memory together.

    Raises:
        UserError: if the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(exist_ok=True)
        with temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            file.writelines([text] if isinstance(text, str) else text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UserError(f"{path} cannot be written: {error.strerror}; make room and try again.") from error


def _sync_folder(folder: Path) -> None:
    """Force the rename itself to the disk, where folders can be opened (not on Windows)."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
