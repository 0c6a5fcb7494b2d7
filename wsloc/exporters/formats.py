"""What an export format is, and what an export is once it has been written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsloc.exporters.export_settings import Media
from wsloc.exporters.writer_context import Writer

Commands = list[tuple[str, str]]
"""What to type next: a title, and a command or lines of Python."""


@dataclass(frozen=True, slots=True)
class Export:
    """An export that has been written.

    Attributes:
        path: its folder.
        manifest: as written.
        image_folders: where the images of each split are.
    """

    path: Path
    manifest: dict[str, Any]
    image_folders: dict[str, Path]

    @property
    def has_images(self) -> bool:
        """Whether the images are in the export, not where the data set has them."""
        return bool(self.manifest["layout"]["media"] != "none")


@dataclass(frozen=True, slots=True)
class Format:
    """All that is known of a format: an entry of :data:`wsloc.registries.FORMATS`.

    Attributes:
        write: writes its files.
        image_folders: where its readers look for the images of each split that it has, in the export.
        next_commands: what the tools that read it take.
        media: what becomes of the images by default.
        finds_images_by_path: whether its files name images by a path, so that they may stay where they are.
        needs_images: whether its files are useless without the images beside them.
        suffix: that all images have; None for their own.
        ignores: whether it can mark a region that is to be ignored.
        has_outlines: whether it can hold the outline of a mask.
    """

    write: Writer
    image_folders: dict[str, Path]
    next_commands: Callable[[Export], Commands] = lambda _export: []
    media: Media = "copy"
    finds_images_by_path: bool = False
    needs_images: bool = False
    suffix: str | None = None
    ignores: bool = True
    has_outlines: bool = False
