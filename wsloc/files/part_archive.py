"""Numbered zip archives: many small entries as one file that is whole or not there."""

from __future__ import annotations

import contextlib
import io
import json
import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsloc.errors import ItemError, UserError
from wsloc.files.atomic import sync_folder
from wsloc.files.documents import parse_json
from wsloc.files.held_folder import require_in_place

_INDEX = "index.jsonl"
_OPEN_ARCHIVES = 32
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)
"""What zipfile raises for damaged bytes; the last, among them a recursion too deep, for what we never write."""
_LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""A fixed time, so that equal entries make equal archives."""


class ArchiveWriter:
    """Writes ``FOLDER/NNNNNN.npz``; a context manager that renames it into place unless an error was raised.

    Entries that are arrays are read by ``np.load``. Memory holds one entry at a time.
    """

    def __init__(self, folder: Path, number: int) -> None:
        self._path = archive_path(folder, number)
        self._temporary = self._path.with_name(self._path.name + ".tmp")
        self._index: list[str] = []

    def __enter__(self) -> ArchiveWriter:
        require_in_place(self._path)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._temporary.open("wb")
        except OSError as error:
            raise self._failed(error) from error
        self._zip = zipfile.ZipFile(self._file, "w", zipfile.ZIP_STORED)
        return self

    def add(self, entry: str, content: bytes | NDArray[Any], fields: Mapping[str, Any]) -> None:
        """Write an entry, and the fields that find it again.

        Raises:
            UserError: if the disk is full.
        """
        if isinstance(content, np.ndarray):
            buffer = io.BytesIO()
            np.save(buffer, content, allow_pickle=False)
            content = buffer.getvalue()
        self._write(entry, content)
        self._index.append(json.dumps({"entry": entry, **fields}, ensure_ascii=False) + "\n")

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            # Closed also where it is thrown away, else the garbage collector would write its end.
            with contextlib.suppress(OSError, ValueError):
                self._zip.close()
            with contextlib.suppress(OSError):
                self._file.close()
            self._temporary.unlink(missing_ok=True)

    def _finish(self) -> None:
        self._write(_INDEX, "".join(self._index).encode(errors="surrogateescape"))
        require_in_place(self._path)
        try:
            self._zip.close()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._temporary.replace(self._path)
            sync_folder(self._path.parent)
        except OSError as error:
            raise self._failed(error) from error

    def _write(self, entry: str, content: bytes) -> None:
        try:
            self._zip.writestr(zipfile.ZipInfo(entry, _LONG_AGO), content)
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> UserError:
        return UserError(f"{self._path} cannot be written: {error.strerror}; make room, or give another folder.")


class ArchiveReader:
    """The entries of all archives of a folder, by their fields; safe to be used from several threads."""

    def __init__(self, folder: Path, texts: Sequence[str] = ()) -> None:
        """Read the indexes; ``texts`` are fields that every entry has.

        Raises:
            UserError: if an archive is damaged.
        """
        # A few stay open: a large run has more archives than a process may open files.
        self._opened = lru_cache(maxsize=_OPEN_ARCHIVES)(zipfile.ZipFile)
        self.rows: list[dict[str, Any]] = []
        """The fields of each entry, ``entry`` among them, in the order in which they were written."""
        self._archive_of: dict[str, Path] = {}
        names = ("entry", *texts)
        for path in archives(folder):
            try:
                with zipfile.ZipFile(path) as archive:
                    index = archive.read(_INDEX)
                # Names may hold what splitlines() takes for the end of a line. Parsed together, rows share their keys.
                lines = filter(None, index.decode(errors="surrogateescape").split("\n"))
                rows = parse_json(f"[{','.join(lines)}]")
                if not all(isinstance(row, dict) and all(type(row.get(name)) is str for name in names) for row in rows):
                    raise ValueError(f"its index lacks {', '.join(names)}")
            except (OSError, ValueError, KeyError, *_DAMAGE) as error:
                raise UserError(f"{path} is damaged ({error}); run it again.") from error
            self.rows += rows
            self._archive_of |= {row["entry"]: path for row in rows}

    def __contains__(self, entry: str) -> bool:
        return entry in self._archive_of

    def read(self, entry: str) -> bytes:
        """The content of an entry.

        Raises:
            ItemError: if it is damaged.
        """
        try:
            return self._opened(self._archive_of[entry]).read(entry)
        except (OSError, KeyError, *_DAMAGE) as error:
            raise ItemError(f"{entry} is damaged: {error}") from error


def archive_path(folder: Path, number: int) -> Path:
    """The archive of that number."""
    return folder / f"{number:06d}.npz"


def archives(folder: Path) -> list[Path]:
    """The archives that are whole, in the order of their numbers."""
    return sorted(path for path in folder.glob("*.npz") if path.stem.isdigit())
