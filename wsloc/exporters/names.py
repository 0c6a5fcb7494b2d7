"""File names for exported images: flat, unique on every file system, and without what list files cannot hold."""

from __future__ import annotations

from pathlib import PurePosixPath

from wsloc.files.names import safe_name
from wsloc.seeding import stable_hash


class FlatNames:
    """Names without folders and suffixes: the first image of a name keeps it, a further one gets a hash."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def stem_of(self, file: str) -> str:
        """The name of one file of the data set; to be asked once for each, in the order of the run.

        Args:
            file: relative to the data set's folder, with forward slashes.
        """
        # Ultralytics and shells do not see names that begin with a dot.
        plain = safe_name(PurePosixPath(file).stem).lstrip(".") or "image"
        stem, attempt = plain, 0
        # Some file systems take A.jpg and a.jpg for one.
        while stem.casefold() in self._taken:
            stem = f"{plain}-{stable_hash(attempt, file, ''):08x}"
            attempt += 1
        self._taken.add(stem.casefold())
        return stem
