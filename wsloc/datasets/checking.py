"""Looking through a whole data set for files that are missing, unreadable or contradict each other."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from wsloc.config import DataSettings
from wsloc.datasets.dataset import Dataset, DataSetKind, GroundTruthSet
from wsloc.datasets.own_truth import whole_masks
from wsloc.datasets.registry import kind_of, open_quietly, read_ground_truth, root_and_split
from wsloc.datasets.voc_xml import annotated_size, parse_xml
from wsloc.errors import ItemError, MissingMaskError
from wsloc.files.reading import is_there, read_bytes
from wsloc.images import read_header, read_image
from wsloc.progress import Progress, silent
from wsloc.records import GroundTruth, ImageRecord


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a data set.

    Attributes:
        kind: a few words, the same for all problems alike.
        where: the file, or what the annotations call it.
        sentence: what is wrong with it.
    """

    kind: str
    where: str
    sentence: str


def check_dataset(settings: DataSettings, progress: Progress = silent) -> Iterator[Problem]:
    """Everything that is wrong with a data set, its images read to the last pixel.

    ``classes``, ``ids`` and ``limit`` of the settings choose images; whatever labels them, they keep all their labels.

    Args:
        settings: which data set, and where.
        progress: counts the images as they are read.

    Yields:
        Lists first, then images, annotations, labels and masks, each in the order of the images.

    Raises:
        UserError: if the data set cannot be opened at all.
    """
    dataset = open_quietly(settings)
    if settings.classes:
        chosen = frozenset(settings.classes)
        images = tuple(image for image in dataset.images if chosen.intersection(image.labels))
        dataset = replace(dataset, images=images)
    dataset = replace(dataset, images=dataset.images[: settings.limit])
    kind = kind_of(settings)
    more = kind.check(*root_and_split(settings, kind), settings) if kind else ()
    for path, sentence in (*dataset.problems, *more):
        yield Problem("list", str(path), sentence)
    yield from _image_problems(progress(dataset.images, "images", "image"))
    if kind is None or (truth := read_ground_truth(settings, dataset)) is None:
        return
    split = settings.split or kind.default_split
    xml_files = ((image, kind.xml_file(dataset, split, image)) for image in dataset.images)
    yield from _annotation_problems(dataset, truth)
    yield from _size_problems((image, path) for image, path in xml_files if path is not None)
    yield from _label_problems(dataset, truth)
    yield from _mask_problems(kind, dataset, truth)


def _image_problems(images: Iterable[ImageRecord]) -> Iterator[Problem]:
    seen: dict[bytes, str] = {}
    for image in images:
        where = str(image.path)
        if not is_there(image.path):
            yield Problem("missing image", where, "does not exist")
            continue
        try:
            read_image(image.path)
            digest = hashlib.sha256(read_bytes(image.path)).digest()
        except (ItemError, OSError) as error:
            yield Problem("unreadable image", where, str(error).removeprefix(f"{image.path.name} "))
            continue
        if digest in seen:
            yield Problem("equal images", where, f"has the same bytes as {seen[digest]}")
        seen.setdefault(digest, image.file)


def _annotation_problems(dataset: Dataset, truth: GroundTruthSet) -> Iterator[Problem]:
    for problem in truth.problems:
        where, _, sentence = problem.partition(": ")
        yield Problem("annotation", where, sentence)
    if truth.ambiguous_orientations:
        yield Problem(
            "orientation",
            str(dataset.root),
            f"{truth.ambiguous_orientations} images have an EXIF orientation, and their annotation does not say "
            "whether its boxes are in the frame of the stored image, as is assumed, or of the turned one",
        )


def _size_problems(xml_files: Iterable[tuple[ImageRecord, Path]]) -> Iterator[Problem]:
    for image, path in xml_files:
        if not is_there(path):
            yield Problem("annotation", str(path), "does not exist")
            continue
        try:
            annotated_wh, header = annotated_size(parse_xml(path)), read_header(image.path)
        except ItemError:
            continue
        if annotated_wh is not None and annotated_wh not in (header.stored_wh, header.size_wh):
            sizes = (f"{width} x {height}" for width, height in (annotated_wh, header.stored_wh))
            yield Problem("size", str(path), "says {} pixels, but the image has {}".format(*sizes))


def _label_problems(dataset: Dataset, truth: GroundTruthSet) -> Iterator[Problem]:
    for image in dataset.images:
        found = truth.images.get(image.image_id)
        if found is None:
            continue
        boxed = {*found.class_names, *found.crowd_class_names}
        shown = boxed or _masked(truth, image)
        for label in image.labels:
            if label not in shown:
                yield Problem("label without box", str(image.path), f"is labeled {label}, but has no box of it")
        for name in sorted(_plainly_boxed(found).difference(image.labels)):
            yield Problem("box without label", str(image.path), f"has a box of {name}, but is not labeled with it")


def _masked(truth: GroundTruthSet, image: ImageRecord) -> set[str]:
    """Classes that an image has a mask of, where there is no box; all of its labels if its masks cannot be read."""
    if truth.read_masks is None:
        return set()
    try:
        return set(truth.read_masks(image.image_id).class_names)
    except MissingMaskError:
        return set()
    except ItemError:
        return set(image.labels)  # which is a problem of its own


def _plainly_boxed(found: GroundTruth) -> set[str]:
    """Classes of the boxes that are not difficult: of a class with difficult ones alone VOC says neither yes nor no."""
    return {name for name, difficult in zip(found.class_names, found.difficult, strict=True) if not difficult}


def _mask_problems(kind: DataSetKind, dataset: Dataset, truth: GroundTruthSet) -> Iterator[Problem]:
    if truth.read_masks is None:
        return
    known = frozenset(truth.problems)
    for image in dataset.images:
        if not is_there(image.path) or not kind.expects_mask(dataset, image):
            continue
        try:
            masks = truth.read_masks(image.image_id)
        except ItemError as error:
            yield Problem("mask", image.file, str(error))
            continue
        for sentence in whole_masks(masks):
            if f"{image.image_id}: {sentence}" not in known:
                yield Problem("mask", image.file, sentence)
