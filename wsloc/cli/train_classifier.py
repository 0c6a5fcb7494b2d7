"""``wsloc train-classifier``: a classifier for the classes of a data set, from image-level labels alone."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from wsloc.cli.bars import training_bar
from wsloc.cli.flags import with_flags
from wsloc.cli.parse import parse
from wsloc.config import ComputeSettings, DataSettings, optional, require
from wsloc.config_files import OF_ONE_CALL, to_yaml
from wsloc.fitting.fitting_settings import FittingSettings

if TYPE_CHECKING:
    from wsloc.fitting.task import ClassifierTask


@dataclass(frozen=True)
class _LabeledImages(DataSettings):
    """Which images, with their image-level labels; true boxes are not opened."""

    split: Annotated[str | None, optional("NAME", "train; train2017 for coco")] = None
    """split to train on"""
    class_name: Annotated[str | None, tyro.conf.Fixed, tyro.conf.Suppress] = None
    targets: Annotated[str, tyro.conf.Fixed, tyro.conf.Suppress] = "labels"
    images: Annotated[str | None, tyro.conf.Fixed, tyro.conf.Suppress] = None
    boxes: Annotated[Path | None, tyro.conf.Fixed, tyro.conf.Suppress] = None
    masks: Annotated[Path | None, tyro.conf.Fixed, tyro.conf.Suppress] = None


@dataclass(frozen=True)
class TrainClassifierConfig:
    """Train a classifier on image-level labels; wsloc localize --checkpoint uses the result."""

    data: _LabeledImages = field(default_factory=_LabeledImages)
    test_split: Annotated[str | None, optional("NAME", "none")] = None
    """split to test on at the end; must not contain training images"""
    fitting: FittingSettings = field(default_factory=FittingSettings)
    compute: ComputeSettings = field(default_factory=ComputeSettings)
    out: Annotated[Path | None, optional("DIR", "runs/classifier-DATASET-ARCH-NNN")] = None
    """folder for the checkpoint and its metrics; cached features go next to it"""
    resume: bool = False
    """resume an unfinished training: --out, or the newest one with the same configuration"""
    overwrite: bool = False
    """replace the folder given by --out"""

    def __post_init__(self) -> None:
        require(not (self.resume and self.overwrite), "--resume and --overwrite exclude each other: give only one.")
        require(
            self.data.dataset is not None,
            "Nothing to train on: give --dataset NAME (for your own images, --dataset folder --root DIR).",
        )
        require(
            self.test_split is None or self.data.dataset != "folder",
            "--dataset folder has no splits; leave out --test-split, and use the metrics on the held-out images.",
        )


def run(arguments: Sequence[str]) -> int:
    """Train, test, and print the table. Returns 1 if an image could not be read, else 0."""
    config = parse(TrainClassifierConfig, "train-classifier", arguments)
    # Only now, so that --help and a misspelled flag answer before torch is loaded.
    from wsloc.fitting.classifier_folder import identity_of, manifest_of
    from wsloc.fitting.fit import fit
    from wsloc.fitting.open_task import open_task
    from wsloc.fitting.report import format_outcome, write_outcome
    from wsloc.pipeline import applied, plan_threads
    from wsloc.runs.choose_folder import open_run_folder
    from wsloc.training.training_folder import finish_training

    task = open_task(config.data, config.test_split, config.fitting, config.compute)
    plan = plan_threads(task.device, config.compute.workers)
    stem = f"classifier-{config.data.dataset}-{task.backbone.arch.replace(':', '-')}"
    identity = identity_of(task, plan.network)
    folder, resumed = open_run_folder(
        config.out, stem, to_yaml(config), resume=config.resume, overwrite=config.overwrite, identity=identity
    )
    with folder, applied(plan) as pool:
        manifest = manifest_of(task, identity, ["wsloc", "train-classifier", *arguments])
        folder.write_manifest(manifest)
        print(_announcement(task, folder.path, resumed), file=sys.stderr)
        outcome = fit(task, folder.path, pool, training_bar)
        figures = write_outcome(folder.path, task, outcome)
        ended = {"epochs": len(outcome.history), "best_epoch": outcome.best_epoch, "failures": len(outcome.problems)}
        finish_training(folder, {**manifest, **ended})
    checkpoint = folder.path / "classifier.safetensors"
    print(with_flags(format_outcome(task, outcome, figures)))
    command = next_command(config, checkpoint)
    print(f"\nCheckpoint: {checkpoint}\nNext:\n  boxes from it         {command}")
    print(f"  with CAM              {command} --method cam")
    return 1 if outcome.problems else 0


def _announcement(task: ClassifierTask, folder: Path, resumed: bool) -> str:
    held, count = int(task.held_out.sum()), len(task.examples.images)
    trained = "all layers" if task.settings.fine_tune else "a linear head on frozen features"
    lines = [
        f"{count - held} images to train on, {held} held out, {len(task.examples.class_names)} classes; "
        f"{task.backbone.arch}, {trained}, {task.loss} on {task.device}."
    ]
    for what, examples in (("images", task.examples), ("test images", task.test)):
        if examples is not None and (negatives := int((~examples.shows_any).sum())):
            lines.append(f"{negatives} of the {len(examples.images)} {what} show none of the classes.")
        if examples is not None and examples.left_out:
            lines.append(
                f"{examples.left_out} {what} show none of the classes and are left out; --loss bce would use them."
            )
    return "\n".join([*lines, f"{'Resuming' if resumed else 'Writing'} {folder}"])


def next_command(config: TrainClassifierConfig, checkpoint: Path) -> str:
    """The command that localizes the same images or those of the test split, with all data settings not at default."""
    from wsloc.fitting.open_task import of_test_split, with_training_split

    data: DataSettings = with_training_split(config.data)
    if config.test_split is not None:
        data = of_test_split(data, config.test_split)
    words = ["wsloc", "localize"]
    for setting in dataclasses.fields(data):
        value = getattr(data, setting.name)
        if value != setting.default and setting.name not in OF_ONE_CALL:
            values = value if isinstance(value, tuple) else (value,)
            words += [f"--{setting.name.replace('_', '-')}", *map(str, values)]
    # The user's own code runs only if it is named.
    arch = config.fitting.arch
    own = ["--arch", arch] if ":" in arch and not arch.startswith("timm:") else []
    return shlex.join([*words, "--checkpoint", str(checkpoint), *own])
