"""The tars of a WebDataset: all in a folder, one, or those of a pattern."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from wsloc.datasets.image_files import is_hidden
from wsloc.datasets.own_images import matched_files
from wsloc.errors import UserError, listed

_TAR = re.compile(r".*\.(tar|tar\.(gz|bz2|xz|zst)|tgz)", re.IGNORECASE | re.DOTALL)
"""Compressed ones are found, too, so that they can be named."""
_RANGE = re.compile(r"\{(\d{1,9})\.\.(\d{1,9})\}")


def find_shards(root: Path, split: str = "") -> tuple[Path, list[Path]]:
    """The folder that all shards are below, and the shards, sorted.

    Args:
        root: a folder, of which all tars below are taken; a tar; or a pattern, such as ``train-*.tar``, or
            ``train-{0000..0009}.tar``, all of which must be there.
        split: a word that the path of a shard below the folder must have: ``val`` takes ``val/0.tar`` and
            ``set-val-000.tar``, but not ``validation.tar``.

    Raises:
        UserError: if there is none.
    """
    if root.is_dir():
        folder, found = root, _below(root)
    else:
        found = sorted(_matching(str(root)))
        folder = Path(os.path.commonpath([path.parent for path in found]) or ".")
    if not found:
        raise UserError(f"There is no .tar in {root} or its sub-folders; `root` names the folder of the shards.")
    if not split:
        return folder, found
    word = re.compile(rf"(?<![^\W_]){re.escape(split)}(?![^\W_])", re.IGNORECASE)
    chosen = [path for path in found if word.search(str(path.relative_to(folder)))]
    if not chosen:
        names = listed([path.relative_to(folder).as_posix() for path in found], 5)
        raise UserError(f"No tar in {folder} has {split!r} in its name; there are {names}: `split` is a word in them.")
    return folder, chosen


def _below(folder: Path) -> list[Path]:
    found = (path for path in folder.rglob("*") if _TAR.fullmatch(path.name) and path.is_file())
    return sorted(path for path in found if not any(map(is_hidden, path.relative_to(folder).parts)))


def _matching(pattern: str) -> set[Path]:
    found: set[Path] = set()
    for text in [pattern] if Path(pattern).is_file() else _expanded(pattern):
        if not (own := matched_files(text)):
            raise UserError(
                f"There is no tar {text}; `root` names a folder of .tar files on a disk, one of them, or a pattern in "
                "quotes, such as 'train-{0000..0009}.tar'."
            )
        found.update(own)
    return found


def _expanded(pattern: str) -> Iterator[str]:
    """What a pattern with ranges in braces stands for, as in the shell: as many digits as the first number has."""
    found = _RANGE.search(pattern)
    if found is None:
        yield pattern
        return
    for number in range(int(found[1]), int(found[2]) + 1):
        yield from _expanded(f"{pattern[: found.start()]}{number:0{len(found[1])}d}{pattern[found.end() :]}")
