"""What every data set is: images with image-level labels, and, apart from them, ground truth."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from wsloc.config import DataSettings
from wsloc.errors import UserError
from wsloc.files.reading import is_there
from wsloc.records import AskedClasses, GroundTruth, ImageRecord, TrueMasks

FileProblem = tuple[Path, str]
"""A file that contradicts itself or another, and a sentence that says how."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """The part of a data set that code that makes boxes may see.

    Attributes:
        name: short, for run folders and tables.
        root: folder that contains the images.
        class_names: all classes of the data set; empty if it has none of its own.
        images: in a fixed order; a labeled class of an image is an item.
        label_map: name of the built-in label map that knows these classes, or None.
        category_ids: the data set's own id of each class, in their order; None if it has none.
        problems: what is wrong with its lists.
    """

    name: str
    root: Path
    class_names: tuple[str, ...]
    images: tuple[ImageRecord, ...]
    label_map: str | None = None
    category_ids: tuple[int, ...] | None = None
    problems: tuple[FileProblem, ...] = field(default=(), compare=False)

    def fingerprint(self) -> str:
        """A SHA-256 over ids, labels and their order: two data sets with the same one have the same items."""
        digest = hashlib.sha256()
        for image in self.images:
            digest.update("\x1f".join((image.image_id, *image.labels)).encode(errors="surrogateescape") + b"\x1e")
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class GroundTruthSet:
    """The part that only evaluation opens.

    Attributes:
        images: by image id; an image whose annotation cannot be read has no entry.
        problems: one sentence for each annotation, or box of one, that was left out or fixed.
        ambiguous_orientations: images with an EXIF orientation whose annotation does not say in which
            frame its boxes are; they are taken to be in the stored one.
        read_masks: reads the true masks of an image by its id; raises ItemError where they cannot be read,
            MissingMaskError where the image has none. None if the data set has no masks.
        partial: whether the data set annotates only some of its images, so that those without an entry are no error.
    """

    images: dict[str, GroundTruth]
    problems: tuple[str, ...] = ()
    ambiguous_orientations: int = 0
    read_masks: Callable[[str], TrueMasks] | None = None
    partial: bool = False


@dataclass(frozen=True, slots=True)
class DataSetKind:
    """All that is known of a kind of data set: an entry of :data:`wsloc.registries.DATASETS`.

    Attributes:
        open: ``open(root, split, settings)``: images and image-level labels; raises UserError.
        read_truth: ``read_truth(dataset, split, settings)``: true boxes or masks, of none, some or all of its images.
        default_root: its folder where the settings name none; None if they must.
        default_split: the split to localize; empty if it has no splits.
        train_split: the split to train on.
        takes: which of the settings ``labels``, its columns, ``annotations``, ``boxes`` and ``masks`` it reads.
        check: ``check(root, split, settings)``: problems that are too costly to look for whenever it is opened.
        xml_file: ``xml_file(dataset, split, image)``: the annotation whose image size is to be checked, or None.
        expects_mask: whether an image is at fault if its mask cannot be read, where the data set has masks.
    """

    open: Callable[[Path, str, DataSettings], Dataset]
    read_truth: Callable[[Dataset, str, DataSettings], GroundTruthSet | None] = lambda *_: None
    default_root: Path | None = Path("data")
    default_split: str = ""
    train_split: str | None = None
    takes: frozenset[str] = frozenset()
    check: Callable[[Path, str, DataSettings], Iterable[FileProblem]] = lambda *_: ()
    xml_file: Callable[[Dataset, str, ImageRecord], Path | None] = lambda *_: None
    expects_mask: Callable[[Dataset, ImageRecord], bool] = lambda *_: True


def require_images(dataset: Dataset) -> None:
    """Refuse a data set of which no image file is there, before anything is made for it; some may be missing.

    Raises:
        UserError: if there is none.
    """
    paths = [image.source for image in dataset.images if isinstance(image.source, Path)]
    if len(paths) == len(dataset.images) and not any(map(is_there, paths)):
        named = Path(dataset.images[0].file)
        if is_there(named):
            raise UserError(
                f"The names in the lists of the data set begin at the current folder ({named} is there, {paths[0]} is "
                "not); give `root='.'`."
            )
        raise UserError(
            f"No image of {dataset.name} exists ({len(paths):,} listed, the first is {paths[0]}); check `root`, and "
            "the names in the lists of the data set."
        )


def asked_classes(settings: DataSettings, dataset: Dataset) -> AskedClasses:
    """The classes to look for: those that label an image, or those that the classifier's best are chosen from."""
    if settings.targets != "labels":
        names = tuple(dict.fromkeys(settings.classes or dataset.class_names))
    else:
        labeled = {label for image in dataset.images for label in image.labels}
        ordered = [name for name in dataset.class_names if name in labeled]
        names = (*ordered, *sorted(labeled.difference(ordered)))
    return AskedClasses(names, dataset.label_map, dataset.class_names)
