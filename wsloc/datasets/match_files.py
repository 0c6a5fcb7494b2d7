"""Images found again by the names of their files, as exports and annotation tools write them."""

from __future__ import annotations

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from wsloc.files.names import distinct_stem, flat_stem
from wsloc.records import ImageRecord

_PUT_BEFORE = re.compile(r"^[0-9a-f]{8}(?:__|-)(?=.)")
"""What Label Studio puts before the names of its files."""


@dataclass(frozen=True, slots=True)
class FileMatches:
    """Which images some files are.

    Attributes:
        images: by file; no image twice.
        unknown: files that are none of the images.
        ambiguous: files that may be one of several, or share theirs with another file.
    """

    images: dict[str, ImageRecord]
    unknown: tuple[str, ...]
    ambiguous: tuple[str, ...]


def by_short_name(files: Iterable[str]) -> dict[str, list[str]]:
    """Files by what people call them: without the suffix, and without suffix and folders."""
    named: dict[str, list[str]] = {}
    for file in files:
        path = PurePosixPath(file)
        for name in dict.fromkeys((path.with_suffix("").as_posix(), path.stem)):
            named.setdefault(name, []).append(file)
    return named


def match_files(files: Iterable[str], images: Sequence[ImageRecord]) -> FileMatches:
    """Find images by their files: by the whole path, else by the name, else by the name without suffix.

    A name may be one that :mod:`wsloc.exporters` gives, and may have Label Studio's eight digits before it. Of several
    images of a name it is the one that shares most folders with the file.

    Args:
        files: with slashes of either kind.
        images: to find them among.
    """
    by_name: defaultdict[str, list[ImageRecord]] = defaultdict(list)
    for image in images:
        for name in {image.file, *_names(image.file), flat_stem(image.file), distinct_stem(image.file)}:
            by_name[name].append(image)
    found: dict[str, ImageRecord] = {}
    unknown: list[str] = []
    ambiguous: list[str] = []
    for file, count in Counter(files).items():
        known = (by_name[name] for name in _asked(file) if name in by_name)
        candidates = _nearest(file, next(known, []))
        if len(candidates) == 1 and count == 1:
            found[file] = candidates[0]
        else:
            (ambiguous if candidates else unknown).append(file)
    taken = Counter(image.image_id for image in found.values())
    ambiguous += [file for file, image in found.items() if taken[image.image_id] > 1]
    unique = {file: image for file, image in found.items() if taken[image.image_id] == 1}
    return FileMatches(unique, tuple(unknown), tuple(ambiguous))


def _names(file: str) -> tuple[str, str]:
    return PurePosixPath(file).name, PurePosixPath(file).stem


def _asked(file: str) -> Iterator[str]:
    """What a file may be called, the surest first."""
    path = PurePosixPath(file.replace("\\", "/"))
    yield path.as_posix()
    name, stem = _names(path.as_posix())
    without = _PUT_BEFORE.sub("", name)
    yield from (name, without, stem, PurePosixPath(without).stem)


def _nearest(file: str, candidates: list[ImageRecord]) -> list[ImageRecord]:
    """The image of the same path, or those whose folders, from the last one on, agree longest with those of a file."""
    path = file.replace("\\", "/")
    if exact := [image for image in candidates if image.file == path]:
        return exact
    folders = PurePosixPath(path).parent.parts[::-1]

    def common(image: ImageRecord) -> int:
        pairs = zip(folders, PurePosixPath(image.file).parent.parts[::-1], strict=False)
        return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))

    depths = [common(image) for image in candidates]
    return [image for image, depth in zip(candidates, depths, strict=True) if depth == max(depths)]
