"""Looking through a whole data set for files that are missing, unreadable or contradict each other."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from wsloc.config import DataSettings
from wsloc.datasets.cub import list_cub
from wsloc.datasets.dataset import Dataset, GroundTruthSet
from wsloc.datasets.imagenet import annotation_of, list_imagenet
from wsloc.datasets.registry import open_images, read_ground_truth, wsol_root
from wsloc.datasets.tables import is_there, read_rows, repeated, strangers
from wsloc.datasets.voc_xml import annotated_size, parse_xml
from wsloc.datasets.wsol_tables import list_wsol
from wsloc.errors import ItemError
from wsloc.images import read_header, read_image
from wsloc.records import GroundTruth, ImageRecord

Watch = Callable[[Iterable[ImageRecord]], Iterable[ImageRecord]]


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


def check_dataset(settings: DataSettings, watch: Watch = iter) -> Iterator[Problem]:
    """Everything that is wrong with a data set, its images read to the last pixel.

    ``classes``, ``ids`` and ``limit`` of the settings choose images; whatever labels them, they keep all their labels.

    Args:
        settings: which data set, and where.
        watch: sees the images as they are read, for a progress bar.

    Yields:
        Lists first, then images, annotations, labels and masks, each in the order of the images.

    Raises:
        UserError: if the data set cannot be opened at all.
    """
    dataset = open_images(settings)
    if settings.classes:
        chosen = frozenset(settings.classes)
        images = tuple(image for image in dataset.images if chosen.intersection(image.labels))
        dataset = replace(dataset, images=images)
    dataset = replace(dataset, images=dataset.images[: settings.limit])
    # Several data sets name what is wrong with a list only when asked, since to open them it need not be known.
    yield from _list_problems(settings)
    yield from _image_problems(watch(dataset.images))
    truth = read_ground_truth(settings, dataset)
    if truth is None:
        return
    yield from _annotation_problems(settings, dataset, truth)
    yield from _label_problems(dataset, truth)
    yield from _mask_problems(settings, dataset, truth)


def _list_problems(settings: DataSettings) -> Iterator[Problem]:
    if settings.images is not None or settings.dataset not in _LIST_CHECKS:
        return
    for path, sentence in _LIST_CHECKS[settings.dataset](settings):
        yield Problem("list", str(path), sentence)


def _image_problems(images: Iterable[ImageRecord]) -> Iterator[Problem]:
    seen: dict[bytes, str] = {}
    for image in images:
        where = str(image.path)
        if not is_there(image.path):
            yield Problem("missing image", where, "does not exist")
            continue
        try:
            read_image(image.path)
            with image.path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").digest()
        except (ItemError, OSError) as error:
            yield Problem("unreadable image", where, str(error).removeprefix(f"{image.path.name} "))
            continue
        if digest in seen:
            yield Problem("equal images", where, f"has the same bytes as {seen[digest]}")
        seen.setdefault(digest, image.file)


def _annotation_problems(settings: DataSettings, dataset: Dataset, truth: GroundTruthSet) -> Iterator[Problem]:
    for problem in truth.problems:
        where, _, sentence = problem.partition(": ")
        yield Problem("annotation", where, sentence)
    if truth.ambiguous_orientations:
        yield Problem(
            "orientation",
            str(dataset.root),
            f"{truth.ambiguous_orientations} images have an EXIF orientation, and their annotation does not tell "
            "whether its boxes are in the frame of the stored image, as is assumed, or of the turned one",
        )
    for image in dataset.images:
        path = _xml_of(settings, dataset, image)
        if path is None:
            continue
        if not is_there(path):
            # VOC's reader has told this already; most images of ImageNet's train have no boxes.
            if settings.dataset == "imagenet" and settings.split != "train":
                yield Problem("annotation", str(path), "does not exist")
            continue
        try:
            annotated_wh, header = annotated_size(parse_xml(path)), read_header(image.path)
        except ItemError:
            continue
        if annotated_wh not in (None, header.stored_wh, header.size_wh):
            assert annotated_wh is not None
            width, height = header.stored_wh
            yield Problem(
                "size",
                str(path),
                f"says {annotated_wh[0]} x {annotated_wh[1]} pixels, but the image has {width} x {height}",
            )


def _xml_of(settings: DataSettings, dataset: Dataset, image: ImageRecord) -> Path | None:
    if settings.dataset in ("voc", "demo"):
        return dataset.root / "Annotations" / f"{image.image_id}.xml"
    return annotation_of(dataset, image) if settings.dataset == "imagenet" else None


def _label_problems(dataset: Dataset, truth: GroundTruthSet) -> Iterator[Problem]:
    if not any(len(found.boxes_xyxy) or len(found.crowd_xyxy) for found in truth.images.values()):
        return
    for image in dataset.images:
        found = truth.images.get(image.image_id)
        if found is None:
            continue
        boxed = {*found.class_names, *found.crowd_class_names}
        for label in image.labels:
            if label not in boxed:
                yield Problem("label without box", str(image.path), f"is labeled {label}, but no box is one")
        for name in sorted(_plainly_boxed(found).difference(image.labels)):
            yield Problem("box without label", str(image.path), f"has a box of {name}, but is not labeled so")


def _plainly_boxed(found: GroundTruth) -> set[str]:
    """Classes of the boxes that are not difficult: of a class with difficult ones alone VOC says neither yes nor no."""
    return {name for name, difficult in zip(found.class_names, found.difficult, strict=True) if not difficult}


def _mask_problems(settings: DataSettings, dataset: Dataset, truth: GroundTruthSet) -> Iterator[Problem]:
    # COCO's outlines are among the problems of its annotations.
    if truth.read_masks is None or settings.dataset == "coco":
        return
    for image in dataset.images:
        if not is_there(image.path) or not _should_have_mask(settings, dataset, image):
            continue
        try:
            truth.read_masks(image.image_id)
        except ItemError as error:
            yield Problem("mask", image.file, str(error))


def _should_have_mask(settings: DataSettings, dataset: Dataset, image: ImageRecord) -> bool:
    """VOC has masks of some images only."""
    if settings.dataset not in ("voc", "demo"):
        return True
    folders = ("SegmentationObject", "SegmentationClass")
    return any(is_there(dataset.root / folder / f"{image.image_id}.png") for folder in folders)


def _voc_lists(settings: DataSettings) -> list[tuple[Path, str]]:
    folder = open_images(settings).root / "ImageSets" / "Main"
    split = settings.split or ("trainval" if settings.dataset == "voc" else "test")
    path = folder / f"{split}.txt"
    ids = [row[0] for row in read_rows(path)]
    problems = repeated(path, ids)
    for class_list in sorted(folder.glob(f"*_{split}.txt")):
        labeled = [row[0] for row in read_rows(class_list)]
        problems += repeated(class_list, labeled)
        problems += strangers(class_list, sorted(set(labeled) - set(ids)), f"images that {path.name} lacks")
    return problems


def _folder_lists(settings: DataSettings) -> list[tuple[Path, str]]:
    ids = {image.image_id for image in open_images(replace(settings, ids=None)).images}
    problems = []
    if settings.masks is not None:
        stems = {Path(image_id).with_suffix("") for image_id in ids}
        masks = (path.relative_to(settings.masks) for path in sorted(settings.masks.rglob("*.png")))
        lost = (
            mask.as_posix()
            for mask in masks
            if not {mask.with_suffix(""), Path(*mask.parts[1:]).with_suffix("") if mask.parts[1:] else mask} & stems
        )
        problems += strangers(settings.masks, lost, "masks of no image")
    return problems


_LIST_CHECKS: dict[str, Callable[[DataSettings], Iterable[tuple[Path, str]]]] = {
    "demo": _voc_lists,
    "voc": _voc_lists,
    "imagenet": lambda settings: list_imagenet(settings.root or Path("data"), settings.split or "val").problems,
    "cub": lambda settings: list_cub(settings.root or Path("data"), settings.split or "test").problems,
    "folder": _folder_lists,
    "wsol": lambda settings: list_wsol(wsol_root(settings), settings.annotations, settings.split or "test").problems,
}
