"""What every data set is: images with image-level labels, and, apart from them, ground truth."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from wsloc.config import DataSettings
from wsloc.records import AskedClasses, GroundTruth, ImageRecord, TrueMasks


@dataclass(frozen=True, slots=True)
class Dataset:
    """The side of a data set that code which makes boxes may see.

    Attributes:
        name: short, for run folders and tables.
        root: folder that the images lie under.
        class_names: all classes of the data set; empty where it has none of its own.
        images: in a fixed order; a labeled class of an image is an item.
        label_map: name of the built-in label map that knows these classes, or None.
        category_ids: the data set's own number of each class, in their order; None where it has none.
    """

    name: str
    root: Path
    class_names: tuple[str, ...]
    images: tuple[ImageRecord, ...]
    label_map: str | None = None
    category_ids: tuple[int, ...] | None = None

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
        read_masks: the true masks of an image by its id, read when asked for; raises ItemError where they
            cannot be read, MissingMaskError where the image has none. None where the data set has no masks.
        partial: whether the data set annotates only some of its images, so that those without an entry are no fault.
    """

    images: dict[str, GroundTruth]
    problems: tuple[str, ...] = ()
    ambiguous_orientations: int = 0
    read_masks: Callable[[str], TrueMasks] | None = None
    partial: bool = False


def asked_classes(settings: DataSettings, dataset: Dataset) -> AskedClasses:
    """The classes to look for: those that label an image, or those that the classifier's best are chosen from."""
    if settings.targets != "labels":
        names = tuple(dict.fromkeys(settings.classes or dataset.class_names))
    else:
        labeled = {label for image in dataset.images for label in image.labels}
        ordered = [name for name in dataset.class_names if name in labeled]
        names = (*ordered, *sorted(labeled.difference(ordered)))
    return AskedClasses(names, dataset.label_map, dataset.class_names)
