"""PASCAL VOC: images and image-level labels (ImageSets/Main), and its XML annotations.

Labels come from the per-class lists alone, where 1 means present, -1 absent and 0 that only
difficult instances are present; the last are left out. The XML files, which hold the boxes, are opened by
:func:`read_voc_ground_truth`.
"""

from __future__ import annotations

import urllib.error
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from wsloc import boxes
from wsloc.config import DataSettings
from wsloc.datasets.annotations import read_annotations
from wsloc.datasets.dataset import Dataset, DataSetKind, GroundTruthSet
from wsloc.datasets.image_files import find_images
from wsloc.datasets.match_files import by_short_name
from wsloc.datasets.tables import Rows, find_folder, read_rows, repeated, require_inside, strangers
from wsloc.datasets.voc_masks import MASK_FOLDERS, voc_masks_of
from wsloc.datasets.voc_xml import read_xml
from wsloc.errors import UserError
from wsloc.files.reading import is_there
from wsloc.records import ImageRecord


def open_voc(root: Path, year: str, split: str, name: str = "voc") -> Dataset:
    """Images and image-level labels of a split.

    Args:
        root: folder that holds ``VOCdevkit``; the devkit itself or the year's folder do as well.
        year: "2007" or "2012".
        split: a list in ``ImageSets/Main``.
        name: of the data set.

    Raises:
        UserError: if the folder, the split or its class lists are missing or malformed.
    """
    below = (f"VOCdevkit/VOC{year}", f"VOC{year}")
    hint = "`download=True` fetches it, `year` and `root` choose"
    folder = find_folder(root, below, "ImageSets/Main", hint)
    lists = folder / "ImageSets" / "Main"
    if not (split_file := lists / f"{split}.txt").is_file():
        splits = ", ".join(sorted(path.stem for path in lists.glob("[!.]*.txt") if "_" not in path.stem)) or "none"
        raise UserError(f"There is no split {split!r} in {lists}; it has {splits}.")
    listed_ids = [row[0] for row in read_rows(split_file)]
    require_inside(split_file, folder, listed_ids)
    problems = repeated(split_file, listed_ids)
    labels: dict[str, list[str]] = {image_id: [] for image_id in listed_ids}
    class_names = []
    for path in sorted(lists.glob(f"[!.]*_{split}.txt")):
        class_names.append(path.stem.removesuffix(f"_{split}"))
        rows = _read_class_list(path)
        for image_id in dict.fromkeys(image_id for image_id, sign in rows if sign == "1" and image_id in labels):
            labels[image_id].append(class_names[-1])
        problems += repeated(path, (image_id for image_id, _ in rows))
        unknown = sorted({image_id for image_id, _ in rows} - labels.keys())
        problems += strangers(path, unknown, f"images that {split_file.name} lacks")
    if not class_names:
        raise UserError(f"{lists} has no per-class lists such as cat_{split}.txt, which hold the image-level labels.")
    files = _image_files(folder, listed_ids)
    images = tuple(
        ImageRecord(image_id, files[image_id], folder / files[image_id], tuple(names))
        for image_id, names in labels.items()
    )
    return Dataset(name, folder, tuple(class_names), images, label_map="voc", problems=tuple(problems))


def read_voc_ground_truth(dataset: Dataset) -> GroundTruthSet:
    """The true boxes, and the masks if there are any, of the images of a data set that :func:`open_voc` opened.

    Boxes are in the frame of the image after EXIF transposition. An annotation whose size is the
    stored size, and not also the transposed one, was drawn on the stored image, and its boxes turn with it.
    """
    truth = read_annotations(
        dataset.images,
        lambda image: read_xml(_xml_path(dataset, image), image, lambda corners: boxes.from_voc(*corners)),
        lambda image: _xml_path(dataset, image).name,
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


def _image_files(folder: Path, image_ids: Iterable[str]) -> dict[str, str]:
    """The file of each image: VOC's are JPEG files, but other tools write its layout with any suffix."""
    files = {image_id: f"JPEGImages/{image_id}.jpg" for image_id in image_ids}
    if missing := [image_id for image_id, file in files.items() if not is_there(folder / file)]:
        pictures = folder / "JPEGImages"
        others = by_short_name(path.relative_to(pictures).as_posix() for path in find_images(pictures).images)
        files |= {image_id: f"JPEGImages/{others[image_id][0]}" for image_id in missing if image_id in others}
    return files


def _read_class_list(path: Path) -> Rows:
    rows = read_rows(path)
    for row in rows:
        if len(row) != 2 or row[1] not in ("1", "0", "-1"):
            raise UserError(f"{path} must hold rows 'image 1', 'image 0' or 'image -1', not {' '.join(row)!r}.")
    return rows


def _xml_path(dataset: Dataset, image: ImageRecord) -> Path:
    return dataset.root / "Annotations" / f"{image.image_id}.xml"


def _xml_file(dataset: Dataset, _split: str, image: ImageRecord) -> Path | None:
    path = _xml_path(dataset, image)
    # That one is missing is among the problems of the annotations.
    return path if is_there(path) else None


def _expects_mask(dataset: Dataset, image: ImageRecord) -> bool:
    return any(is_there(dataset.root / folder / f"{image.image_id}.png") for folder in MASK_FOLDERS)


def _open(root: Path, split: str, settings: DataSettings) -> Dataset:
    if settings.download:
        download_voc(root, settings.year, split)
    return open_voc(root, settings.year, split)


VOC = DataSetKind(
    open=_open,
    read_truth=lambda dataset, _split, _settings: read_voc_ground_truth(dataset),
    default_split="trainval",
    train_split="train",
    xml_file=_xml_file,
    expects_mask=_expects_mask,
)
