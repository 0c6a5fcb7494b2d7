"""What every data set is: images with image-level labels, and, apart from them, ground truth."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from wsloc.records import GroundTruth, ImageRecord


@dataclass(frozen=True, slots=True)
class Dataset:
    """The side of a data set that code which makes boxes may see.

    Attributes:
        name: short, for run folders and tables.
        root: folder that the images lie under.
        class_names: all classes of the data set; empty where it has none of its own.
        images: in a fixed order; a labelled class of an image is an item.
        label_map: name of the built-in label map that knows these classes, or None.
    """

    name: str
    root: Path
    class_names: tuple[str, ...]
    images: tuple[ImageRecord, ...]
    label_map: str | None = None

    def fingerprint(self) -> str:
        """A SHA-256 over ids, labels and their order: two data sets with the same one have the same items."""
        digest = hashlib.sha256()
        for image in self.images:
            digest.update("\x1f".join((image.image_id, *image.labels)).encode(errors="surrogateescape") + b"\x1e")
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class GroundTruthSet:
    """The side that evaluation alone opens.

    Attributes:
        images: by image id; an image whose annotation cannot be read has no entry.
        problems: one sentence for each annotation, or box of one, that was left out or mended.
        ambiguous_orientations: images with an EXIF orientation whose annotation does not tell in which
            frame its boxes are; they are taken to be in the stored one.
    """

    images: dict[str, GroundTruth]
    problems: tuple[str, ...] = ()
    ambiguous_orientations: int = 0
