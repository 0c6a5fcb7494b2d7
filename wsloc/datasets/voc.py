"""PASCAL VOC: images and image-level labels (ImageSets/Main), and its XML annotations.

Labels come from the per-class lists alone, where 1 means present, -1 absent and 0 that only
difficult instances are present; the last are left out. The XML files, which hold the boxes, are opened by
:func:`read_voc_ground_truth`.
"""

from __future__ import annotations

import urllib.error
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np

from wsloc import boxes
from wsloc.datasets.annotations import Annotation, read_annotations
from wsloc.datasets.dataset import Dataset, GroundTruthSet
from wsloc.datasets.frames import frame_of, header_of, place_boxes
from wsloc.datasets.voc_masks import voc_masks_of
from wsloc.datasets.voc_xml import annotated_size, is_difficult, parse_xml, read_corners
from wsloc.errors import UserError
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
    """The true boxes, and the masks if there are any, of the images of a data set that :func:`open_voc` opened.

    Boxes are in the frame of the image after EXIF transposition. An annotation whose size is the
    stored size, and not also the transposed one, was drawn on the stored image, and its boxes turn with it.
    """

    def path_of(image: ImageRecord) -> Path:
        return dataset.root / "Annotations" / f"{image.image_id}.xml"

    truth = read_annotations(
        dataset.images, lambda image: _read_annotation(path_of(image), image), lambda image: path_of(image).name
    )
    return replace(truth, read_masks=voc_masks_of(dataset))


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
        raise UserError(f"The folder {root} does not exist; `root` names the one that holds VOCdevkit.")
    raise UserError(f"There is no VOCdevkit/VOC{year} in {root}; `download=True` fetches it, `year` and `root` choose.")


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


def _read_annotation(path: Path, image: ImageRecord) -> Annotation:
    root = parse_xml(path)
    annotated_wh = annotated_size(root)
    header = header_of(image.path, annotated_wh)
    in_stored_frame, told = frame_of(annotated_wh, header)
    elements = root.findall("object")
    names = [(element.findtext("name") or "").strip() for element in elements]
    read = [boxes.from_voc(*read_corners(element, name)) for element, name in zip(elements, names, strict=True)]
    placed = place_boxes(read, names, header, in_stored_frame)
    truth = GroundTruth(
        image.image_id,
        placed.boxes_xyxy,
        tuple(names[index] for index in placed.kept),
        np.array([is_difficult(elements[index]) for index in placed.kept], dtype=bool),
        header.size_wh,
    )
    return Annotation(truth, told, placed.problems)
