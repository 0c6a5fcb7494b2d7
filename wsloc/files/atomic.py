"""Files that are whole or not there, whenever the process or the machine stops."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsloc.errors import UserError
from wsloc.files.held_folder import require_in_place


def write_atomic(path: Path, content: str | bytes | Iterable[str]) -> None:
    """Write a file under a temporary name, force it to the disk and rename it into place; its folder is made.

    Args:
        path: of the file.
        content: whole, or text in pieces that need not fit into memory together.

    Raises:
        UserError: if the disk is full, the folder cannot be written, or a run folder that it is in is gone.
    """
    require_in_place(path)
    temporary = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            for piece in [content] if isinstance(content, str | bytes) else content:
                file.write(piece if isinstance(piece, bytes) else piece.encode(errors="backslashreplace"))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        _remove(temporary)
        raise UserError(f"{path} cannot be written: {error.strerror}; make room, or give another folder.") from error


def write_picture(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write a picture under a temporary name and rename it into place, in the format that its suffix names.

    Args:
        path: ``.png``, ``.jpg`` or ``.webp``; its folder is made.
        pixels: RGB uint8 ``(H, W, 3)``.

    Raises:
        UserError: if the disk is full, the folder cannot be written or is gone, or the picture is larger than the
            format takes.
    """
    require_in_place(path)
    temporary = path.with_name(path.name + ".tmp")
    kind = {".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}.get(path.suffix.lower(), "PNG")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(temporary, format=kind, quality=92)
        temporary.replace(path)
    except (OSError, ValueError) as error:
        _remove(temporary)
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path} cannot be written: {reason}; make room, or give another `out`.") from error


def place_atomic(source: Path, target: Path) -> None:
    """Give a file that is whole, and will not be written to, a second place: a hard link, or a copy across disks.

    Raises:
        UserError: if the source cannot be read, the disk is full, the folder cannot be written, or a run folder that
            it is in is gone.
    """
    require_in_place(target)
    temporary = target.with_name(target.name + ".tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        try:
            temporary.hardlink_to(source)
        except OSError:  # another disk, or a file system without hard links
            shutil.copyfile(source, temporary)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
        temporary.replace(target)
        sync_folder(target.parent)
    except OSError as error:
        _remove(temporary)
        raise UserError(
            f"{source} cannot be placed at {target}: {error.strerror}; make room, and try again."
        ) from error


def _remove(temporary: Path) -> None:
    with contextlib.suppress(OSError):  # a folder of that name was the reason
        temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Force the rename itself to the disk, where folders can be opened (not on Windows)."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
