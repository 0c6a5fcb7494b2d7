"""A folder that this process alone writes to, and that it notices to be gone."""

from __future__ import annotations

import contextlib
import os
import sys
import weakref
from pathlib import Path

from filelock import FileLock, Timeout

from wsloc.errors import UserError

if sys.platform != "win32":
    import fcntl

LOCK = ".lock"
"""File in a held folder."""
_held: weakref.WeakSet[HeldFolder] = weakref.WeakSet()
"""All folders that this process holds, so that whatever is written below one is checked in the same place."""


class HeldFolder:
    """A folder that other processes are kept away from until it is released, forgotten, or this process ends.

    There are two locks of the operating system. The one of a file in the folder works on network disks, too. The one
    of the folder itself stays when that file is removed, and tells whether the path still leads to the same folder.

    Attributes:
        path: absolute.
        contents: what would be lost with the folder, in a few words.
    """

    def __init__(self, path: Path) -> None:
        """Hold an existing folder.

        Raises:
            BlockingIOError: if another process holds it.
            OSError: if the disk or its permissions forbid it.
        """
        self.path, self.contents = path.absolute(), "what was written so far"
        lock = FileLock(path / LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise BlockingIOError from error
        try:
            self._descriptor = _lock_folder(path)
        except OSError:
            lock.release()
            raise
        # Also if an error ends what was to be done in the folder before anything could release it.
        self._unlock = weakref.finalize(self, _unlock, lock, self._descriptor)
        _held.add(self)

    def release(self) -> None:
        """Let other processes have it."""
        _held.discard(self)
        self._unlock()

    def require_in_place(self) -> None:
        """Refuse to go on without the folder.

        Raises:
            UserError: if it was removed or moved, or another one has its name.
        """
        if self._descriptor is None:
            return
        own = os.fstat(self._descriptor)
        with contextlib.suppress(OSError):
            if os.path.samestat(own, self.path.stat()):
                return
        if own.st_nlink == 0:
            what, do = "removed", f"and {self.contents} with it; start again"
        else:
            what, do = "moved", f"with {self.contents} in it; move it back and resume, or start again"
        raise UserError(f"{self.path} was {what} while this process was writing to it, {do}.")


def require_in_place(path: Path) -> None:
    """Called before a file is written or replaced: if it is in a held folder, that must be where it was.

    Raises:
        UserError: otherwise.
    """
    if _held:
        path = path.absolute()
        for folder in list(_held):
            if path.is_relative_to(folder.path):
                folder.require_in_place()


def _unlock(lock: FileLock, descriptor: int | None) -> None:
    lock.release()
    if descriptor is not None:
        os.close(descriptor)


def _lock_folder(path: Path) -> int | None:
    """Lock the folder itself; its open descriptor, or None on Windows, where nobody can remove or move it meanwhile.

    Raises:
        BlockingIOError: if another process has locked it.
        OSError: if it cannot be opened.
    """
    if sys.platform == "win32":
        return None
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise
    except OSError:
        pass  # Network disks lock files, but no folders.
    return descriptor
