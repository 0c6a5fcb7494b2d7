"""The text tables of wsolevaluation (Choe et al. 2020, Evaluating Weakly Supervised Object Localization Methods Right).

Four tables with commas between the columns, one label per image::

    image_ids.txt      path/to/image1.jpg
    class_labels.txt   path/to/image1.jpg,0
    image_sizes.txt    path/to/image1.jpg,500,300
    localization.txt   path/to/image1.jpg,156,163,318,230

or, with masks instead of boxes (OpenImages), ``localization.txt`` with rows ``image,mask,ignored``, where the first row
of an image may name a file of pixels to be ignored. An image has one row for each of its boxes or masks.

A box of the tables is whole, 0-based, and both its corners are pixels of it: the published code adds one to
differences of corners. So ``x0,y0,x1,y1`` is ``[x0, y0, x1 + 1, y1 + 1]`` here, and nothing is clipped or
rounded: subtracting the ones gives back the published numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from wsloc import boxes
from wsloc.config import DataSettings
from wsloc.datasets.annotations import Annotation, read_annotations
from wsloc.datasets.coco import read_coco_boxes_of
from wsloc.datasets.dataset import Dataset, DataSetKind, GroundTruthSet
from wsloc.datasets.frames import frame_of, header_of, possible_size, size_text, turn_masks
from wsloc.datasets.image_files import is_hidden
from wsloc.datasets.mask_files import open_mask
from wsloc.datasets.tables import (
    leaves,
    read_rows,
    read_table,
    repeated,
    require_folder,
    require_inside,
    strangers,
    whole_number,
)
from wsloc.errors import ItemError, UserError
from wsloc.images import ImageHeader, read_header
from wsloc.records import GroundTruth, ImageRecord, TrueMasks

IntBox = tuple[int, int, int, int]

_MAX_CLASS = 999_999
_MAX_DIGITS = 9
"""Of a corner, in characters."""


@dataclass(frozen=True, slots=True)
class WsolTables:
    """The tables of a split.

    Attributes:
        folder: that contains them.
        image_ids: in their order, each once.
        labels: class number of an image.
        sizes_wh: width and height of an image; empty if there is no ``image_sizes.txt``.
        boxes: whole numbers ``x0, y0, x1, y1``, both corners inside; none where there are masks.
        mask_files: of an image, relative to the folder of the masks.
        ignored_file: of an image, likewise; only where it has one.
        bad_rows: one sentence for each row of ``localization.txt`` that holds neither.
    """

    folder: Path
    image_ids: tuple[str, ...]
    labels: Mapping[str, int]
    sizes_wh: Mapping[str, tuple[int, int]]
    boxes: Mapping[str, tuple[IntBox, ...]]
    mask_files: Mapping[str, tuple[str, ...]]
    ignored_file: Mapping[str, str]
    bad_rows: tuple[str, ...]


def find_wsol_folder(root: Path, split: str, annotations: Path | None) -> Path:
    """The folder of the tables: ``annotations``, its sub-folder of the split, or ``ROOT/metadata[/NAME]/SPLIT``.

    Raises:
        UserError: if there is none, or several below ``root``.
    """
    if annotations is not None:
        candidates = [annotations, annotations / split]
        where = f"{annotations} or its sub-folder {split}"
    else:
        metadata = root / "metadata"
        below = (path for path in metadata.glob(f"*/{split}") if not is_hidden(path.parent.name))
        candidates = [metadata / split, *sorted(below)]
        where = f"{metadata}/{split} or {metadata}/NAME/{split}"
    found = [folder for folder in candidates if (folder / "image_ids.txt").is_file()]
    if not found:
        raise UserError(f"There is no image_ids.txt in {where}; `annotations` names the folder of the text tables.")
    if len(found) > 1 and annotations is None:
        raise UserError(
            f"{metadata} holds the tables of {len(found)} data sets; name one: `annotations={str(found[0].parent)!r}`."
        )
    return found[0]


def read_wsol_tables(folder: Path) -> WsolTables:
    """All tables of a folder.

    Raises:
        UserError: if ``image_ids.txt`` or ``class_labels.txt`` is missing, or a table is malformed.
    """
    image_ids = tuple(dict.fromkeys(row[0] for row in read_rows(folder / "image_ids.txt", ",")))
    path = folder / "class_labels.txt"
    labels = {row[0]: whole_number(path, row[1]) for row in read_table(path, 2, "image,class number", ",")}
    if odd := [number for number in labels.values() if not 0 <= number <= _MAX_CLASS]:
        raise UserError(f"{path} holds the class number {odd[0]}; they start at 0 and end at {_MAX_CLASS}.")
    sizes: dict[str, tuple[int, int]] = {}
    if (path := folder / "image_sizes.txt").is_file():
        rows = read_table(path, 3, "image,width,height", ",")
        given = {row[0]: possible_size(whole_number(path, row[1]), whole_number(path, row[2])) for row in rows}
        sizes = {image_id: size_wh for image_id, size_wh in given.items() if size_wh is not None}
    found: dict[str, tuple[IntBox, ...]] = {}
    mask_files: dict[str, tuple[str, ...]] = {}
    ignored: dict[str, str] = {}
    bad_rows = []
    path = folder / "localization.txt"
    for image_id, *values in read_rows(path, ",") if path.is_file() else []:
        if len(values) == 4 and all(_is_whole(value) for value in values):
            x0, y0, x1, y1 = map(int, values)
            found[image_id] = (*found.get(image_id, ()), (x0, y0, x1, y1))
        elif len(values) in (1, 2) and values[0]:
            mask_files[image_id] = (*mask_files.get(image_id, ()), values[0])
            if values[1:] and values[1]:
                ignored.setdefault(image_id, values[1])
        else:
            bad_rows.append(f"{image_id}: {','.join(values)!r} in {path.name} is neither a box nor a mask")
    return WsolTables(folder, image_ids, labels, sizes, found, mask_files, ignored, tuple(bad_rows))


def open_wsol(root: Path, split: str, annotations: Path | None = None) -> Dataset:
    """Images and image-level labels of a split.

    A class is called by its number, unless ``classes.txt`` in the folder of the tables, or the one above, names the
    classes, one per line, from number 0 on. The numbers are those of the network's outputs.

    Args:
        root: folder that contains the images.
        split: ``train``, ``val`` or ``test``.
        annotations: folder of the tables, see :func:`find_wsol_folder`.

    Raises:
        UserError: if the folder is missing, or a table is missing or malformed.
    """
    require_folder(root, "the images")
    folder = find_wsol_folder(root, split, annotations)
    tables = read_wsol_tables(folder)
    path = folder / "image_ids.txt"
    require_inside(path, root, tables.image_ids)
    class_names = _class_names(tables)
    images = tuple(
        ImageRecord(
            image_id,
            image_id,
            root / image_id,
            (class_names[tables.labels[image_id]],) if image_id in tables.labels else (),
        )
        for image_id in tables.image_ids
    )
    if not images:
        raise UserError(f"{path} names no image.")
    known = set(tables.image_ids)
    problems = [
        *repeated(path, (row[0] for row in read_rows(path, ","))),
        *repeated(folder / "class_labels.txt", (row[0] for row in read_rows(folder / "class_labels.txt", ","))),
        *strangers(path, (name for name in tables.image_ids if name not in tables.labels), "images without a label"),
        *strangers(
            folder / "class_labels.txt",
            (name for name in tables.labels if name not in known),
            "labels without an image",
        ),
        *strangers(
            folder / "localization.txt",
            (name for name in (*tables.boxes, *tables.mask_files) if name not in known),
            "boxes or masks of images that image_ids.txt lacks",
        ),
    ]
    if tables.sizes_wh:
        sizeless = (name for name in tables.image_ids if name not in tables.sizes_wh)
        problems += strangers(folder / "image_sizes.txt", sizeless, "images without a size")
    return Dataset("wsol", root, class_names, images, label_map="in-order", problems=tuple(problems))


def read_wsol_ground_truth(
    dataset: Dataset, split: str, annotations: Path | None = None, masks: Path | None = None
) -> GroundTruthSet:
    """The true boxes, or the true masks, of the images of a data set that :func:`open_wsol` opened.

    Boxes that reach over the border are named and kept as they are, as the published evaluation does. With masks
    there are no boxes. Boxes and masks turn with images that have an EXIF orientation where size tells the frame.

    Args:
        dataset: as opened.
        split: as for :func:`open_wsol`.
        annotations: likewise.
        masks: folder that contains the masks; None for the data set's root.
    """
    tables = read_wsol_tables(find_wsol_folder(dataset.root, split, annotations))
    truth = read_annotations(
        dataset.images,
        lambda image: _annotation_of(tables, image, dataset),
        lambda image: image.image_id,
        tables.bad_rows,
    )
    if not tables.mask_files:
        return truth
    paths = {image.image_id: image.path for image in dataset.images}
    folder = masks or dataset.root

    def read(image_id: str) -> TrueMasks:
        return _read_masks(tables, image_id, paths[image_id], folder, dataset)

    return replace(truth, read_masks=read)


def _annotation_of(tables: WsolTables, image: ImageRecord, dataset: Dataset) -> Annotation:
    image_id = image.image_id
    given = tables.boxes.get(image_id, ())
    if image_id not in tables.labels:
        raise ItemError("class_labels.txt has no label of it")
    if not given and image_id not in tables.mask_files:
        raise ItemError("localization.txt has neither box nor mask of it")
    annotated_wh = tables.sizes_wh.get(image_id)
    header = header_of(image.path, annotated_wh)
    if annotated_wh is not None and annotated_wh not in (header.stored_wh, header.size_wh):
        raise ItemError(
            f"image_sizes.txt says {size_text(annotated_wh)} pixels, but the image has {size_text(header.stored_wh)}; "
            "its boxes were left out"
        )
    frame = frame_of(annotated_wh, header)
    upright = [box for box in given if box[0] <= box[2] and box[1] <= box[3]]
    half_open = boxes.as_boxes([(x0, y0, x1 + 1, y1 + 1) for x0, y0, x1, y1 in upright])
    sentences = ["a box is inverted, and was left out" for _ in range(len(given) - len(upright))]
    over = np.any(boxes.clip(half_open, frame.size_wh) != half_open, axis=1)
    sentences += ["a box reaches over the border, and was kept as it is" for _ in range(int(over.sum()))]
    half_open = boxes.apply_exif_orientation(half_open, frame.size_wh, frame.orientation)
    name = dataset.class_names[tables.labels[image_id]]
    difficult = np.zeros(len(half_open), dtype=bool)
    truth = GroundTruth(image_id, half_open, (name,) * len(half_open), difficult, header.size_wh)
    # Without boxes there is nothing whose frame could be mistaken.
    return Annotation(truth, frame.is_certain or not given, sentences)


def _read_masks(tables: WsolTables, image_id: str, path: Path, folder: Path, dataset: Dataset) -> TrueMasks:
    files = tables.mask_files.get(image_id, ())
    if not files:
        raise ItemError("localization.txt has no mask of it")
    header = read_header(path)
    first = _read_mask(folder, files[0], header)
    size_wh = first.shape[1], first.shape[0]
    masks = np.stack([first, *(_at_size(_read_mask(folder, file, header), size_wh) for file in files[1:])])
    ignored = np.zeros(first.shape, dtype=bool)
    if image_id in tables.ignored_file:
        region = _at_size(_read_mask(folder, tables.ignored_file[image_id], header), size_wh)
        ignored = region & ~masks.any(axis=0)
    name = dataset.class_names[tables.labels[image_id]]
    return TrueMasks(masks, (name,) * len(masks), ignored)


def _read_mask(folder: Path, file: str, header: ImageHeader) -> NDArray[np.bool_]:
    """A mask in the frame of the turned image, at its own size: OpenImages' are often smaller than their image."""
    if leaves(folder, file):
        raise ItemError(f"the mask {file} is outside {folder}")
    with open_mask(folder / file, f"mask {file}") as picture:
        gray = picture.convert("L")
    frame = frame_of(gray.size, header)
    width, height = frame.size_wh
    if abs(gray.width * height - gray.height * width) > max(frame.size_wh):
        raise ItemError(f"the mask {file} has {size_text(gray.size)} pixels and another shape than the image")
    return turn_masks(np.asarray(gray) > 0, frame.orientation)


def _at_size(mask: NDArray[np.bool_], size_wh: tuple[int, int]) -> NDArray[np.bool_]:
    """By the nearest pixel, as the published code brings each mask to one size."""
    if mask.shape == size_wh[::-1]:
        return mask
    return cv2.resize(mask.view(np.uint8), size_wh, interpolation=cv2.INTER_NEAREST).astype(bool)


def _class_names(tables: WsolTables) -> tuple[str, ...]:
    count = max(tables.labels.values(), default=-1) + 1
    for path in (tables.folder / "classes.txt", tables.folder.parent / "classes.txt"):
        if path.is_file():
            names = [row[0] for row in read_rows(path, "\n")]
            if len(names) < count or len(set(names)) < len(names):
                raise UserError(f"{path} must name each of the {count} classes once, one per line.")
            return tuple(names)
    return tuple(map(str, range(count)))


def _is_whole(text: str) -> bool:
    return len(text) <= _MAX_DIGITS and text.removeprefix("-").isdecimal()


def _read_truth(dataset: Dataset, split: str, settings: DataSettings) -> GroundTruthSet:
    if settings.annotations is not None and settings.annotations.is_file():
        return read_coco_boxes_of(dataset, settings.annotations)
    return read_wsol_ground_truth(dataset, split, settings.annotations, settings.masks)


WSOL = DataSetKind(
    open=lambda root, split, settings: open_wsol(root, split, settings.annotations),
    read_truth=_read_truth,
    default_root=None,
    default_split="test",
    train_split="train",
    takes=frozenset({"annotations", "masks"}),
)
