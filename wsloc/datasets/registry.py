"""Opening a data set by name; a new one is a file and a line in the dicts here (and in ``config.DatasetName``)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from wsloc.config import DataSettings
from wsloc.datasets.coco import open_coco, read_coco_ground_truth
from wsloc.datasets.cub import open_cub, read_cub_ground_truth
from wsloc.datasets.dataset import Dataset, GroundTruthSet
from wsloc.datasets.demo import open_demo
from wsloc.datasets.imagenet import open_imagenet, read_imagenet_ground_truth
from wsloc.datasets.own_images import open_class_folders, open_glob, open_labeled_images
from wsloc.datasets.own_truth import read_folder_ground_truth
from wsloc.datasets.voc import download_voc, open_voc, read_voc_ground_truth
from wsloc.datasets.wsol_tables import open_wsol, read_wsol_ground_truth
from wsloc.errors import UserError, listed


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
    _refuse_contradictions(settings)
    if settings.images is not None:
        dataset = open_glob(settings.images)
    elif settings.dataset is None:
        raise UserError(f"Nothing to localize: give `dataset` ({', '.join(OPENERS)}), or `images` and `class_name`.")
    else:
        dataset = OPENERS[settings.dataset](settings)
    return dataset if settings.ids is None else _listed_images(dataset, settings.ids)


def _refuse_contradictions(settings: DataSettings) -> None:
    if settings.images is not None and (settings.dataset or settings.root or settings.labels):
        raise UserError("`images` stands alone; leave out `dataset`, `root` and `labels`.")
    if settings.labels is not None and settings.dataset != "folder":
        raise UserError("`labels` goes with `dataset='folder'`; the other data sets bring their own labels.")
    for name, value, owners in (
        ("annotations", settings.annotations, ("coco", "wsol")),
        ("boxes", settings.boxes, ("folder",)),
        ("masks", settings.masks, ("folder", "wsol")),
    ):
        if value is not None and settings.dataset not in owners:
            kinds = " or ".join(f"`dataset={owner!r}`" for owner in owners)
            raise UserError(f"`{name}` goes with {kinds}; the other data sets know their own place.")
    # The evaluation alone opens them, but should not find out after the work that they are missing.
    if settings.boxes is not None and not settings.boxes.is_file():
        raise UserError(f"The boxes {settings.boxes} do not exist; `boxes` names a CSV file.")
    if settings.masks is not None and not settings.masks.is_dir():
        raise UserError(f"The folder {settings.masks} does not exist; `masks` names the one that holds the masks.")
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
    if unknown := [name for name in settings.classes if name not in dataset.class_names]:
        raise UserError(
            f"`classes`: the data set has no class {unknown[0]!r}; it has {listed(dataset.class_names, 30)}."
        )
    chosen = frozenset(settings.classes or dataset.class_names)
    dataset = _relabeled(dataset, lambda labels: tuple(label for label in labels if label in chosen))
    images = tuple(image for image in dataset.images if image.labels)
    if not images:
        raise UserError(f"No image is labeled {' or '.join(settings.classes)}; choose other `classes`.")
    return replace(dataset, images=images)


def read_ground_truth(settings: DataSettings, dataset: Dataset) -> GroundTruthSet | None:
    """The true boxes of a data set's images, or None where it has no boxes."""
    if settings.dataset is None or settings.images is not None:
        return None
    reader = GROUND_TRUTH_READERS.get(settings.dataset)
    return reader(settings, dataset) if reader else None


def _open_voc(settings: DataSettings) -> Dataset:
    root, split = settings.root or Path("data"), settings.split or "trainval"
    if settings.download:
        download_voc(root, settings.year, split)
    return open_voc(root, settings.year, split)


def _open_coco(settings: DataSettings) -> Dataset:
    return open_coco(settings.root or Path("data/coco"), settings.annotations, settings.split or "val2017")


def _open_demo(settings: DataSettings) -> Dataset:
    return open_demo(settings.root or Path("data/demo"), settings.split or "test")


def _open_imagenet(settings: DataSettings) -> Dataset:
    return open_imagenet(settings.root or Path("data"), settings.split or "val")


def _open_cub(settings: DataSettings) -> Dataset:
    return open_cub(settings.root or Path("data"), settings.split or "test")


def _open_wsol(settings: DataSettings) -> Dataset:
    return open_wsol(wsol_root(settings), settings.annotations, settings.split or "test")


def wsol_root(settings: DataSettings) -> Path:
    """The folder of the images that the tables name.

    Raises:
        UserError: if the settings name none.
    """
    if settings.root is None:
        raise UserError("`dataset='wsol'` needs `root`, the folder that holds the images.")
    return settings.root


def _open_folder(settings: DataSettings) -> Dataset:
    if settings.root is None:
        raise UserError("`dataset='folder'` needs `root`, the folder that holds the images.")
    if settings.labels is not None:
        return open_labeled_images(settings.root, settings.labels)
    return open_class_folders(settings.root)


OPENERS: dict[str, Callable[[DataSettings], Dataset]] = {
    "demo": _open_demo,
    "voc": _open_voc,
    "coco": _open_coco,
    "imagenet": _open_imagenet,
    "cub": _open_cub,
    "folder": _open_folder,
    "wsol": _open_wsol,
}
"""All data sets, by the name that ``dataset`` takes."""

GROUND_TRUTH_READERS: dict[str, Callable[[DataSettings, Dataset], GroundTruthSet | None]] = {
    "demo": lambda _settings, dataset: read_voc_ground_truth(dataset),
    "voc": lambda _settings, dataset: read_voc_ground_truth(dataset),
    "coco": lambda settings, dataset: read_coco_ground_truth(
        dataset, settings.annotations, settings.split or "val2017"
    ),
    "imagenet": lambda _settings, dataset: read_imagenet_ground_truth(dataset),
    "cub": lambda _settings, dataset: read_cub_ground_truth(dataset),
    "folder": lambda settings, dataset: read_folder_ground_truth(
        dataset, _open_folder(settings), settings.boxes, settings.masks
    ),
    "wsol": lambda settings, dataset: read_wsol_ground_truth(
        dataset, settings.annotations, settings.split or "test", settings.masks
    ),
}
"""Those that have boxes or masks; own images only where the settings name them."""


def _relabeled(dataset: Dataset, change: Callable[[tuple[str, ...]], tuple[str, ...]]) -> Dataset:
    return replace(dataset, images=tuple(replace(image, labels=change(image.labels)) for image in dataset.images))


def _listed_images(dataset: Dataset, path: Path) -> Dataset:
    try:
        ids = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The list of ids {path} cannot be read: {error}.") from error
    by_id = {image.image_id: image for image in dataset.images}
    if missing := [image_id for image_id in ids if image_id not in by_id]:
        raise UserError(f"`ids`: the data set has no image {missing[0]!r} ({len(missing)} of {len(ids)} are missing).")
    return replace(dataset, images=tuple(by_id[image_id] for image_id in dict.fromkeys(ids)))
