"""The folder of a training.

    config.yaml              the settings
    classifier.safetensors   the checkpoint: weights, classes, network and preprocessing
    epochs.csv               losses, learning rate and held-out figures of each epoch
    classes.csv              images and average precision of each class
    metrics.json             the figures with their intervals
    failures.jsonl           images that could not be read, and why
    manifest.json            what ran; its ``complete: true`` is written last
    state.pt                 of an unfinished training, removed at the end

Everything but the manifest has the same bytes for any number of workers and any interruption.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsloc.classifiers.weights_hash import weights_hash
from wsloc.errors import UserError
from wsloc.fitting.examples import Examples
from wsloc.fitting.features import images_hash
from wsloc.fitting.job import Job
from wsloc.pipeline.threads import ThreadPlan
from wsloc.runs.choose_folder import open_run_folder
from wsloc.runs.run_folder import SCHEMA_VERSION, RunFolder, read_manifest

if TYPE_CHECKING:
    from wsloc.fitting.report import Outcome

STATE = "state.pt"
_PACKAGES = ("wsloc", "torch", "torchvision", "numpy", "pillow")


@dataclass(frozen=True, slots=True, eq=False)
class OpenFolder:
    """A folder that this process holds.

    Attributes:
        folder: held by a lock of the operating system.
        manifest: as written so far.
        resumed: whether it is that of an earlier process.
    """

    folder: RunFolder
    manifest: dict[str, Any]
    resumed: bool


def open_folder(
    out: Path | None,
    stem: str,
    config_yaml: str,
    job: Job,
    plan: ThreadPlan,
    command: Sequence[str],
    resume: bool,
    overwrite: bool,
) -> OpenFolder:
    """Make a folder, or take hold of that of an unfinished training.

    Args:
        out: the folder that the user named, or None for a fresh one.
        stem: its name, before the number.
        config_yaml: the settings, which an unfinished training must share.
        job: the training.
        plan: how the cores are divided.
        command: the words of the command line, for the manifest.
        resume: go on with ``out``, or with the newest unfinished training of the same settings.
        overwrite: replace ``out``.

    Raises:
        UserError: if the folder cannot be used, or was begun with other settings, labels, images (by size and time of
            change of the files), weights, device or threads.
    """
    folder, resumed = open_run_folder(out, stem, config_yaml, resume=resume, overwrite=overwrite)
    identity = {
        "labels_sha256": _labels_hash(job.examples),
        "image_files_sha256": images_hash(job.examples.images),
        "backbone_sha256": weights_hash(job.backbone.network),
        "device": job.device.type,
        "network_threads": plan.network,
    }
    if resumed:
        before = read_manifest(folder.path) or {}
        for key, value in identity.items():
            if before.get(key) != value:
                what = key.removesuffix("_sha256").replace("_", " ")
                raise UserError(f"{folder.path} was begun with other {what}; start a training without `resume=True`.")
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "kind": "classifier",
        "complete": False,
        "command": list(command),
        **identity,
        "versions": {name: metadata.version(name) for name in _PACKAGES},
        "images": len(job.examples.images),
        "left_out": job.examples.left_out,
        "held_out": int(job.held_out.sum()),
    }
    folder.write_manifest(manifest)
    return OpenFolder(folder, manifest, resumed)


def finish_folder(opened: OpenFolder, outcome: Outcome) -> None:
    """Remove what only an unfinished training needs, then declare it complete."""
    epochs = {"epochs": len(outcome.history), "best_epoch": outcome.best_epoch}
    (opened.folder.path / STATE).unlink(missing_ok=True)
    opened.folder.finish({**opened.manifest, **epochs, "failures": len(outcome.problems)})


def _labels_hash(examples: Examples) -> str:
    digest = hashlib.sha256("\x1f".join(examples.class_names).encode())
    for image, present in zip(examples.images, examples.present, strict=True):
        digest.update(image.image_id.encode(errors="surrogateescape") + present.tobytes() + b"\x1e")
    return digest.hexdigest()
