"""True boxes and masks of own images, for the evaluation alone: a CSV file of boxes, a folder of masks, or both.

Both are in pixels of the image as it is shown, after EXIF orientation; a mask of the stored size turns with its image.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsloc.boxes import as_boxes, mask_box
from wsloc.config import DataSettings
from wsloc.datasets.annotations import Annotation, place_annotation, read_annotations
from wsloc.datasets.dataset import Dataset, DataSetKind, FileProblem, GroundTruthSet
from wsloc.datasets.frames import Frame, size_text, turn_masks
from wsloc.datasets.image_files import find_images
from wsloc.datasets.label_table import Columns, is_header, read_rows_of
from wsloc.datasets.mask_files import open_mask
from wsloc.datasets.match_files import by_short_name
from wsloc.datasets.own_images import open_class_folders, open_labeled_images
from wsloc.datasets.tables import leaves, strangers
from wsloc.errors import ItemError, MissingMaskError, UserError
from wsloc.files.reading import is_there
from wsloc.images import ImageHeader, read_header
from wsloc.records import ImageRecord, TrueMasks
from wsloc.seeding import stable_hash

_VOID = 255
_TRIMAP = (1, 2, 3)
"""Object, background, and neither, as in the Oxford-IIIT pets (Parkhi et al. 2012)."""
_NOT_IN_FOLDERS = re.compile(r'[\x00-\x1f%<>:"/\\|?*]|^\.|[. ]$')
_LONGEST = 60
"""Characters; most file systems take 255 bytes, and a character may have four."""


@dataclass(frozen=True, slots=True)
class BoxRows:
    """The boxes of a CSV file.

    Attributes:
        of_image: class and ``x0, y0, x1, y1`` of each box, by image.
        problems: one sentence for each row that holds no box.
        lost: classes of the rows that hold none, by image.
    """

    of_image: dict[str, list[tuple[str, tuple[float, ...]]]]
    problems: tuple[str, ...]
    lost: dict[str, list[str]] = field(default_factory=dict)


def read_box_rows(path: Path, image_ids: Iterable[str] = ()) -> BoxRows:
    """The rows ``image,class,x0,y0,x1,y1`` of a CSV file; a first row that says so is a header.

    Args:
        path: of the file.
        image_ids: of the data set; rows may call them without suffix and folders where that is clear.

    Raises:
        UserError: if the file cannot be read.
    """
    of_image: dict[str, list[tuple[str, tuple[float, ...]]]] = {}
    lost: dict[str, list[str]] = {}
    problems = []
    ids = dict.fromkeys(image_ids)
    id_of = {name: named[0] for name, named in by_short_name(ids).items() if len(named) == 1}
    id_of |= {image_id: image_id for image_id in ids}
    for number, row in enumerate(read_rows_of(path, "boxes", 6), start=1):
        if number == 1 and is_header(row):
            continue
        image, class_name, *sides = (*row, "", "")[: max(len(row), 2)]
        try:
            # Where the columns are not separated by commas, numbers may have them.
            box = tuple(float(side.replace(",", ".")) for side in sides)
        except ValueError:
            box = ()
        file = Path(image).as_posix()
        image_id = id_of.get(file) or id_of.get(file.replace("\\", "/"), file)
        if len(box) == 4 and all(map(math.isfinite, box)) and image and class_name:
            of_image.setdefault(image_id, []).append((class_name, box))
            continue
        problems.append(f"{path.name}, row {number}: {','.join(row)!r} is not a row image,class,x0,y0,x1,y1")
        if image:
            lost.setdefault(image_id, []).append(class_name)
    return BoxRows(of_image, tuple(problems), lost)


def read_folder_ground_truth(
    dataset: Dataset, labeled: Dataset, boxes_csv: Path | None, masks: Path | None, *, trimap: bool = False
) -> GroundTruthSet | None:
    """The true boxes and masks of own images; None if there is neither file nor folder.

    ``MASKS/CLASS/IMAGE.png`` shows the object of a class, ``MASKS/IMAGE.png`` that of the image's only label, ``IMAGE``
    being the image's file, with its sub-folders, with or without its suffix; :func:`mask_place` is where an export puts
    them. A pixel that is not 0 is object; in a picture with a palette 255 is neither object nor background, as in VOC.
    Without a CSV file the box of a mask is the one that encloses it. An image that neither names has no truth and is
    not judged.

    Args:
        dataset: whose images are judged.
        labeled: the same images with the labels that they have, which ``dataset`` may have exchanged.
        boxes_csv: rows ``image,class,x0,y0,x1,y1``, half-open, 0-based.
        masks: the folder of masks.
        trimap: whether they hold 1 for object, 2 for background, 3 for neither.

    Raises:
        UserError: if the CSV file cannot be read.
    """
    if boxes_csv is None and masks is None:
        return None
    labels = {image.image_id: image.labels for image in labeled.images}
    rows = read_box_rows(boxes_csv, labels) if boxes_csv else BoxRows({}, ())
    paths = {image.image_id: image.path for image in dataset.images}
    problems = list(rows.problems)
    if boxes_csv is not None:
        names = (name for name in rows.of_image if name not in labels)
        lost = strangers(boxes_csv, names, "images that the data set lacks")
        problems += [f"{boxes_csv.name}: {sentence}" for _, sentence in lost]
        problems += [] if rows.of_image else [f"{boxes_csv.name}: it holds no box"]

    if masks is not None:
        problems += [f"{masks.name}: {sentence}" for _, sentence in _unused_masks(masks, labeled)]

    def read_mask(image_id: str) -> TrueMasks:
        assert masks is not None
        return _read_masks(masks, image_id, labels[image_id], read_header(paths[image_id]), trimap)

    def has_truth(image_id: str) -> bool:
        if boxes_csv is not None or masks is None:
            return image_id in rows.of_image
        return bool(mask_files(masks, image_id, labels[image_id]))

    def read(image: ImageRecord) -> Annotation:
        return _boxes_around(image, read_mask(image.image_id)) if boxes_csv is None else _boxes_of(image, rows)

    judged = (image for image in dataset.images if has_truth(image.image_id))
    truth = read_annotations(judged, read, lambda image: image.image_id, problems)
    return replace(truth, read_masks=read_mask if masks else None, partial=True)


def mask_files(masks: Path, image_id: str, labels: Iterable[str]) -> dict[str, Path]:
    """The mask of each class of an image that has one."""
    short = Path(image_id).with_suffix(".png")
    labels = tuple(labels)
    found = {}
    for label in labels:
        candidates = [masks / mask_place(label, image_id)]
        # A label that contains ../ is not a folder of masks.
        candidates += [] if leaves(masks, label) else [masks / label / short]
        candidates += [masks / f"{image_id}.png", masks / short] if len(labels) == 1 else []
        if path := next(filter(is_there, candidates), None):
            found[label] = path
    return found


def mask_place(class_name: str, file: str) -> Path:
    """Where the mask of a class in an image is below a folder of masks, apart from that of any other.

    Args:
        class_name: characters that no folder name can hold are escaped as in a URL: ``a/b`` is ``a%2Fb``.
        file: of the image, with its suffix, relative to the data set's folder.
    """
    folder = _NOT_IN_FOLDERS.sub(lambda found: f"%{ord(found[0]):02X}", class_name)
    if len(folder) > _LONGEST:
        folder = f"{folder[:_LONGEST]}-{stable_hash(0, class_name, ''):08x}"
    return Path(folder, f"{file}.png")


def _boxes_of(image: ImageRecord, rows: BoxRows) -> Annotation:
    header = read_header(image.path)
    names = [name for name, _ in rows.of_image[image.image_id]]
    boxes_xyxy = as_boxes([box for _, box in rows.of_image[image.image_id]])
    found = place_annotation(image, boxes_xyxy, names, header, Frame(header.size_wh, 1))
    # Of a row without a class, any label of the image may be meant.
    lost = (name for row in rows.lost.get(image.image_id, ()) for name in ((row,) if row else image.labels))
    truth = replace(found.truth, lost_class_names=(*found.truth.lost_class_names, *lost))
    return replace(found, truth=truth)


def _boxes_around(image: ImageRecord, true: TrueMasks) -> Annotation:
    found = [(name, mask_box(mask)) for name, mask in zip(true.class_names, true.masks, strict=True) if mask.any()]
    boxes_xyxy = as_boxes([box for _, box in found])
    header = read_header(image.path)
    annotation = place_annotation(image, boxes_xyxy, [name for name, _ in found], header, Frame(header.size_wh, 1))
    return replace(annotation, problems=(*annotation.problems, *whole_masks(true)))


def whole_masks(true: TrueMasks) -> list[str]:
    """A sentence for each mask that has no background, as one does that is read by the wrong values."""
    whole = (name for name, mask in zip(true.class_names, true.masks, strict=True) if mask.all())
    return [f"the mask of a {name} covers the whole image" for name in whole]


def _read_masks(folder: Path, image_id: str, labels: tuple[str, ...], header: ImageHeader, trimap: bool) -> TrueMasks:
    files = mask_files(folder, image_id, labels)
    if not files:
        raise MissingMaskError(f"there is no mask {Path(image_id).with_suffix('.png').as_posix()}")
    read = [_read_mask(folder, path, header, trimap) for path in files.values()]
    masks = np.stack([objects for objects, _ in read])
    ignored = np.any([void for _, void in read], axis=0) & ~masks.any(axis=0)
    return TrueMasks(masks, tuple(files), ignored)


def _read_mask(
    folder: Path, path: Path, header: ImageHeader, trimap: bool
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which pixels ``(H, W)`` are object and which are void, turned with the image."""
    name = path.relative_to(folder).as_posix()
    with open_mask(path, f"mask {name}") as picture:
        has_palette = picture.mode == "P"
        pixels = np.asarray(picture if picture.mode in ("P", "L", "1", "I;16", "I") else picture.convert("RGB"))
    pixels = pixels.max(axis=2) if pixels.ndim == 3 else pixels
    size_wh = (pixels.shape[1], pixels.shape[0])
    if size_wh not in (header.size_wh, header.stored_wh):
        raise ItemError(f"the mask {name} has {size_text(size_wh)} pixels, the image {size_text(header.size_wh)}")
    is_trimap = bool(np.isin(pixels, _TRIMAP).all())
    if trimap:
        if not is_trimap:
            raise ItemError(f"the mask {name} has other values than a trimap's 1, 2 and 3")
        objects, void = pixels == 1, pixels == 3
    else:
        if is_trimap and (pixels != pixels[0, 0]).any():
            raise ItemError(f"the mask {name} is a trimap: it has no 0, but 1, 2 or 3; `mask_values='trimap'` reads it")
        void = (pixels == _VOID) if has_palette else np.zeros(pixels.shape, dtype=bool)
        objects = (pixels != 0) & ~void
    orientation = header.orientation if size_wh != header.size_wh else 1
    return turn_masks(objects, orientation), turn_masks(void, orientation)


def _unused_masks(masks: Path, labeled: Dataset) -> list[FileProblem]:
    used = {path for image in labeled.images for path in mask_files(masks, image.image_id, image.labels).values()}
    found = [path for path in find_images(masks).images if path.suffix == ".png"]
    if not found:
        return [(masks, "the folder of masks holds no .png")]
    lost = (path.relative_to(masks).as_posix() for path in found if path not in used)
    return strangers(masks, lost, "masks of no image, or of none of its labels")


def _open(root: Path, split: str, settings: DataSettings) -> Dataset:
    if settings.labels is None:
        return open_class_folders(root, split)
    if split:
        raise UserError("`split` chooses among folders of class folders, and `labels` names the images: leave one out.")
    return open_labeled_images(root, settings.labels, Columns(settings.image_column, settings.label_column))


FOLDER = DataSetKind(
    open=_open,
    read_truth=lambda dataset, split, settings: read_folder_ground_truth(
        dataset,
        _open(dataset.root, split, settings),
        settings.boxes,
        settings.masks,
        trimap=settings.mask_values == "trimap",
    ),
    default_root=None,
    takes=frozenset({"labels", "image_column", "label_column", "boxes", "masks"}),
)
