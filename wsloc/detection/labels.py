"""Where the boxes to train on come from: an annotation, a run, or an export."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from wsloc.config import DataSettings
from wsloc.config_files import settings_of_run
from wsloc.datasets import Dataset, open_dataset, read_ground_truth
from wsloc.datasets.registry import lenient
from wsloc.detection.configs import TRUTH
from wsloc.detection.data import BoxedImages, from_localizations, from_truth, labels_by_image, matched, open_export
from wsloc.detection.inference import detection
from wsloc.errors import ItemError, UserError
from wsloc.images import read_header
from wsloc.records import BoxRecord, Pair, boxes_by_item
from wsloc.runs.read_run import RunContents, read_run
from wsloc.runs.run_folder import read_manifest


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """Boxes to train on, and their images.

    Attributes:
        boxed: the images and boxes to train on.
        dataset: the images with their image-level labels.
        settings: that open the data set; None for an export's own images, of which no truth is known.
        run: the run that the boxes are of; None for an export and for true boxes.
    """

    boxed: BoxedImages
    dataset: Dataset
    settings: DataSettings | None
    run: RunContents | None = None


def open_labels(named: str, data: DataSettings, *, drop_empty: bool, ignore_fraction: float) -> Labels:
    """The images and boxes that the setting ``boxes_from`` names: true ones, those of a run, or those of an export.

    Raises:
        UserError: if there is nothing of the kind, no box in it, or no quality to choose the boxes to ignore by.
    """
    path = Path(named)
    if named == TRUTH:
        if ignore_fraction > 0:
            raise UserError("`ignore_fraction` is for boxes that may be wrong; leave it out with true boxes.")
        if data.dataset is None:
            raise UserError("`boxes_from='truth'` needs the data set that has true boxes: give `dataset='NAME'`.")
        return labels_of_truth(data, drop_empty=drop_empty)
    if not is_run(path):
        labels = labels_of_export(path, data, drop_empty=drop_empty)
        if ignore_fraction > 0:
            raise UserError(
                f"`ignore_fraction` goes by the quality of a run's boxes, and the export {path} has none; give the run "
                "as `boxes_from`, or export it with `uncertain='ignore'`."
            )
        return labels
    if data.dataset is not None:
        raise UserError(f"{path} is a run and knows its data set; leave out `dataset` (`root` says where it lies).")
    contents = read_boxes_of_run(path)
    settings = settings_of_run(path).data
    settings = replace(settings, root=data.root or settings.root, download=False)
    return labels_of_run(contents, settings, drop_empty=drop_empty, ignore_fraction=ignore_fraction)


def labels_of_truth(data: DataSettings, *, drop_empty: bool = False) -> Labels:
    """The true boxes of a data set.

    Args:
        data: which images and classes.
        drop_empty: leave out images without a box.

    Raises:
        UserError: if the data set has no true boxes, or none of the classes.
    """
    dataset = open_dataset(data)
    truth = read_ground_truth(data, dataset)
    if truth is None:
        raise UserError(f"{dataset.name} has no true boxes; `dataset='folder'` takes `boxes`.")
    asked = data.classes or dataset.class_names
    known = data.class_name is None
    return Labels(from_truth(dataset, truth, asked, drop_empty=drop_empty, labels_are_known=known), dataset, data)


def is_run(path: Path) -> bool:
    """Whether a folder is one of a run, rather than an export."""
    return (path / "localizations.jsonl").is_file() or read_manifest(path) is not None


def read_boxes_of_run(path: Path) -> RunContents:
    """A run whose boxes a detector can learn: a finished one, with a box for each item or with one for each component.

    Raises:
        UserError: if it is another one, and says which to give.
    """
    if (read_manifest(path) or {}).get("kind") == "self-training":
        raise UserError(f"{path} holds rounds of self-training; give one of them, such as {path / 'round-1'}.")
    contents = read_run(path)
    if not contents.complete:
        raise UserError(f"{path} is unfinished; finish it with `resume=True` first.")
    if contents.by_detector:
        raise UserError(
            f"{path} holds all that a detector found, however uncertain; export it with `format='coco'` and "
            "`min_score=0.5`, and give the export."
        )
    return contents


def labels_of_run(
    contents: RunContents, settings: DataSettings, *, drop_empty: bool = False, ignore_fraction: float = 0.0
) -> Labels:
    """All boxes of a run; images with an item that failed are left out.

    Args:
        contents: as :func:`read_boxes_of_run` gives them.
        settings: of the run's images, with their current folder.
        drop_empty: leave out images without a box.
        ignore_fraction: as :func:`wsloc.detection.data.from_localizations` takes it.

    Raises:
        UserError: if the run has no box.
    """
    dataset = open_dataset(settings)
    asked = (settings.class_name,) if settings.class_name else settings.classes or dataset.class_names
    failed = {failure.image_id for failure in contents.failures}
    boxed = from_localizations(
        dataset,
        contents.localizations,
        asked,
        drop_empty=drop_empty,
        ignore_fraction=ignore_fraction,
        without=failed,
    )
    return Labels(boxed, dataset, settings, contents)


def labels_of_export(path: Path, data: DataSettings, *, drop_empty: bool = False) -> Labels:
    """The boxes of a COCO export, on its own images or on those of the data set that it was made from.

    Args:
        path: as :func:`wsloc.detection.data.open_export` takes it.
        data: the data set, if ``dataset`` is given; else ``root`` says where the export's own images lie, and their
            labels are the classes of their boxes. With ``classes``, only these.
        drop_empty: leave out images without a box.

    Raises:
        UserError: if there is no export, it lacks a class that was asked for, has no box, or is of other images.
    """
    own, truth = open_export(path, data.root if data.dataset is None else None)
    own = lenient(own, data)
    if unknown := [name for name in data.classes if name not in own.class_names]:
        raise UserError(f"`classes`: the export has no class {unknown[0]!r}, only {', '.join(own.class_names[:20])}.")
    # An export names all classes of its data set, also those that its boxes were not sought of.
    own = replace(own, class_names=data.classes or own.class_names)
    if data.dataset is not None:
        dataset, truth = matched(open_dataset(data), own, truth)
        known = data.class_name is None
        boxed = from_truth(dataset, truth, own.class_names, drop_empty=drop_empty, labels_are_known=known)
        return Labels(boxed, dataset, data)
    shown = labels_by_image(truth.images)
    images = tuple(replace(image, labels=shown.get(image.image_id, ())) for image in own.images)
    own = replace(own, images=images)
    return Labels(from_truth(own, truth, own.class_names, drop_empty=drop_empty), own, None)


def given_boxes(labels: Labels) -> tuple[dict[Pair, list[BoxRecord]], dict[str, str]]:
    """All boxes of each item that has any.

    Returns:
        The boxes by image id and class name, and by its id why an image cannot be read, whose boxes are then left out.
    """
    if labels.run is not None:
        return boxes_by_item(labels.run.localizations), {}
    found: dict[Pair, list[BoxRecord]] = {}
    unread: dict[str, str] = {}
    for boxed in labels.boxed.images:
        try:
            size_wh = read_header(boxed.image.path).size_wh
        except ItemError as error:
            unread[boxed.image.image_id] = str(error)
            continue
        for box, index in zip(boxed.boxes_xyxy.tolist(), boxed.classes.tolist(), strict=True):
            name = labels.boxed.class_names[index - 1]
            own = found.setdefault((boxed.image.image_id, name), [])
            own.append(detection(boxed.image, name, tuple(box), 1.0, size_wh, method="pseudo-label", index=len(own)))
    return found, unread
