"""The folder of a detector, which is a run folder: its detections are read like the boxes of any run.

config.yaml              the images that it was tested on; the training's settings as comments
epochs.csv, state.pt     as in the folder of every training (:mod:`wsloc.training.training_folder`)
detector.safetensors     the detector
training_problems.txt    images that could not be read and labels that were left out or fixed, if there are any
localizations.jsonl      one detection per line, and so on as in every run
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import yaml

from wsloc.config import DataSettings
from wsloc.config_files import to_plain
from wsloc.detection.data import BoxedImages
from wsloc.detection.detector_settings import DetectorSettings, TrainingSettings
from wsloc.files.atomic import write_atomic
from wsloc.pipeline.results import ImageResult
from wsloc.records import ImageRecord
from wsloc.runs.run_folder import RunFolder
from wsloc.training.training_folder import machine_identity, training_manifest

DETECTOR = "detector.safetensors"
PROBLEMS = "training_problems.txt"
_PART = 256
"""Images whose detections are written at once; a killed process loses no more."""


def identity_of(
    labels: BoxedImages, device: torch.device, threads: int, dataset_fingerprint: str | None
) -> dict[str, object]:
    """What a resumed training must share.

    Args:
        labels: what it learns from.
        device: where.
        threads: of PyTorch on the CPU.
        dataset_fingerprint: of the images that the detector is applied to.
    """
    return {
        "labels_sha256": labels.fingerprint(),
        "dataset_fingerprint": dataset_fingerprint,
        **machine_identity(device, threads),
    }


def manifest_of(
    kind: str,
    command: Sequence[str],
    identity: Mapping[str, object],
    labels: BoxedImages,
    detector: DetectorSettings,
    training: TrainingSettings,
) -> dict[str, Any]:
    """The manifest of a training that has not begun."""
    facts = {
        "labels": labels.counts(),
        "classes": list(labels.class_names),
        "detector": asdict(detector),
        "training": asdict(training),
    }
    return training_manifest(kind, command, identity, facts)


def write_problems(folder: Path, problems: Iterable[str]) -> int:
    """Write what was left out of a training, if anything was; returns how many sentences that took."""
    lines = [f"{problem}\n" for problem in dict.fromkeys(problems)]
    if lines:
        write_atomic(folder / PROBLEMS, lines)
    return len(lines)


def write_results(
    folder: RunFolder,
    images: Sequence[ImageRecord],
    results_of: Callable[[Sequence[ImageRecord]], Iterator[ImageResult]],
) -> Iterator[ImageResult]:
    """Write the results of images, part by part, without the parts that exist.

    Args:
        folder: of the run.
        images: in their order.
        results_of: asks the detector.

    Yields:
        The results that this process computed.
    """
    done = folder.written_parts()
    for part, start in enumerate(range(0, len(images), _PART)):
        if part in done:
            continue
        results = []
        for result in results_of(images[start : start + _PART]):
            results.append(result)
            yield result
        folder.write_part(part, results)
    folder.join()


def data_yaml(arch: str, data: DataSettings | None) -> str:
    """The configuration of a detector's run: its architecture and, under ``data``, the images that it looked at."""
    plain = {} if data is None else to_plain(data)
    settings = {key: value for key, value in plain.items() if value not in (None, [])}
    return yaml.safe_dump({"arch": arch, "data": settings}, sort_keys=False)
