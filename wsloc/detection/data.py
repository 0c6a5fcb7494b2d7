"""What a detector is trained on: images with true boxes or pseudo-labels.

A class is an index from 1 on; 0 is the background. Regions to be ignored are neither object nor background: crowd
regions of COCO (``iscrowd``), which is also how an export marks uncertain boxes, difficult objects of VOC, and the
least certain boxes of a run.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsloc import boxes
from wsloc.datasets import Dataset, GroundTruthSet
from wsloc.datasets.coco import open_coco, read_coco_ground_truth
from wsloc.datasets.match_files import match_files
from wsloc.detection.uncertain import by_certainty
from wsloc.errors import UserError, listed
from wsloc.records import BoxRecord, GroundTruth, ImageRecord

_MAX_NAMED = 5


@dataclass(frozen=True, slots=True, eq=False)
class BoxedImage:
    """One image to train on.

    Attributes:
        image: its record.
        boxes_xyxy: float64 ``(N, 4)``, half-open, pixels of the image after EXIF transposition.
        classes: int64 ``(N,)``, from 1.
        ignored_xyxy: float64 ``(M, 4)``, regions that are neither object nor background.
    """

    image: ImageRecord
    boxes_xyxy: NDArray[np.float64]
    classes: NDArray[np.int64]
    ignored_xyxy: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class BoxedImages:
    """The images to train on.

    Attributes:
        name: short, for run folders.
        class_names: name of class 1, 2 and so on.
        images: at least one, at least one of them with a box.
        problems: one sentence for each image or annotation that was left out or fixed.
    """

    name: str
    class_names: tuple[str, ...]
    images: tuple[BoxedImage, ...]
    problems: tuple[str, ...] = ()

    def fingerprint(self) -> str:
        """A SHA-256 over classes, images and boxes: equal ones train equal detectors."""
        digest = hashlib.sha256("\x1f".join(self.class_names).encode(errors="surrogateescape"))
        for boxed in self.images:
            digest.update(boxed.image.file.encode(errors="surrogateescape") + b"\x1e")
            for values in (boxed.boxes_xyxy, boxed.classes, boxed.ignored_xyxy):
                digest.update(values.tobytes() + b"\x1d")
        return digest.hexdigest()

    def counts(self) -> dict[str, int]:
        """Images, boxes, ignored regions, and images without any box."""
        return {
            "images": len(self.images),
            "boxes": sum(len(boxed.boxes_xyxy) for boxed in self.images),
            "ignored": sum(len(boxed.ignored_xyxy) for boxed in self.images),
            "empty": sum(len(boxed.boxes_xyxy) == 0 for boxed in self.images),
        }


def from_truth(
    dataset: Dataset,
    truth: GroundTruthSet,
    class_names: Sequence[str],
    *,
    drop_empty: bool = False,
    labels_are_known: bool = True,
) -> BoxedImages:
    """Images with the boxes of an annotation; difficult objects and crowd regions are ignored.

    Args:
        dataset: the images; one is left out if its annotation, or a box in it, cannot be read, or if it is labeled with
            a class that it has no box of, for the object would count as background.
        truth: their boxes; those of other classes are left out.
        class_names: in the order of the detector's classes.
        drop_empty: leave out images without a box; otherwise they serve as negatives.
        labels_are_known: whether the labels of the images say what they show, rather than what to look for.

    Raises:
        UserError: if no box is left.
    """
    index_of = {name: index for index, name in enumerate(class_names, start=1)}
    images, problems = [], list(truth.problems)
    for record in dataset.images:
        if (own := truth.images.get(record.image_id)) is None:
            # Of one whose annotation cannot be read, the truth says so.
            problems += [f"{record.file}: it has no true box, so the image was left out"] if truth.partial else []
            continue
        boxed = {*own.class_names, *own.crowd_class_names}
        if lost := [name for name in own.lost_class_names if name in index_of]:
            problems.append(f"{record.file}: the box of a {lost[0]} is malformed, so the image was left out")
        elif labels_are_known and (bare := [name for name in record.labels if name in index_of and name not in boxed]):
            problems.append(f"{record.file}: it is labeled {bare[0]} without a box of it, so the image was left out")
        else:
            images.append(_boxed(record, own, index_of))
    return _checked(BoxedImages(dataset.name, tuple(class_names), tuple(images), tuple(problems)), drop_empty)


def from_localizations(
    dataset: Dataset,
    localizations: Iterable[BoxRecord],
    class_names: Sequence[str],
    *,
    drop_empty: bool = False,
    ignore_fraction: float = 0.0,
    without: Iterable[str] = (),
) -> BoxedImages:
    """Images with the boxes that were found on them, all components of an item among them.

    An image whose boxes are all ignored has none to learn, but it is no negative there either.

    Args:
        dataset: the images.
        localizations: boxes on other images and of other classes are left out.
        class_names: in the order of the detector's classes.
        drop_empty: leave out images without a box, also those whose boxes are all ignored.
        ignore_fraction: of the boxes of each class, the least certain first, which become ignored regions; in [0, 1).
        without: ids of images to leave out, because one of their objects has no box and would count as background.

    Raises:
        UserError: if no box is left.
    """
    index_of = {name: index for index, name in enumerate(class_names, start=1)}
    left_out = frozenset(without)
    images = [image for image in dataset.images if image.image_id not in left_out]
    ids = {image.image_id for image in images}
    known = [record for record in localizations if record.class_name in index_of and record.image_id in ids]
    certain, uncertain = map(_by_image, by_certainty(known, ignore_fraction))
    boxed = tuple(_found_on(image, certain[image.image_id], uncertain[image.image_id], index_of) for image in images)
    problems = tuple(
        f"{image.file}: a labeled class has no box, so the image was left out"
        for image in dataset.images
        if image.image_id in left_out
    )
    return _checked(BoxedImages(dataset.name, tuple(class_names), boxed, problems), drop_empty)


def open_export(path: Path, root: Path | None = None) -> tuple[Dataset, GroundTruthSet]:
    """The images and the pseudo-labels of an export: a COCO instances file and the images next to it.

    Args:
        path: the file, or a folder that holds it, itself or in ``annotations``; the file of the training split of two.
        root: folder of the images, if they are not next to the file.

    Raises:
        UserError: if there is no such file, or none of its images is there.
    """
    file = _instances_file(path)
    beside = file.parent.parent if file.parent.name == "annotations" else file.parent
    split = file.stem.removeprefix("instances_")
    dataset = open_coco(root or beside, split, file)
    return replace(dataset, name=path.resolve().stem or "export"), read_coco_ground_truth(dataset, split, file)


def matched(dataset: Dataset, other: Dataset, truth: GroundTruthSet) -> tuple[Dataset, GroundTruthSet]:
    """An export's labels on a data set's own images, found by their files: the same path, or else the same file name.

    Args:
        dataset: whose images, ids and image-level labels count.
        other: the export's images.
        truth: the export's boxes.

    Returns:
        The images of ``dataset`` that the export has, and its boxes by their ids.

    Raises:
        UserError: if an image of the export is not in the data set, or two have the same file name.
    """
    matches = match_files((record.file for record in other.images), dataset.images)
    for what, lost in (("several images", matches.ambiguous), ("no image", matches.unknown)):
        if lost:
            raise UserError(
                f"{dataset.name} has {what} of the name {lost[0]}; give the data set and split that the boxes were "
                "made on."
            )
    found: dict[str, GroundTruth] = {}
    for record in other.images:
        if record.image_id in truth.images:
            image_id = matches.images[record.file].image_id
            found[image_id] = replace(truth.images[record.image_id], image_id=image_id)
    images = tuple(record for record in dataset.images if record.image_id in found)
    return replace(dataset, images=images, class_names=other.class_names), replace(truth, images=found)


def require_same_classes(trained: Sequence[str], tested: Sequence[str]) -> None:
    """Refuse a test set of other classes than those that were learned; their order does not matter.

    Raises:
        UserError: which says what each of them lacks.
    """
    unknown = [name for name in tested if name not in trained]
    untested = [name for name in trained if name not in tested]
    if not unknown and not untested:
        return
    said = [f"the test set has no {listed(untested, _MAX_NAMED)}"] if untested else []
    said += [f"the training labels have no {listed(unknown, _MAX_NAMED)}"] if unknown else []
    remedy = "give `test_classes` with those that both have"
    if untested:
        remedy = "give a test set of the same classes, or `classes` with those that have boxes"
    raise UserError(f"The classes differ: {' and '.join(said)}; {remedy}.")


def labels_by_image(truth: Mapping[str, GroundTruth]) -> dict[str, tuple[str, ...]]:
    """The classes that each image has a box of."""
    return {image_id: tuple(dict.fromkeys(own.class_names)) for image_id, own in truth.items()}


def _by_image(records: Iterable[BoxRecord]) -> defaultdict[str, list[BoxRecord]]:
    found: defaultdict[str, list[BoxRecord]] = defaultdict(list)
    for record in records:
        found[record.image_id].append(record)
    return found


def _found_on(
    image: ImageRecord, certain: Sequence[BoxRecord], uncertain: Sequence[BoxRecord], index_of: Mapping[str, int]
) -> BoxedImage:
    return BoxedImage(
        image,
        boxes.as_boxes([record.box_xyxy for record in certain]),
        np.array([index_of[record.class_name] for record in certain], dtype=np.int64),
        boxes.as_boxes([record.box_xyxy for record in uncertain]),
    )


def _boxed(record: ImageRecord, own: GroundTruth, index_of: Mapping[str, int]) -> BoxedImage:
    known = np.array([name in index_of for name in own.class_names], dtype=bool)
    kept = known & ~own.difficult
    classes = np.array([index_of.get(name, 0) for name in own.class_names], dtype=np.int64)
    crowd = np.array([name in index_of for name in own.crowd_class_names], dtype=bool)
    ignored = np.concatenate([own.boxes_xyxy[known & own.difficult], own.crowd_xyxy[crowd]])
    return BoxedImage(record, own.boxes_xyxy[kept], classes[kept], ignored)


def _checked(labels: BoxedImages, drop_empty: bool) -> BoxedImages:
    if not any(len(boxed.boxes_xyxy) for boxed in labels.images):
        raise UserError(
            f"{labels.name} has no box of {listed(labels.class_names, _MAX_NAMED) or 'any class'} to train on; give "
            "other `boxes_from`."
        )
    if not drop_empty:
        return labels
    return replace(labels, images=tuple(boxed for boxed in labels.images if len(boxed.boxes_xyxy)))


def _instances_file(path: Path) -> Path:
    if path.is_file():
        return path
    if not path.is_dir():
        raise UserError(f"{path} does not exist; `boxes_from` names an export, a run folder, or truth.")
    folders = (path, path / "annotations")
    found = [file for folder in folders for file in sorted(folder.glob("*.json")) if _is_instances_name(file.name)]
    of_training = found if len(found) == 1 else [file for file in found if "train" in file.stem]
    if len(of_training) != 1:
        raise UserError(
            f"{path} holds {'several COCO instances files' if found else 'no COCO instances file'}; `boxes_from` "
            "takes the file itself, such as annotations/instances_train.json."
        )
    return of_training[0]


def _is_instances_name(name: str) -> bool:
    return name.startswith("instances") or name in ("annotations.json", "_annotations.coco.json", "train.json")
