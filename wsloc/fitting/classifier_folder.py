"""The folder of a classifier: that of every training (:mod:`wsloc.training.training_folder`), and

classifier.safetensors   the checkpoint: weights, classes, network and preprocessing
classes.csv              images and average precision of each class
metrics.json             the metrics with their intervals
failures.jsonl           images that could not be read, and why
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from wsloc.classifiers.weights_hash import weights_hash
from wsloc.fitting.examples import Examples
from wsloc.fitting.features import images_hash
from wsloc.fitting.task import ClassifierTask
from wsloc.training.training_folder import machine_identity, training_manifest

CHECKPOINT = "classifier.safetensors"


def identity_of(task: ClassifierTask, threads: int) -> dict[str, object]:
    """What a resumed training must share: labels, images (by size and modification time), weights, machine."""
    return {
        "labels_sha256": _labels_hash(task.examples),
        "image_files_sha256": images_hash(task.examples.images),
        "backbone_sha256": weights_hash(task.backbone.network),
        **machine_identity(task.device, threads),
    }


def manifest_of(task: ClassifierTask, identity: dict[str, object], command: Sequence[str]) -> dict[str, Any]:
    """The manifest of a training that has not begun."""
    counts = {
        "images": len(task.examples.images),
        "left_out": task.examples.left_out,
        "held_out": int(task.held_out.sum()),
    }
    return training_manifest("classifier", command, identity, counts)


def _labels_hash(examples: Examples) -> str:
    digest = hashlib.sha256("\x1f".join(examples.class_names).encode())
    for image, present in zip(examples.images, examples.present, strict=True):
        digest.update(image.image_id.encode(errors="surrogateescape") + present.tobytes() + b"\x1e")
    return digest.hexdigest()
