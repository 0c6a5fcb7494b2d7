"""A trained detector applied to images, in a run folder that evaluation, report and export read."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from wsloc.config import DataSettings
from wsloc.datasets import Dataset, open_dataset
from wsloc.detection.checkpoint import Detector, load_detector
from wsloc.detection.detector_folder import data_yaml
from wsloc.training.training_folder import machine_identity, training_manifest

_MAX_TOP = 50


@dataclass(frozen=True, slots=True, eq=False)
class DetectTask:
    """A detector and the images to apply it to.

    Attributes:
        checkpoint: file of the detector.
        detector: as read from it; its model lies on the device.
        dataset: the images, whatever their labels: a detector sees for itself which classes are there.
        settings: that whoever reads the run opens the images by.
        device: where to compute.
        threads: of PyTorch on the CPU, which change how sums round.
    """

    checkpoint: Path
    detector: Detector
    dataset: Dataset
    settings: DataSettings
    device: torch.device
    threads: int

    def identity(self) -> dict[str, object]:
        """What the detections depend on, beside the settings of the images."""
        return {
            "checkpoint_sha256": hashlib.sha256(self.checkpoint.read_bytes()).hexdigest(),
            "dataset_fingerprint": self.dataset.fingerprint(),
            **machine_identity(self.device, self.threads),
        }

    def config_yaml(self) -> str:
        """The text of the run's config.yaml."""
        return data_yaml(self.detector.settings.arch, self.settings)

    def manifest(self, command: Sequence[str]) -> dict[str, Any]:
        """The manifest of a run that has not begun."""
        facts = {
            "checkpoint": str(self.checkpoint),
            "images": len(self.dataset.images),
            "classes": list(self.detector.class_names),
            "detector": asdict(self.detector.settings),
        }
        return training_manifest("detector", command, self.identity(), facts)


def open_task(checkpoint: Path, data: DataSettings, device: torch.device, threads: int) -> DetectTask:
    """Read a detector and the list of images.

    Args:
        checkpoint: file that :func:`wsloc.detection.checkpoint.save_detector` wrote.
        data: which images; the classes are the detector's.
        device: where to compute.
        threads: of PyTorch on the CPU.

    Raises:
        UserError: if the file holds no detector, or the images cannot be opened.
    """
    detector = load_detector(checkpoint)
    names = detector.class_names
    settings = replace(data, targets=f"top{min(_MAX_TOP, len(names))}", classes=names)
    dataset = open_dataset(settings)
    detector = replace(detector, model=detector.model.to(device))
    return DetectTask(checkpoint, detector, dataset, settings, device, threads)
