"""The image files of a folder: all that the reader decodes, without what file managers and other tools leave behind."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from wsloc.errors import counted
from wsloc.images import IMAGE_SUFFIXES

_log = logging.getLogger(__name__)
_LEFT_BEHIND = frozenset(
    (
        "__macosx",
        "thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
        "icon\r",
        "@eadir",
        "#recycle",
        "$recycle.bin",
        "lost+found",
    )
)


@dataclass(frozen=True, slots=True)
class FoundFiles:
    """The files of a folder, those that are hidden or left behind not among them.

    Attributes:
        images: sorted.
        others: how many other files there are, by suffix.
    """

    images: tuple[Path, ...]
    others: Counter[str]

    def say_others(self, folder: object) -> None:
        """Log how many files are no images that are read."""
        if self.others:
            files = counted(self.others.total(), "file")
            _log.info("%s: %s left out, not images that can be read: %s", folder, files, self.counts())

    def counts(self) -> str:
        """The other files: ``2 .heic, 1 .txt``."""
        return ", ".join(f"{count} {suffix}" for suffix, count in self.others.most_common())


def is_hidden(name: str) -> bool:
    """Whether a file or folder is hidden, a macOS resource fork, or left behind by a file manager; none holds data."""
    return name.startswith(".") or name.casefold() in _LEFT_BEHIND


def sort_out(files: Iterable[Path]) -> FoundFiles:
    """Images, by their suffix, and others."""
    images, others = [], Counter[str]()
    for path in files:
        if path.suffix.lower() in IMAGE_SUFFIXES:
            images.append(path)
        else:
            others[path.suffix.lower() or "without suffix"] += 1
    return FoundFiles(tuple(sorted(images)), others)


def find_images(folder: Path, on_error: Callable[[OSError], object] | None = None) -> FoundFiles:
    """All files below a folder, also through links to folders, each folder once.

    Args:
        folder: where to look.
        on_error: is told of a folder that cannot be opened.
    """
    files: list[Path] = []
    seen: set[Path] = set()
    for inside, subfolders, names in os.walk(folder, onerror=on_error, followlinks=True):
        real = Path(inside).resolve()
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = sorted(name for name in subfolders if not is_hidden(name))
        files += [Path(inside, name) for name in names if not is_hidden(name)]
    return sort_out(path for path in files if path.is_file())
