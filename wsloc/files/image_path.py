"""Where an image is: a file of its own, or a span of bytes in a tar; and how it may be read."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ConcretePath: Any = type(Path())


@dataclass(frozen=True, slots=True)
class TarSpan:
    """The bytes of a file in a tar.

    Attributes:
        tar: the tar.
        offset: of the first byte.
        size: bytes.
    """

    tar: Path
    offset: int
    size: int


class ImagePath(_ConcretePath):  # type: ignore[misc]
    """The path of an image, with what its text does not say.

    In a tar, the text is the path that the image would have if the tar were a folder of the same name.

    Attributes:
        span: where it is in a tar; None for a file of its own.
        lenient: whether it may end too early: of a JPEG file what is there is read, and the rest is gray.
    """

    span: TarSpan | None = None
    lenient: bool = False

    def __reduce__(self) -> tuple[Any, ...]:
        return image_path, (os.fspath(self), self.span, self.lenient)


def image_path(path: str | Path, span: TarSpan | None = None, lenient: bool = False) -> ImagePath:
    """The path of an image; of another such path, ``span`` and ``lenient`` are not taken over."""
    made = ImagePath(path)
    made.span, made.lenient = span, lenient
    return made


def span_of(path: Path) -> TarSpan | None:
    """Where an image is in a tar; None if it is a file of its own."""
    return path.span if isinstance(path, ImagePath) else None


def file_of(path: Path) -> Path:
    """The file on the disk that holds an image: itself, or the tar."""
    span = span_of(path)
    return path if span is None else span.tar
