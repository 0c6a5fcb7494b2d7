"""PASCAL VOC: images and image-level labels (ImageSets/Main), and its XML annotations.

Labels come from the per-class lists alone, where 1 means present, -1 absent and 0 that only
difficult instances are present; the last are left out. The XML files, which hold the boxes, are opened by
:func:`read_voc_ground_truth`.
"""

from __future__ import annotations

import urllib.error
import xml.etree.ElementTree as ElementTree
from pathlib import Path, PurePosixPath

import numpy as np

from wsloc import boxes
from wsloc.datasets.dataset import Dataset, GroundTruthSet
from wsloc.errors import ItemError, UserError
from wsloc.images import ImageHeader, read_header
from wsloc.records import GroundTruth, ImageRecord


def open_voc(root: Path, year: str = "2012", split: str = "trainval", name: str = "voc") -> Dataset:
    """Images and image-level labels of a split.

    Args:
        root: folder that holds ``VOCdevkit``; the devkit itself or the year's folder do as well.
        year: "2007" or "2012".
        split: a list in ``ImageSets/Main``.
        name: of the data set.

    Raises:
        UserError: if the folder, the split or its class lists are missing or malformed.
    """
    folder = _year_folder(root, year)
    lists = folder / "ImageSets" / "Main"
    if not (split_file := lists / f"{split}.txt").is_file():
        splits = ", ".join(sorted(path.stem for path in lists.glob("*.txt") if "_" not in path.stem)) or "none"
        raise UserError(f"There is no split {split!r} in {lists}; it has {splits}.")
    image_ids = _read_ids(split_file)
    class_lists = {path.stem.removesuffix(f"_{split}"): path for path in sorted(lists.glob(f"*_{split}.txt"))}
    if not class_lists:
        raise UserError(f"{lists} has no per-class lists such as cat_{split}.txt, which hold the image-level labels.")
    labels: dict[str, list[str]] = {image_id: [] for image_id in image_ids}
    for class_name, path in class_lists.items():
        for image_id in dict.fromkeys(_read_positives(path)):
            if image_id in labels:
                labels[image_id].append(class_name)
    images = tuple(
        ImageRecord(image_id, file, folder / file, tuple(labels[image_id]))
        for image_id in image_ids
        for file in [f"JPEGImages/{image_id}.jpg"]
    )
    return Dataset(name, folder, tuple(class_lists), images, label_map="voc")


def read_voc_ground_truth(dataset: Dataset) -> GroundTruthSet:
    """The true boxes of the images of a data set that :func:`open_voc` opened.

    Boxes are in the frame of the image after EXIF transposition. An annotation whose size is the
    stored size, and not also the transposed one, was drawn on the stored image, and its boxes turn with it.
    """
    images: dict[str, GroundTruth] = {}
    problems: list[str] = []
    ambiguous = 0
    for image in dataset.images:
        image_id = image.image_id
        path = dataset.root / "Annotations" / f"{image_id}.xml"
        try:
            truth, told, mended = _read_annotation(path, image_id, image.path)
        except ItemError as error:
            problems.append(f"{path.name}: {error}")
            continue
        images[image_id] = truth
        problems += [f"{path.name}: {sentence}" for sentence in mended]
        ambiguous += not told
    return GroundTruthSet(images, tuple(problems), ambiguous)


def download_voc(root: Path, year: str, split: str) -> None:
    """Fetch and unpack VOC below ``root`` by torchvision's own code.

    Raises:
        UserError: if the archive cannot be fetched.
    """
    from torchvision.datasets import VOCDetection

    image_set = split if split in ("train", "val", "trainval", "test") else "trainval"
    try:
        VOCDetection(str(root), year=year, image_set=image_set, download=True)
    except (urllib.error.URLError, OSError, RuntimeError, ValueError) as error:
        raise UserError(
            f"VOC {year} could not be fetched into {root} ({error}); check the connection, or unpack its archive there."
        ) from error


def _year_folder(root: Path, year: str) -> Path:
    candidates = (root / "VOCdevkit" / f"VOC{year}", root / f"VOC{year}", root)
    for folder in candidates:
        if (folder / "ImageSets" / "Main").is_dir():
            return folder
    if not root.is_dir():
        raise UserError(f"The folder {root} does not exist; --root names the one that holds VOCdevkit.")
    raise UserError(f"There is no VOCdevkit/VOC{year} in {root}; --download fetches it, --year and --root choose.")


def _read_lines(path: Path) -> list[list[str]]:
    try:
        return [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}.") from error


def _read_ids(path: Path) -> list[str]:
    image_ids = list(dict.fromkeys(fields[0] for fields in _read_lines(path)))
    for image_id in image_ids:
        if PurePosixPath(image_id).is_absolute() or ".." in PurePosixPath(image_id).parts:
            raise UserError(f"{path} names {image_id!r}, which lies outside the data set.")
    return image_ids


def _read_positives(path: Path) -> list[str]:
    positives = []
    for fields in _read_lines(path):
        if len(fields) != 2 or fields[1] not in ("1", "0", "-1"):
            raise UserError(f"{path} must hold rows 'image 1', 'image 0' or 'image -1', not {' '.join(fields)!r}.")
        if fields[1] == "1":
            positives.append(fields[0])
    return positives


def _read_annotation(path: Path, image_id: str, image_path: Path) -> tuple[GroundTruth, bool, list[str]]:
    """The truth, whether the frame of its boxes could be told, and what had to be mended."""
    root = _parse_xml(path)
    annotated_wh = _annotated_size(root)
    try:
        header = read_header(image_path)
    except ItemError:
        # An image that cannot be read must still count as not found.
        if annotated_wh is None:
            raise
        header = ImageHeader(annotated_wh, 1)
    in_stored_frame, told = _frame(annotated_wh, header)
    frame_wh = header.stored_wh if in_stored_frame else header.size_wh
    found, names, difficult, mended = [], [], [], []
    for element in root.findall("object"):
        name = (element.findtext("name") or "").strip()
        box = _read_box(element, name)
        inside = boxes.clip(box, frame_wh)[0]
        if boxes.area(inside)[0] == 0:
            mended.append(f"the box of a {name} is inverted or outside the image, and was left out")
            continue
        if not np.array_equal(inside, box):
            mended.append(f"the box of a {name} reaches over the border, and was cut off there")
        found.append(inside)
        names.append(name)
        difficult.append((element.findtext("difficult") or "0").strip() == "1")
    turned = boxes.as_boxes(np.array(found))
    if in_stored_frame:
        turned = boxes.apply_exif_orientation(turned, header.stored_wh, header.orientation)
    truth = GroundTruth(image_id, turned, tuple(names), np.array(difficult, dtype=bool), header.size_wh)
    return truth, told, mended


def _parse_xml(path: Path) -> ElementTree.Element:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ItemError(f"the annotation cannot be read: {error.strerror}") from error
    if b"\0" in content:
        # In UTF-16 the declarations below would pass unseen.
        raise ItemError("the annotation is not written in UTF-8")
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise ItemError("the annotation declares XML entities, which are not expanded")
    try:
        return ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        raise ItemError(f"the annotation is not valid XML: {error}") from error


def _annotated_size(root: ElementTree.Element) -> tuple[int, int] | None:
    try:
        size = int(root.findtext("size/width") or 0), int(root.findtext("size/height") or 0)
    except ValueError:
        return None
    return size if min(size) > 0 else None


def _frame(annotated_wh: tuple[int, int] | None, header: ImageHeader) -> tuple[bool, bool]:
    """Whether the boxes are in the stored frame, and whether that could be told."""
    if header.orientation == 1:
        return True, True
    if header.stored_wh != header.size_wh:
        if annotated_wh == header.stored_wh:
            return True, True
        if annotated_wh == header.size_wh:
            return False, True
    return True, False


def _read_box(element: ElementTree.Element, name: str) -> tuple[float, float, float, float]:
    try:
        xmin, ymin, xmax, ymax = (
            float(element.findtext(f"bndbox/{side}") or "") for side in ("xmin", "ymin", "xmax", "ymax")
        )
    except ValueError as error:
        raise ItemError(f"the bndbox of an object {name!r} is missing or holds no numbers") from error
    if not np.isfinite([xmin, ymin, xmax, ymax]).all():
        raise ItemError(f"the bndbox of an object {name!r} holds no finite numbers")
    return boxes.from_voc(xmin, ymin, xmax, ymax)
