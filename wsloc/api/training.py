"""Classifiers and detectors from Python: trained, and applied to images."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from wsloc.api.inputs import ImageLike, records_of
from wsloc.api.localizations import Localizations, collect
from wsloc.config_files import make_config
from wsloc.datasets import Dataset
from wsloc.detection import train_detector as detectors
from wsloc.detection.checkpoint import load_detector
from wsloc.detection.configs import DetectConfig, TrainDetectorConfig
from wsloc.detection.inference import detect as detections
from wsloc.devices import choose_device
from wsloc.errors import UserError
from wsloc.fitting import train_classifier as classifiers
from wsloc.fitting.fitting_settings import TrainClassifierConfig
from wsloc.progress import Progress, silent
from wsloc.threads import applied, plan_threads

PathLike = str | os.PathLike[str]


def train_classifier(progress: Progress = silent, **settings: Any) -> classifiers.TrainedClassifier:
    """Train a classifier on the image-level labels of a data set; true boxes are not opened.

    Args:
        progress: shows the progress over features, steps and tests.
        settings: of ``wsloc train-classifier`` by their names, such as ``dataset="voc"``, ``root="data"``,
            ``arch="resnet50"``, ``epochs=20`` or ``out="net"``. A data set is needed.

    Raises:
        UserError: if anything is wrong with the settings, the data set, the network or the folder.
    """
    return classifiers.train_classifier(make_config(TrainClassifierConfig, settings), progress=progress)


def train_detector(boxes_from: PathLike, progress: Progress = silent, **settings: Any) -> detectors.TrainedDetector:
    """Train a detector on boxes; if test images are given, it is evaluated on their true boxes.

    Args:
        boxes_from: a COCO export (folder or instances file), a run folder, or ``truth`` for the true boxes of
            ``dataset``.
        progress: shows the progress over steps, test images and metrics.
        settings: of ``wsloc train-detector`` by their names, such as ``epochs=24``, ``test_dataset="voc"`` or
            ``out="detector"``.

    Raises:
        UserError: if anything is wrong with the settings, the boxes, the images, the detector or the folder.
    """
    config = make_config(TrainDetectorConfig, {"boxes_from": os.fspath(boxes_from), **settings})
    return detectors.train_detector(config, progress=progress)


def detect(
    checkpoint: PathLike,
    images: ImageLike | Iterable[ImageLike] | Dataset,
    *,
    min_score: float = 0.5,
    batch_size: int = 8,
    device: str = "auto",
    progress: Progress = silent,
) -> Localizations:
    """Find objects in images with a trained detector. Nothing is written; the labels of a data set are not read.

    Args:
        checkpoint: file of a detector, :attr:`TrainedDetector.detector`.
        images: one image or several, as paths, bytes or RGB uint8 arrays ``(H, W, 3)``; or a data set.
        min_score: of the boxes that are kept, in [0, 1].
        batch_size: images per batch.
        device: ``cpu``, ``cuda`` or ``mps``; ``auto`` for the fastest one available.
        progress: shows the progress over the images.

    Raises:
        UserError: if the file holds no detector, there is no image, or a setting is out of its range. A bad image is a
            failure in the result, not an exception.
    """
    if not 0 <= min_score <= 1:
        raise UserError(f"`min_score` must be between 0 and 1, not {min_score}.")
    config = make_config(DetectConfig, {"checkpoint": Path(checkpoint), "batch_size": batch_size, "device": device})
    detector, records = load_detector(config.checkpoint), records_of(images, None)
    where = choose_device(config.device)
    plan = plan_threads(where, may_wait=False)
    with applied(plan) as pool:
        model = detector.model.to(where)
        found = detections(model, records, detector.class_names, where, batch_size=batch_size, pool=pool)
        return collect(records, progress(found, "detect", "image", len(records)), min_score)
