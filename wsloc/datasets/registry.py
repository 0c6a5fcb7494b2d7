"""Opening the data set that the settings name."""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import replace
from pathlib import Path

from wsloc.config import DataSettings
from wsloc.datasets.coco import read_coco_boxes_of
from wsloc.datasets.dataset import Dataset, DataSetKind, GroundTruthSet, asked_classes
from wsloc.datasets.own_images import open_glob
from wsloc.errors import UserError, listed
from wsloc.files.image_path import image_path, span_of
from wsloc.files.reading import read_lines
from wsloc.registries import DATASETS

_log = logging.getLogger(__name__)


def open_dataset(settings: DataSettings) -> Dataset:
    """The images and image-level labels that the settings name.

    ``class_name`` replaces the labels of every image, ``targets`` other than ``labels`` takes them away,
    ``classes`` chooses among them; with labels, images without any are left out. ``ids`` comes first,
    ``limit`` last.

    Raises:
        UserError: if the data set is missing or malformed, or no item is left.
    """
    dataset = _with_items(open_images(settings), settings)
    return replace(dataset, images=dataset.images[: settings.limit])


def open_images(settings: DataSettings) -> Dataset:
    """All images of a data set with all their labels, labeled or not; of the settings, ``ids`` alone chooses.

    Raises:
        UserError: if the data set is missing or malformed, or the settings contradict each other.
    """
    dataset = open_quietly(settings)
    for path, sentence in dataset.problems[:1]:
        more = f"; {len(dataset.problems) - 1} more problems: wsloc check-dataset" if dataset.problems[1:] else ""
        _log.info("%s: %s%s", path, sentence, more)
    return dataset


def open_quietly(settings: DataSettings) -> Dataset:
    """The same without a word in the log on what is wrong with its lists."""
    _refuse_contradictions(settings)
    if settings.images is not None:
        dataset = open_glob(settings.images)
    elif (kind := kind_of(settings)) is None:
        raise UserError(f"Nothing to localize: give `dataset` ({', '.join(DATASETS)}), or `images` and `class_name`.")
    else:
        dataset = kind.open(*root_and_split(settings, kind), settings)
    dataset = lenient(dataset, settings)
    return dataset if settings.ids is None else _listed_images(dataset, settings.ids)


def lenient(dataset: Dataset, settings: DataSettings) -> Dataset:
    """The data set, its images to be read as far as they go if the settings accept truncated ones."""
    if settings.truncated_images == "refuse":
        return dataset
    paths = ((image, image.path) for image in dataset.images)
    images = (replace(image, source=image_path(path, span_of(path), lenient=True)) for image, path in paths)
    return replace(dataset, images=tuple(images))


def _refuse_contradictions(settings: DataSettings) -> None:
    if settings.images is not None and (settings.dataset or settings.root or settings.labels):
        raise UserError("`images` is used alone; leave out `dataset`, `root` and `labels`.")
    taken = kind.takes if (kind := kind_of(settings)) else frozenset()
    for name in ("labels", "image_column", "label_column", "boxes", "masks"):
        if getattr(settings, name) is not None and name not in taken:
            owners = " or ".join(f"`dataset={other!r}`" for other in DATASETS if name in DATASETS[other].takes)
            raise UserError(f"`{name}` is only for {owners}; the other data sets have their own.")
    if "image_column" in taken and settings.labels is None and (settings.image_column or settings.label_column):
        raise UserError("`image_column` and `label_column` are of the table that `labels` names; give it, too.")
    # The evaluation alone opens them, but should not find out after the work that they are missing.
    if settings.boxes is not None and not settings.boxes.is_file():
        raise UserError(f"The boxes {settings.boxes} do not exist; `boxes` names a CSV file.")
    if settings.masks is not None and not settings.masks.is_dir():
        raise UserError(f"The folder {settings.masks} does not exist; `masks` names the one that holds the masks.")
    if settings.annotations is not None and "annotations" not in taken and not settings.annotations.is_file():
        raise UserError(f"The annotations {settings.annotations} do not exist; `annotations` names a COCO JSON file.")
    if settings.class_name is not None and settings.classes:
        raise UserError(
            "`class_name` looks for one class in every image and `classes` chooses among labels: give one of them."
        )


def _with_items(dataset: Dataset, settings: DataSettings) -> Dataset:
    """The images that there is something to look for in, with the labels that say what."""
    if settings.class_name is not None:
        return _relabeled(dataset, lambda _labels: (str(settings.class_name),))
    if settings.targets != "labels":
        return _relabeled(dataset, lambda _labels: ())
    if not any(image.labels for image in dataset.images):
        raise UserError(
            "The images have no labels; give `labels`, `class_name`, or `targets='top5'` for the classifier's own."
        )
    dataset = chosen_labels(dataset, settings.classes)
    images = tuple(image for image in dataset.images if image.labels)
    if not images:
        raise UserError(f"No image is labeled {' or '.join(settings.classes)}; choose other `classes`.")
    return replace(dataset, images=images)


def chosen_labels(dataset: Dataset, classes: Sequence[str]) -> Dataset:
    """The data set with labels of some classes alone, or as it is where none is named; all images stay.

    Raises:
        UserError: if the data set has no such class.
    """
    if not classes:
        return dataset
    if unknown := [name for name in classes if name not in dataset.class_names]:
        raise UserError(
            f"`classes`: the data set has no class {unknown[0]!r}; it has {listed(dataset.class_names, 30)}."
        )
    chosen = frozenset(classes)
    return _relabeled(dataset, lambda labels: tuple(label for label in labels if label in chosen))


def read_ground_truth(settings: DataSettings, dataset: Dataset) -> GroundTruthSet | None:
    """The true boxes of a data set's images, or None if it has no boxes.

    ``annotations`` is a COCO instances file with the boxes, in place of its own, of a data set that takes none itself.

    Raises:
        UserError: if the files of the data set are missing or malformed.
    """
    kind = kind_of(settings)
    if settings.annotations is not None and (kind is None or "annotations" not in kind.takes):
        truth: GroundTruthSet | None = read_coco_boxes_of(dataset, settings.annotations)
    else:
        truth = kind.read_truth(dataset, settings.split or kind.default_split, settings) if kind else None
    if truth is None:
        return None
    boxed = {name for own in truth.images.values() for name in (*own.class_names, *own.crowd_class_names)}
    return replace(truth, problems=(*truth.problems, *_classes_apart(asked_classes(settings, dataset).names, boxed)))


def _classes_apart(asked: Sequence[str], boxed: Set[str]) -> Iterator[str]:
    """A sentence for each class that the labels and the boxes spell in two ways, or if they have none in common."""
    if not asked or not boxed:
        return
    spelled = {_letters(name): name for name in sorted(boxed) if name not in asked}
    alike = {name: spelled[_letters(name)] for name in asked if name not in boxed and _letters(name) in spelled}
    for name, other in alike.items():
        yield f"classes: the boxes say {other!r} where the labels say {name!r}, and count as another class"
    if not alike and boxed.isdisjoint(asked):
        known, others = listed(sorted(asked), 3), listed(sorted(boxed), 3)
        yield f"classes: no box is of a class that is looked for ({known}); there are boxes of {others}"


def _letters(name: str) -> str:
    """A name without what people spell in several ways: case, accents' composition, spaces, hyphens, underscores."""
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKC", name).casefold())) or name


def kind_of(settings: DataSettings) -> DataSetKind | None:
    """What is known of the data set that the settings name; None for loose images.

    Raises:
        UserError: if there is no such data set.
    """
    return None if settings.dataset is None or settings.images is not None else DATASETS[settings.dataset]


def root_and_split(settings: DataSettings, kind: DataSetKind) -> tuple[Path, str]:
    """The folder and the split of a data set, its own where the settings name none.

    Raises:
        UserError: if it has no folder of its own.
    """
    root = settings.root or kind.default_root
    if root is None:
        raise UserError(f"`dataset='{settings.dataset}'` needs `root`, the folder that holds the images.")
    return root, settings.split or kind.default_split


def _relabeled(dataset: Dataset, change: Callable[[tuple[str, ...]], tuple[str, ...]]) -> Dataset:
    return replace(dataset, images=tuple(replace(image, labels=change(image.labels)) for image in dataset.images))


def _listed_images(dataset: Dataset, path: Path) -> Dataset:
    ids = read_lines(path, "The list of ids")
    by_id = {image.image_id: image for image in dataset.images}
    if missing := [image_id for image_id in ids if image_id not in by_id]:
        raise UserError(f"`ids`: the data set has no image {missing[0]!r} ({len(missing)} of {len(ids)} are missing).")
    return replace(dataset, images=tuple(by_id[image_id] for image_id in dict.fromkeys(ids)))
