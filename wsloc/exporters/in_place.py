"""Whether images may stay where they are: annotation tools give back displaced boxes of some, and confuse others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from wsloc.errors import ItemError
from wsloc.exporters.export_settings import Media
from wsloc.exporters.formats import Format
from wsloc.exporters.read_boxes import ImageBoxes, leaves_root
from wsloc.files.image_path import span_of
from wsloc.files.tar_index import path_below
from wsloc.images import read_header


@dataclass(slots=True, eq=False)
class InPlace:
    """What the reader of a format makes of images where the data set has them.

    Attributes:
        kind: the format.
    """

    kind: Format
    _stems: set[str] = field(default_factory=set)

    def why_not(self, source: Path, file: str, orientation: int) -> str | None:
        """Why an image must not stay; None if it may. To be asked once for each.

        Args:
            source: where it is.
            file: as in the data set.
            orientation: its EXIF orientation.
        """
        if span_of(source):
            return "is in a tar, where other programs do not find it"
        if not self.kind.finds_images_by_path:
            return None
        if self.kind.needs_upright and orientation != 1:
            return "has an EXIF orientation, from which boxes come back displaced"
        stem = file.removesuffix(PurePosixPath(file).suffix)
        if self.kind.needs_stems and stem in self._stems:
            return "differs from another image by its suffix alone, which is not read"
        self._stems.add(stem)
        return None


def usual_media(kind: Format, images: Iterable[ImageBoxes], root: Path) -> Media:
    """What is usual with a format; links where one of the images cannot stay in place, so that all are in one folder;
    copies where they are in tars.

    Args:
        kind: the format.
        images: of the run.
        root: the data set's folder.
    """
    if kind.media != "none" or not (kind.needs_upright or kind.needs_stems):
        return kind.media
    in_place = InPlace(kind)
    for image in images:
        if not image.boxes or leaves_root(image.file):
            continue
        source = path_below(root, image.file)
        if span_of(source):
            return "copy"
        try:
            orientation = read_header(source).orientation
        except ItemError:
            continue  # The export itself says of it what is to be said.
        if in_place.why_not(source, image.file, orientation):
            return "hardlink"
    return "none"
