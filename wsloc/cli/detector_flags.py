"""What ``wsloc train-detector`` and ``wsloc self-train`` share: where boxes come from, and a training's bar."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
import yaml
from tqdm import tqdm

from wsloc.cli.options import parse_localize
from wsloc.config import DataSettings, optional
from wsloc.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from wsloc.datasets import Dataset
    from wsloc.detection.data import BoxedImages
    from wsloc.detection.loop import TrainingLog
    from wsloc.detection.settings import DetectorSettings, TrainingSettings
    from wsloc.pipeline.threads import ThreadPlan
    from wsloc.records import Localization
    from wsloc.runs import RunContents

TRUTH = "truth"
_NOT_OF_IMAGES = ("download", "class_name", "targets")


@dataclass(frozen=True)
class TrainingImages(DataSettings):
    """The images to train on; only where --labels does not tell, or to read an export's images from their data set."""

    labels: Annotated[
        Path | None, tyro.conf.arg(name="image-labels", metavar="CSV", help_behavior_hint="(default: the sub-folders)")
    ] = None
    """folder: CSV file with rows image,label[;label...]"""
    class_name: Annotated[str | None, tyro.conf.Fixed, tyro.conf.Suppress] = None
    targets: Annotated[str, tyro.conf.Fixed, tyro.conf.Suppress] = "labels"
    images: Annotated[str | None, tyro.conf.Fixed, tyro.conf.Suppress] = None
    masks: Annotated[Path | None, tyro.conf.Fixed, tyro.conf.Suppress] = None
    boxes: Annotated[Path | None, optional("CSV", "none")] = None
    """folder: true boxes, rows image,class,x0,y0,x1,y1 (half-open, 0-based pixels)"""


@dataclass(frozen=True, eq=False)
class Labels:
    """What ``--labels`` named.

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


def open_labels(named: str, data: DataSettings, *, drop_empty: bool) -> Labels:
    """The images and boxes that ``--labels`` names: true ones, those of a run, or those of an export.

    Raises:
        UserError: if there is nothing of the kind, or no box in it.
    """
    from wsloc.datasets import open_dataset, read_ground_truth
    from wsloc.detection.data import from_run, from_truth, labels_by_image, matched, open_export
    from wsloc.runs import read_manifest, read_run

    if named == TRUTH:
        if data.dataset is None:
            raise UserError("--labels truth needs the data set that has true boxes: give --dataset NAME.")
        dataset = open_dataset(data)
        truth = read_ground_truth(data, dataset)
        if truth is None:
            raise UserError(f"{dataset.name} has no true boxes; --dataset folder takes --boxes CSV.")
        return Labels(
            from_truth(dataset, truth, data.classes or dataset.class_names, drop_empty=drop_empty), dataset, data
        )
    path = Path(named)
    if (path / "localizations.jsonl").is_file() or read_manifest(path) is not None:
        if data.dataset is not None:
            raise UserError(f"{path} is a run and knows its data set; leave out --dataset (--root says where it lies).")
        if (read_manifest(path) or {}).get("kind") == "self-training":
            raise UserError(f"{path} holds rounds of self-training; give one of them, such as {path / 'round-1'}.")
        contents = read_run(path)
        if not contents.complete:
            raise UserError(f"{path} is unfinished; wsloc localize --resume goes on with it.")
        if contents.manifest.get("kind") == "detector":
            raise UserError(
                f"{path} holds all that a detector found, however uncertain; choose with wsloc export {path} --format "
                "coco --min-score 0.5, and give the export."
            )
        settings = parse_localize(["--config", str(path / "config.yaml")]).data
        settings = replace(settings, root=data.root or settings.root, download=False)
        dataset = open_dataset(settings)
        asked = (settings.class_name,) if settings.class_name else settings.classes or dataset.class_names
        return Labels(from_run(dataset, contents, asked, drop_empty=drop_empty), dataset, settings, contents)
    own, truth = open_export(path, data.root if data.dataset is None else None)
    if unknown := [name for name in data.classes if name not in own.class_names]:
        raise UserError(f"--classes: the export has no class {unknown[0]!r}, only {', '.join(own.class_names[:20])}.")
    # An export names all classes of its data set, also those that its boxes were not sought of.
    own = replace(own, class_names=data.classes or own.class_names)
    if data.dataset is not None:
        dataset, truth = matched(open_dataset(data), own, truth)
        return Labels(from_truth(dataset, truth, own.class_names, drop_empty=drop_empty), dataset, data)
    shown = labels_by_image(truth.images)
    images = tuple(replace(image, labels=shown.get(image.image_id, ())) for image in own.images)
    own = replace(own, images=images)
    return Labels(from_truth(own, truth, own.class_names, drop_empty=drop_empty), own, None)


def boxes_by_item(labels: Labels) -> tuple[dict[tuple[str, str], Localization], dict[str, str]]:
    """One box for each item that has one: that of the run, or the first of the class in the export.

    Returns:
        The boxes by image id and class name, and by its id why an image cannot be read, whose boxes are then left out.
    """
    from wsloc.detection.inference import localization
    from wsloc.errors import ItemError
    from wsloc.images import read_header

    if labels.run is not None:
        records = (record for record in labels.run.localizations if record.component == 0)
        return {(record.image_id, record.class_name): record for record in records}, {}
    found: dict[tuple[str, str], Localization] = {}
    unread: dict[str, str] = {}
    for boxed in labels.boxed.images:
        try:
            size_wh = read_header(boxed.image.path).size_wh
        except ItemError as error:
            unread[boxed.image.image_id] = str(error)
            continue
        for box, number in zip(boxed.boxes_xyxy.tolist(), boxed.classes.tolist(), strict=True):
            name = labels.boxed.class_names[number - 1]
            record = localization(boxed.image, name, tuple(box), 1.0, size_wh, method="pseudo-label")
            found.setdefault((boxed.image.image_id, name), record)
    return found, unread


def data_yaml(arch: str, data: DataSettings | None) -> str:
    """The settings that reading a detector's run takes: its images and, for tables, what it is called."""
    settings: dict[str, Any] = {"arch": arch}
    for field in fields(DataSettings) if data is not None else ():
        if field.name not in ("download",) and (value := getattr(data, field.name)) not in (None, ()):
            name = "class" if field.name == "class_name" else field.name
            settings[name] = (
                str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value
            )
    return yaml.safe_dump(settings, sort_keys=False)


def plan_training(device: torch.device) -> ThreadPlan:
    """All cores to the network on the CPU, where reading takes little; elsewhere all but one to reading."""
    import torch

    from wsloc.pipeline.threads import ThreadPlan, available_cores

    cores = available_cores()
    if device.type == "cpu":
        return ThreadPlan(network=min(cores, torch.get_num_threads()), workers=0)
    return ThreadPlan(network=1, workers=max(1, cores - 1))


def train_with_bar(
    folder: Path,
    labels: BoxedImages,
    detector: DetectorSettings,
    settings: TrainingSettings,
    device: torch.device,
    pool: Executor | None,
    *,
    title: str = "training",
    resumed: bool = False,
) -> tuple[nn.Module, TrainingLog]:
    """Build a detector and train it, with its states and curves in a folder; goes on with the state that is there."""
    from wsloc.detection.checkpoint import read_state
    from wsloc.detection.folder import CHECKPOINTS, CURVES, write_curves
    from wsloc.detection.loop import EpochRecord, TrainingLog, steps_per_epoch, train
    from wsloc.detection.models import build_detector

    states = folder / CHECKPOINTS
    state = read_state(states) if resumed else None
    model = build_detector(detector, labels.class_names, settings.seed)
    log = TrainingLog([], [])
    per_epoch = steps_per_epoch(len(labels.images), settings)
    with tqdm(total=settings.epochs * per_epoch, unit="step", desc=title, dynamic_ncols=True) as bar:
        bar.update(per_epoch * state.epoch if state is not None else 0)
        for record in train(model, labels, detector, settings, device, log, pool=pool, folder=states, state=state):
            if isinstance(record, EpochRecord):
                write_curves(folder / CURVES, log.epochs)
                bar.update(record.epoch * per_epoch - bar.n)
            else:
                bar.update((record.epoch - 1) * per_epoch + record.step - bar.n)
                bar.set_postfix_str(f"epoch {record.epoch}, loss {record.loss:.3f}")
    if not log.epochs:
        raise UserError(f"{states} holds no epoch; start the training without --resume.")
    write_curves(folder / CURVES, log.epochs)
    return model, log
