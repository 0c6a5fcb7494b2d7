"""CUB-200-2011 (Wah, Branson, Welinder, Perona, Belongie 2011): birds of 200 species, one box each.

The folder holds text tables with spaces between the columns: ``images.txt`` (id, file below ``images/``),
``classes.txt`` (id, name), ``image_class_labels.txt`` (image id, class id), ``train_test_split.txt`` (image id, 1 for
train) and ``bounding_boxes.txt`` (image id, x, y, width, height). The segmentations are an archive of their own:
gray pictures in ``segmentations/``, inside the folder or beside it.

The data set's README calls the boxes "measured in pixels" and says no more. They are read as 0-based, and both
``(x, y)`` and ``(x + width, y + height)`` as pixels of the box. The tables of wsolevaluation (Choe et al. 2020) hold
``x, y, x + width, y + height`` unchanged and include both ends; corners there reach 0 on the left, and on the right
499 but not 500 in images 500 px wide.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from wsloc.datasets.annotations import Annotation, place_annotation, read_annotations
from wsloc.datasets.dataset import Dataset, DataSetKind, GroundTruthSet
from wsloc.datasets.frames import frame_of, header_of, size_text, turn_masks
from wsloc.datasets.mask_files import open_mask
from wsloc.datasets.tables import (
    find_folder,
    read_rows,
    read_table,
    repeated,
    require_inside,
    strangers,
    whole_number,
)
from wsloc.errors import ItemError, UserError
from wsloc.images import read_header
from wsloc.records import ImageRecord, TrueMasks

_IS_TRAIN = {"train": "1", "test": "0"}
_MAJORITY = 128
"""Segmentations hold the fraction of their annotators, 0 to 255: half of them make an object."""


@dataclass(frozen=True, slots=True)
class _Names:
    """File of each image by its id, and the names of the classes by their id."""

    files: dict[str, str]
    classes: dict[str, str]


def open_cub(root: Path, split: str) -> Dataset:
    """Images and image-level labels of a split.

    Args:
        root: folder that holds ``CUB_200_2011``, or that folder itself.
        split: ``test`` or ``train``.

    Raises:
        UserError: if the folder, the split or a table is missing or malformed.
    """
    if split not in _IS_TRAIN:
        raise UserError(f"CUB-200-2011 has the splits test and train, not {split!r}.")
    folder = find_folder(root, ["CUB_200_2011"], "images.txt")
    names = _read_names(folder)
    paths = {name: folder / f"{name}.txt" for name in ("images", "image_class_labels", "train_test_split")}
    labels, is_train = _read_pairs(paths["image_class_labels"]), _read_pairs(paths["train_test_split"])
    labeled, split_of = dict(labels), dict(is_train)
    if unknown := [label for label in labeled.values() if label not in names.classes]:
        raise UserError(f"{paths['image_class_labels']} holds the class {unknown[0]}, which classes.txt lacks.")
    images = tuple(
        ImageRecord(file, f"images/{file}", folder / "images" / file, (names.classes[labeled[number]],))
        if number in labeled
        else ImageRecord(file, f"images/{file}", folder / "images" / file)
        for number, file in names.files.items()
        if split_of.get(number) == _IS_TRAIN[split]
    )
    if not images:
        raise UserError(f"{paths['train_test_split']} names no image of the split {split}.")
    problems = [
        *repeated(paths["images"], (number for number, _ in _read_pairs(paths["images"]))),
        *repeated(paths["images"], (file for _, file in _read_pairs(paths["images"]))),
        *repeated(paths["image_class_labels"], (number for number, _ in labels)),
        *repeated(paths["train_test_split"], (number for number, _ in is_train)),
        *strangers(paths["images"], names.files.keys() - labeled.keys(), "images without a label"),
        *strangers(paths["images"], names.files.keys() - split_of.keys(), "images of no split"),
        *strangers(paths["image_class_labels"], labeled.keys() - names.files.keys(), "labels without an image"),
    ]
    class_names = tuple(names.classes.values())
    category_ids = tuple(whole_number(folder / "classes.txt", number) for number in names.classes)
    return Dataset("cub", folder, class_names, images, "in-order", category_ids, tuple(problems))


def read_cub_ground_truth(dataset: Dataset) -> GroundTruthSet:
    """The true boxes of the images of a data set that :func:`open_cub` opened, and masks where there are segmentations.

    The class of a box is that of its image in ``image_class_labels.txt``. Boxes and masks turn with images that have
    an EXIF orientation: the tables do not give the frame, and a mask gives it by its size.
    """
    folder = dataset.root
    names = _read_names(folder)
    class_of = {
        names.files[number]: names.classes[label]
        for number, label in _read_pairs(folder / "image_class_labels.txt")
        if number in names.files and label in names.classes
    }
    box_of, bad_rows = _read_boxes(folder / "bounding_boxes.txt", names.files)

    def read(image: ImageRecord) -> Annotation:
        file = image.image_id
        if file not in class_of or file not in box_of:
            raise ItemError("bounding_boxes.txt has no box of it, or image_class_labels.txt no label")
        header = header_of(image.path, None)
        x, y, width, height = box_of[file]
        box = (x, y, x + width + 1, y + height + 1)
        return place_annotation(image, [box], [class_of[file]], header, frame_of(None, header), tolerance=1)

    truth = read_annotations(dataset.images, read, lambda image: image.image_id, bad_rows)
    return replace(truth, read_masks=_mask_reader(folder, dataset, class_of))


def _read_pairs(path: Path) -> list[tuple[str, str]]:
    return [(row[0], row[1]) for row in read_table(path, 2, "number value", max_columns=2)]


def _read_names(folder: Path) -> _Names:
    files = dict(_read_pairs(folder / "images.txt"))
    require_inside(folder / "images.txt", folder / "images", files.values())
    classes = dict(_read_pairs(folder / "classes.txt"))
    # 001.Black_footed_Albatross: the number is only in the way, as long as the rest tells the classes apart.
    short = {number: name.partition(".")[2] if name[:3].isdigit() else name for number, name in classes.items()}
    unique = len(set(short.values())) == len(classes) and all(short.values())
    return _Names(files, short if unique else classes)


def _read_boxes(path: Path, files: dict[str, str]) -> tuple[dict[str, tuple[float, ...]], list[str]]:
    """Box of each image file as x, y, width and height, and a sentence for each row that holds none."""
    found: dict[str, tuple[float, ...]] = {}
    problems = []
    for row in read_rows(path):
        try:
            box = tuple(float(text) for text in row[1:])
        except ValueError:
            box = ()
        if len(box) != 4 or not np.isfinite(box).all():
            problems.append(f"{path.name}: {' '.join(row)!r} is not a row 'number x y width height'")
        elif row[0] in files:
            found[files[row[0]]] = box
    return found, problems


def _mask_reader(folder: Path, dataset: Dataset, class_of: dict[str, str]) -> Callable[[str], TrueMasks] | None:
    candidates = (folder / "segmentations", folder.parent / "segmentations")
    segmentations = next((path for path in candidates if path.is_dir()), None)
    if segmentations is None:
        return None
    paths = {image.image_id: image.path for image in dataset.images}

    def read(image_id: str) -> TrueMasks:
        path = segmentations / Path(image_id).with_suffix(".png")
        with open_mask(path, f"segmentation {path.name}") as picture:
            mask = np.asarray(picture.convert("L")) >= _MAJORITY
        mask_wh = (mask.shape[1], mask.shape[0])
        frame = frame_of(mask_wh, read_header(paths[image_id]))
        if mask_wh != frame.size_wh:
            raise ItemError(f"the segmentation has {size_text(mask_wh)} pixels, the image has other sides")
        turned = turn_masks(mask[None], frame.orientation)
        return TrueMasks(turned, (class_of[image_id],), np.zeros(turned.shape[1:], dtype=bool))

    return read


CUB = DataSetKind(
    open=lambda root, split, _settings: open_cub(root, split),
    read_truth=lambda dataset, _split, _settings: read_cub_ground_truth(dataset),
    default_split="test",
    train_split="train",
)
