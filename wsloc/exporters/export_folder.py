"""The folder of an export: whole or not there, and only ever replaced by another export."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wsloc.errors import UserError
from wsloc.files.documents import parse_json
from wsloc.files.held_folder import LOCK, HeldFolder

MANIFEST = "export.json"
FORMAT_VERSION = 1


@contextmanager
def new_folder(out: Path, overwrite: bool) -> Iterator[Path]:
    """An empty folder next to ``out`` that gets its name when the block ends, and is removed if the block fails.

    Args:
        out: the export's folder.
        overwrite: replace an export that is there.

    Raises:
        UserError: if ``out`` exists and is not to be replaced, if another process writes it, or if the disk forbids it.
    """
    out = out.absolute()
    _require_free(out, overwrite)
    growing = out.with_name(f".{out.name}.growing")
    try:
        growing.mkdir(parents=True, exist_ok=True)
        held = HeldFolder(growing)
    except BlockingIOError as error:
        raise UserError(f"Another process is writing {out}; wait for it, or give another `out`.") from error
    except OSError as error:
        raise UserError(f"{growing} cannot be made: {error.strerror}; give another `out`.") from error
    try:
        with _sentences(out, held):
            # What a killed process left there.
            _empty(growing)
            yield growing
            held.require_in_place()
        _require_free(out, overwrite)
    except BaseException:
        held.release()
        shutil.rmtree(growing, ignore_errors=True)
        raise
    held.release()
    (growing / LOCK).unlink(missing_ok=True)
    _rename(growing, out)


@contextmanager
def _sentences(out: Path, held: HeldFolder) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        held.require_in_place()
        raise UserError(f"{out} cannot be written: {error.strerror or error}; make room and try again.") from error


def read_manifest(path: Path) -> dict[str, Any] | None:
    """The manifest of an export; None if the folder is not one."""
    try:
        manifest = parse_json((path / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) and "format_version" in manifest else None


def _require_free(out: Path, overwrite: bool) -> None:
    if not (out.exists() or out.is_symlink()):
        return
    if not overwrite:
        raise UserError(f"{out} exists; give another `out`, or `overwrite=True` to replace an export.")
    if out.is_symlink() or read_manifest(out) is None:
        raise UserError(
            f"{out} is not the folder of an export, so `overwrite=True` leaves it alone; give another `out`."
        )


def _rename(growing: Path, out: Path) -> None:
    old = out.with_name(f".{out.name}.old")
    try:
        shutil.rmtree(old, ignore_errors=True)
        if out.exists():
            out.rename(old)
        growing.rename(out)
    except OSError as error:
        raise UserError(f"{growing} cannot be renamed to {out.name}: {error.strerror}; rename it by hand.") from error
    shutil.rmtree(old, ignore_errors=True)


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.name != LOCK:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
