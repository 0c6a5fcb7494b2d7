"""Opening a data set by name; a new one is a file and a line in the dicts here (and in ``config.DatasetName``)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from wsloc.config import DataSettings
from wsloc.datasets.dataset import Dataset, GroundTruthSet
from wsloc.datasets.demo import open_demo
from wsloc.datasets.folder import open_class_folders, open_glob, open_labelled_images
from wsloc.datasets.voc import download_voc, open_voc, read_voc_ground_truth
from wsloc.errors import UserError, listed


def open_dataset(settings: DataSettings) -> Dataset:
    """The images and image-level labels that the settings name.

    ``class_name`` replaces the labels of every image, ``targets`` other than ``labels`` takes them away,
    ``classes`` chooses among them; with labels, images without any are left out. ``ids`` comes first,
    ``limit`` last.

    Raises:
        UserError: if the data set is missing or malformed, or no item is left.
    """
    _refuse_contradictions(settings)
    if settings.images is not None:
        dataset = open_glob(settings.images)
    elif settings.dataset is None:
        raise UserError("Nothing to localise: give --dataset demo, voc or folder, or --images 'GLOB' --class NAME.")
    else:
        dataset = OPENERS[settings.dataset](settings)
    if settings.ids is not None:
        dataset = _listed_images(dataset, settings.ids)
    dataset = _with_items(dataset, settings)
    return replace(dataset, images=dataset.images[: settings.limit])


def _refuse_contradictions(settings: DataSettings) -> None:
    if settings.images is not None and (settings.dataset or settings.root or settings.labels):
        raise UserError("--images stands alone; leave out --dataset, --root and --labels.")
    if settings.labels is not None and settings.dataset != "folder":
        raise UserError("--labels goes with --dataset folder; the other data sets bring their own labels.")
    if settings.class_name is not None and settings.classes:
        raise UserError(
            "--class looks for one class in every image and --classes chooses among labels: give one of them."
        )


def _with_items(dataset: Dataset, settings: DataSettings) -> Dataset:
    """The images that there is something to look for in, with the labels that say what."""
    if settings.class_name is not None:
        return _relabelled(dataset, lambda _labels: (str(settings.class_name),))
    if settings.targets != "labels":
        return _relabelled(dataset, lambda _labels: ())
    if not any(image.labels for image in dataset.images):
        raise UserError(
            "The images have no labels; give --labels CSV, --class NAME, or --targets top5 for the classifier's own."
        )
    if unknown := [name for name in settings.classes if name not in dataset.class_names]:
        raise UserError(
            f"--classes: the data set has no class {unknown[0]!r}; it has {listed(dataset.class_names, 30)}."
        )
    chosen = frozenset(settings.classes or dataset.class_names)
    dataset = _relabelled(dataset, lambda labels: tuple(label for label in labels if label in chosen))
    images = tuple(image for image in dataset.images if image.labels)
    if not images:
        raise UserError(f"No image is labelled {' or '.join(settings.classes)}; choose other --classes.")
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


def _open_demo(settings: DataSettings) -> Dataset:
    return open_demo(settings.root or Path("data/demo"), settings.split or "test")


def _open_folder(settings: DataSettings) -> Dataset:
    if settings.root is None:
        raise UserError("--dataset folder needs --root DIR, the folder that holds the images.")
    if settings.labels is not None:
        return open_labelled_images(settings.root, settings.labels)
    return open_class_folders(settings.root)


OPENERS: dict[str, Callable[[DataSettings], Dataset]] = {
    "demo": _open_demo,
    "voc": _open_voc,
    "folder": _open_folder,
}
"""All data sets, by the name that ``--dataset`` takes."""

GROUND_TRUTH_READERS: dict[str, Callable[[DataSettings, Dataset], GroundTruthSet]] = {
    "demo": lambda _settings, dataset: read_voc_ground_truth(dataset),
    "voc": lambda _settings, dataset: read_voc_ground_truth(dataset),
}
"""Those that have boxes."""


def _relabelled(dataset: Dataset, change: Callable[[tuple[str, ...]], tuple[str, ...]]) -> Dataset:
    return replace(dataset, images=tuple(replace(image, labels=change(image.labels)) for image in dataset.images))


def _listed_images(dataset: Dataset, path: Path) -> Dataset:
    try:
        ids = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The list of ids {path} cannot be read: {error}.") from error
    by_id = {image.image_id: image for image in dataset.images}
    if missing := [image_id for image_id in ids if image_id not in by_id]:
        raise UserError(f"--ids: the data set has no image {missing[0]!r} ({len(missing)} of {len(ids)} are missing).")
    return replace(dataset, images=tuple(by_id[image_id] for image_id in dict.fromkeys(ids)))
