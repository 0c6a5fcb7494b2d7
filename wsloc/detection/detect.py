"""All of ``detect``: settings in; a run folder that evaluation, report and export read out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from wsloc.datasets import open_dataset, require_images
from wsloc.detection.checkpoint import load_detector
from wsloc.detection.configs import DetectConfig
from wsloc.detection.detector_folder import data_yaml
from wsloc.detection.testing import MAX_TOP, Tested, judge_detector
from wsloc.devices import choose_device
from wsloc.progress import Progress, silent
from wsloc.runs.choose_folder import open_run_folder
from wsloc.threads import applied, plan_threads
from wsloc.training.training_folder import machine_identity, training_manifest


def run_detection(
    config: DetectConfig,
    command: Sequence[str] = (),
    announce: Callable[[Path], None] = lambda _folder: None,
    progress: Progress = silent,
) -> Tested:
    """Apply a trained detector to images, whatever their labels: it sees for itself which classes are there.

    Args:
        config: all settings.
        command: the words of the command line, for the manifest.
        announce: called with the run folder, before the first image.
        progress: shows the progress over the images, then counts the metrics.

    Raises:
        UserError: if the file holds no detector, or the images or the folder cannot be opened.
    """
    device = choose_device(config.device)
    plan = plan_threads(device, may_wait=False)
    detector = load_detector(config.checkpoint)
    names = detector.class_names
    settings = replace(config.data, targets=f"top{min(MAX_TOP, len(names))}", classes=names)
    dataset = open_dataset(settings)
    require_images(dataset)
    detector = replace(detector, model=detector.model.to(device))
    identity = {
        "checkpoint_sha256": hashlib.sha256(config.checkpoint.read_bytes()).hexdigest(),
        "dataset_fingerprint": dataset.fingerprint(),
        **machine_identity(device, plan.network),
    }
    facts = {
        "checkpoint": str(config.checkpoint),
        "images": len(dataset.images),
        "classes": list(names),
        "detector": asdict(detector.settings),
    }
    arch = detector.settings.arch
    folder = open_run_folder(config.output, f"detect-{dataset.name}-{arch}", data_yaml(arch, settings), identity)
    with folder, applied(plan) as pool:
        manifest = training_manifest("detector", command, identity, facts)
        folder.write_manifest(manifest)
        announce(folder.path)
        size = config.batch_size
        tested = judge_detector(
            folder, dataset, settings, detector, device, batch_size=size, pool=pool, progress=progress
        )
        folder.finish({**manifest, "counts": tested.counts})
    return tested
