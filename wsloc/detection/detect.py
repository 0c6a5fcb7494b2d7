"""A trained detector applied to images, in a run folder that evaluation, report and export read."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from wsloc.config import DataSettings
from wsloc.datasets import Dataset, open_dataset
from wsloc.detection.checkpoint import Detector, load_detector
from wsloc.detection.folder import as_comments, data_yaml
from wsloc.runs.run_folder import SCHEMA_VERSION

_MAX_TOP = 50


@dataclass(frozen=True, slots=True, eq=False)
class DetectTask:
    """A detector and the images to apply it to.

    Attributes:
        checkpoint: file of the detector.
        detector: as read from it, on the CPU.
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

    def identity(self) -> dict[str, Any]:
        """What the detections depend on, beside the settings of the images."""
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else platform.machine()
        return {
            "checkpoint_sha256": hashlib.sha256(self.checkpoint.read_bytes()).hexdigest(),
            "dataset_fingerprint": self.dataset.fingerprint(),
            "device": f"{self.device.type} ({name})",
            "network_threads": self.threads,
            "torch": torch.__version__,
        }

    def config_yaml(self) -> str:
        """The text of config.yaml: two tasks of the same text give the same detections."""
        arch = self.detector.settings.arch
        return "# Detections by\n" + as_comments(self.identity()) + "# on\n" + data_yaml(arch, self.settings)

    def manifest(self, command: Sequence[str]) -> dict[str, Any]:
        """The manifest of a run that has not begun."""
        packages = ("torch", "torchvision", "numpy", "pillow")
        return {
            "schema_version": SCHEMA_VERSION,
            "complete": False,
            "kind": "detector",
            "command": list(command),
            "checkpoint": str(self.checkpoint),
            **self.identity(),
            "images": len(self.dataset.images),
            "classes": list(self.detector.class_names),
            "detector": asdict(self.detector.settings),
            "versions": {
                "python": platform.python_version(),
                **{name: metadata.version(name) for name in packages},
            },
        }


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
    settings = replace(data, targets=f"top{min(_MAX_TOP, len(names))}", classes=names, download=False)
    dataset = open_dataset(replace(settings, download=data.download))
    return DetectTask(checkpoint, detector, dataset, settings, device, threads)
