"""VOC's masks: SegmentationObject numbers the objects of an image, SegmentationClass says what they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsloc.datasets.dataset import Dataset
from wsloc.datasets.frames import frame_of, header_of, size_text, turn_masks
from wsloc.datasets.mask_files import open_mask
from wsloc.errors import ItemError, MissingMaskError
from wsloc.images import MAX_PIXELS
from wsloc.records import TrueMasks

MASK_FOLDERS = ("SegmentationObject", "SegmentationClass")
VOID = 255
"""The border that VOC draws around its objects, and what it left undecided."""
VOC_CLASSES = (
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
"""VOC's classes in the order of their numbers, from 1."""


def voc_masks_of(dataset: Dataset) -> Callable[[str], TrueMasks] | None:
    """The reader of the masks of a data set in VOC's layout; None if none of its images has a mask."""
    folder = dataset.root / "SegmentationObject"
    if not folder.is_dir() or not any((folder / f"{image.image_id}.png").is_file() for image in dataset.images):
        return None
    # A part of VOC may lack the lists of some classes; the numbers in its masks stay as they were.
    class_names = VOC_CLASSES if set(dataset.class_names) <= set(VOC_CLASSES) else dataset.class_names
    return partial(_read_masks, dataset.root, class_names, {image.image_id: image.path for image in dataset.images})


def _read_masks(folder: Path, class_names: Sequence[str], image_paths: Mapping[str, Path], image_id: str) -> TrueMasks:
    """The masks of an image, in the order of their numbers.

    Raises:
        ItemError: if one of the two files is missing, malformed or of another size than the image, or if
            an object has no class of the data set.
    """
    if image_id not in image_paths:
        raise ItemError(f"the data set has no image {image_id}")
    objects = _read_indices(folder / "SegmentationObject" / f"{image_id}.png")
    try:
        classes = _read_indices(folder / "SegmentationClass" / f"{image_id}.png")
    except MissingMaskError as error:
        raise ItemError(str(error)) from error  # half of a mask is a fault
    if objects.shape != classes.shape:
        raise ItemError(f"the two masks of {image_id} differ in size")
    mask_wh = (objects.shape[1], objects.shape[0])
    header = header_of(image_paths[image_id], mask_wh)
    if mask_wh not in (header.stored_wh, header.size_wh):
        raise ItemError(
            f"the mask of {image_id} has {size_text(mask_wh)} pixels, its image {size_text(header.stored_wh)}"
        )
    orientation = frame_of(mask_wh, header).orientation
    indices = [index for index in np.unique(objects) if index not in (0, VOID)]
    masks = np.array([objects == index for index in indices], dtype=bool).reshape(-1, *objects.shape)
    names = tuple(_class_of(classes[mask], class_names, image_id) for mask in masks)
    return TrueMasks(turn_masks(masks, orientation), names, turn_masks(objects == VOID, orientation))


def _class_of(indices: NDArray[np.uint8], class_names: Sequence[str], image_id: str) -> str:
    """The class of most of an object's pixels; classes are counted from 1."""
    counts = np.bincount(indices, minlength=VOID + 1)
    counts[[0, VOID]] = 0
    index = int(counts.argmax())
    if counts[index] == 0 or index > len(class_names):
        raise ItemError(f"an object in the mask of {image_id} has no class of the data set in SegmentationClass")
    return class_names[index - 1]


def _read_indices(path: Path) -> NDArray[np.uint8]:
    """The palette indices of a PNG file: uint8 ``(H, W)``."""
    name = f"{path.parent.name}/{path.name}"
    if not path.exists():
        raise MissingMaskError(f"there is no mask {name}")
    with open_mask(path, f"mask {name}") as image:
        if image.mode not in ("P", "L"):
            raise ItemError(f"{name} has pixels of type {image.mode}, not palette indices")
        if image.width * image.height > MAX_PIXELS:
            raise ItemError(f"{name} has more than {MAX_PIXELS // 10**6} million pixels")
        return np.asarray(image)
