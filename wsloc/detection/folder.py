"""The folder of a detector, which is a run folder: its detections are read like the boxes of any run.

config.yaml              the images that it was tested on; the training's settings as comments
checkpoints/             the state after the last epoch, while it is trained
curves.csv               losses by epoch
detector.safetensors     the detector
training_problems.txt    images that could not be read and labels that were left out or mended, where there are any
localizations.jsonl      one detection a line, and so on as in every run
"""

from __future__ import annotations

import csv
import io
import json
import platform
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import yaml

from wsloc.config import DataSettings
from wsloc.detection.data import BoxedImages
from wsloc.detection.loop import EpochRecord, TrainingLog
from wsloc.detection.settings import DetectorSettings, TrainingSettings
from wsloc.devices import device_name
from wsloc.errors import UserError
from wsloc.files.atomic import write_atomic
from wsloc.pipeline.results import ImageResult
from wsloc.records import ImageRecord
from wsloc.runs.run_folder import SCHEMA_VERSION, RunFolder, read_manifest

CHECKPOINTS = "checkpoints"
CURVES = "curves.csv"
DETECTOR = "detector.safetensors"
PROBLEMS = "training_problems.txt"
_PART = 256
"""Images whose detections are written at once; a killed process loses no more."""
_IDENTITY = ("labels_sha256", "dataset_fingerprint", "device", "network_threads", "torch")
"""What changes a detector beside the settings."""


def describe(
    labels: BoxedImages,
    detector: DetectorSettings,
    training: TrainingSettings,
    device: torch.device,
    threads: int,
    command: Sequence[str],
    dataset_fingerprint: str | None,
) -> dict[str, Any]:
    """The manifest of a training that has not begun.

    Args:
        labels: what it learns from.
        detector: what is trained.
        training: how.
        device: where.
        threads: of PyTorch on the CPU, which change how sums round.
        command: the words of the command line.
        dataset_fingerprint: of the images that the detector is tested on.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "complete": False,
        "kind": "detector",
        "command": list(command),
        "labels_sha256": labels.fingerprint(),
        "dataset_fingerprint": dataset_fingerprint,
        "device": device_name(device),
        "network_threads": threads,
        "torch": torch.__version__,
        "labels": labels.counts(),
        "classes": list(labels.class_names),
        "detector": asdict(detector),
        "training": asdict(training),
        "versions": {
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in ("torch", "torchvision", "numpy", "pillow")},
        },
    }


def require_same(folder: RunFolder, manifest: Mapping[str, Any]) -> None:
    """Refuse to go on with a training of other labels, another test set or on another device.

    Raises:
        UserError: which says what differs.
    """
    before = read_manifest(folder.path) or {}
    for key in _IDENTITY:
        if before.get(key) != manifest[key]:
            what = {"labels_sha256": "other labels", "dataset_fingerprint": "other test images"}.get(
                key, f"another {key.replace('_', ' ')}"
            )
            raise UserError(f"{folder.path} was begun with {what}; start a training without `resume=True`.")


def write_curves(path: Path, epochs: Sequence[EpochRecord]) -> None:
    """Write the curves: a row an epoch, the sum of the losses and each of them."""
    names = sorted({name for record in epochs for name in record.losses})
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["epoch", "steps", "images", "learning_rate", "loss", *names])
    for record in epochs:
        each = [record.losses.get(name, 0.0) for name in names]
        writer.writerow([record.epoch, record.steps, record.images, record.learning_rate, sum(each), *each])
    write_atomic(path, table.getvalue())


def write_problems(folder: Path, labels: BoxedImages, log: TrainingLog, more: Iterable[str] = ()) -> int:
    """Write what was left out of a training, where anything was; returns how many sentences that took."""
    problems = [*labels.problems, *(f"{failure.file}: {failure.reason}" for failure in log.failures), *more]
    if problems:
        write_atomic(folder / PROBLEMS, (f"{problem}\n" for problem in problems))
    return len(problems)


def write_results(
    folder: RunFolder,
    images: Sequence[ImageRecord],
    results_of: Callable[[Sequence[ImageRecord]], Iterator[ImageResult]],
) -> Iterator[ImageResult]:
    """Write what becomes of images, part by part, those parts left out that are there.

    Args:
        folder: of the run.
        images: in their order.
        results_of: asks the detector.

    Yields:
        The results that this process computed.
    """
    done = folder.written_parts()
    for number, start in enumerate(range(0, len(images), _PART)):
        if number in done:
            continue
        results = []
        for result in results_of(images[start : start + _PART]):
            results.append(result)
            yield result
        folder.write_part(number, results)
    folder.join()


def finish(folder: RunFolder, manifest: Mapping[str, Any]) -> None:
    """Declare the run complete; the states of the training are no longer needed."""
    folder.finish(dict(manifest))
    shutil.rmtree(folder.path / CHECKPOINTS, ignore_errors=True)


def as_comments(settings: Mapping[str, Any]) -> str:
    """Settings as lines of a YAML file that its reader does not see."""
    return "".join(f"# {key}: {json.dumps(value)}\n" for key, value in settings.items())


def data_yaml(arch: str, data: DataSettings | None) -> str:
    """The configuration of a detector's run: its architecture and, under ``data``, the images that it looked at."""
    settings: dict[str, Any] = {}
    for field in fields(DataSettings) if data is not None else ():
        if field.name != "download" and (value := getattr(data, field.name)) not in (None, ()):
            name = "class" if field.name == "class_name" else field.name
            settings[name] = (
                str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value
            )
    return yaml.safe_dump({"arch": arch, "data": settings}, sort_keys=False)
