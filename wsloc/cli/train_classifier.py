"""``wsloc train-classifier``: a classifier of a data set's own classes, from its image-level labels alone."""

from __future__ import annotations

import dataclasses
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
import yaml
from tqdm import tqdm

from wsloc.config import ComputeSettings, DataSettings, optional, require
from wsloc.errors import UserError
from wsloc.fitting.settings import FittingSettings

if TYPE_CHECKING:
    from concurrent.futures import Executor

    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from wsloc.fitting.examples import Examples
    from wsloc.fitting.job import Job
    from wsloc.fitting.loop import Trainer
    from wsloc.fitting.material import FeatureMaterial, ImageMaterial
    from wsloc.fitting.report import Outcome
    from wsloc.fitting.scoring import ScoredImages

_TRAINING_SPLITS = {"voc": "train", "demo": "train", "coco": "train2017", "imagenet": "train", "cub": "train"}
SECONDS_BETWEEN_STATES = 2.0
"""A longer epoch is written as soon as it is done; of shorter ones, a killed training loses as many seconds."""
_OF_ONE_CALL = frozenset({"out", "resume", "overwrite", "workers", "download"})


@dataclass(frozen=True)
class _LabelledImages(DataSettings):
    """Which images, with their own image-level labels; true boxes are not opened."""

    split: Annotated[str | None, optional("NAME", "train; train2017 for coco")] = None
    """the split to train on"""
    class_name: Annotated[str | None, tyro.conf.Fixed, tyro.conf.Suppress] = None
    targets: Annotated[str, tyro.conf.Fixed, tyro.conf.Suppress] = "labels"
    images: Annotated[str | None, tyro.conf.Fixed, tyro.conf.Suppress] = None
    boxes: Annotated[Path | None, tyro.conf.Fixed, tyro.conf.Suppress] = None
    masks: Annotated[Path | None, tyro.conf.Fixed, tyro.conf.Suppress] = None


@dataclass(frozen=True)
class TrainClassifierConfig:
    """Train a classifier on image-level labels; the checkpoint goes to wsloc localize --checkpoint."""

    data: _LabelledImages = field(default_factory=_LabelledImages)
    test_split: Annotated[str | None, optional("NAME", "none")] = None
    """a split to test on in the end, of images that are not trained on"""
    fitting: FittingSettings = field(default_factory=FittingSettings)
    compute: ComputeSettings = field(default_factory=ComputeSettings)
    out: Annotated[Path | None, optional("DIR", "runs/classifier-DATASET-ARCH-NNN")] = None
    """folder for the checkpoint and its figures; cached features lie beside it"""
    resume: bool = False
    """go on with an unfinished training: --out, or the newest one of the same configuration"""
    overwrite: bool = False
    """replace the folder that --out names"""

    def __post_init__(self) -> None:
        require(not (self.resume and self.overwrite), "--resume and --overwrite exclude each other: give only one.")
        require(
            self.data.dataset is not None,
            "Nothing to learn from: give --dataset NAME (for your own images folder, with --root DIR).",
        )
        require(
            self.test_split is None or self.data.dataset != "folder",
            "--dataset folder has no splits to test on; leave out --test-split, the held-out images give the figures.",
        )


def run(arguments: Sequence[str]) -> int:
    """Train, test, and print the table. Returns 1 if an image could not be read, else 0."""
    config = tyro.cli(
        TrainClassifierConfig, prog="wsloc train-classifier", args=list(arguments), config=(tyro.conf.OmitArgPrefixes,)
    )
    # Only now, so that --help and a misspelt flag answer before torch is loaded.
    from wsloc.fitting.folder import finish_folder, open_folder
    from wsloc.fitting.report import format_outcome, write_outcome
    from wsloc.pipeline import applied, plan_threads

    job, test = _opened(config)
    plan = plan_threads(job.device, config.compute.workers)
    stem = f"classifier-{config.data.dataset}-{job.backbone.arch.replace(':', '-')}"
    text = _to_yaml(config)
    command = ["wsloc", "train-classifier", *arguments]
    opened = open_folder(config.out, stem, text, job, plan, command, config.resume, config.overwrite)
    with opened.folder, applied(plan) as pool:
        print(_announcement(job, opened.folder.path, opened.resumed), file=sys.stderr)
        outcome = _train(job, test, opened.folder.path, opened.resumed, pool)
        figures = write_outcome(opened.folder.path, job, outcome)
        finish_folder(opened, outcome)
    checkpoint = opened.folder.path / "classifier.safetensors"
    print(format_outcome(job, outcome, figures))
    print(f"\nCheckpoint: {checkpoint}\nNext:\n  boxes with it         {_next_command(config, checkpoint)}")
    return 1 if outcome.problems else 0


def _opened(config: TrainClassifierConfig) -> tuple[Job, Examples | None]:
    """Everything that can be wrong before the first image is read."""
    from wsloc.datasets import open_dataset
    from wsloc.fitting.backbone import open_backbone
    from wsloc.fitting.examples import check_trainable, choose_loss, hold_out, make_examples
    from wsloc.fitting.job import Job, shared_images
    from wsloc.pipeline import choose_device

    device = choose_device(config.compute.device)
    if config.compute.precision == "float16" and device.type != "cuda":
        raise UserError("--precision float16 trains on CUDA only; take bfloat16 or float32 here.")
    split = config.data.split or _TRAINING_SPLITS.get(str(config.data.dataset))
    data = replace(config.data, split=split)
    examples = make_examples(open_dataset(data))
    check_trainable(examples, config.fitting.val_share)
    loss = choose_loss(examples, config.fitting.loss)
    test = None
    if config.test_split is not None:
        of_test = replace(data, split=config.test_split, ids=None, limit=None, download=False)
        test = make_examples(open_dataset(of_test), examples.class_names)
        if shared := shared_images(examples, test):
            raise UserError(
                f"{shared} of the {len(test.images)} images of --test-split {config.test_split} are also trained on "
                f"(--split {split}), so the test would say nothing; give splits without common images."
            )
    backbone = open_backbone(config.fitting, config.compute.seed)
    backbone.network.to(device)
    held_out = hold_out(examples, config.fitting.val_share, config.compute.seed)
    return Job(config.fitting, config.compute, backbone, examples, held_out, loss, device), test


def _announcement(job: Job, folder: Path, resumed: bool) -> str:
    held, count = int(job.held_out.sum()), len(job.examples.images)
    what = "all layers" if job.settings.fine_tune else "a linear head on frozen features"
    return (
        f"{count - held} images to train on, {held} held out, {len(job.examples.class_names)} classes; "
        f"{job.backbone.arch}, {what}, {job.loss} on {job.device}.\n"
        f"{'Going on with' if resumed else 'Writing'} {folder}"
    )


def _train(job: Job, test: Examples | None, folder: Path, resumed: bool, pool: Executor | None) -> Outcome:
    from wsloc.fitting.job import head_trainer, network_trainer
    from wsloc.fitting.loop import take_best

    cache = folder.parent / "features"
    material: FeatureMaterial | ImageMaterial
    if job.settings.fine_tune:
        trainer, material = network_trainer(job, pool)
    else:
        features = _features(job, job.examples, cache, pool, mirrored=True)
        trainer, material = head_trainer(job, features)
    _epochs(trainer, folder, resumed)
    take_best(trainer)
    return _outcome(job, trainer, material, test, cache, pool)


def _features(
    job: Job, examples: Examples, folder: Path, pool: Executor | None, *, mirrored: bool
) -> NDArray[np.float32]:
    from wsloc.fitting.features import compute_features, open_features

    wanted = job.features_of(examples, mirrored=mirrored)
    path = wanted.path(folder)
    with tqdm(total=len(examples.images), unit="image", desc="features", dynamic_ncols=True) as bar:
        for done in compute_features(path, wanted, pool):
            bar.update(done - bar.n)
    return open_features(path, wanted)


def _epochs(trainer: Trainer, folder: Path, resumed: bool) -> None:
    from wsloc.fitting.folder import STATE
    from wsloc.fitting.loop import history_csv, restore, state_bytes, train_epoch
    from wsloc.runs.atomic import write_atomic

    if resumed and (folder / STATE).exists():
        restore(trainer, (folder / STATE).read_bytes())
    written = time.monotonic()
    with tqdm(total=trainer.plan.epochs, initial=len(trainer.history), unit="epoch", dynamic_ncols=True) as bar:
        while not trainer.finished:
            record = train_epoch(trainer)
            # Forcing a file to the disk takes longer than an epoch of a linear head.
            if trainer.finished or time.monotonic() - written >= SECONDS_BETWEEN_STATES:
                write_atomic(folder / "epochs.csv", history_csv(trainer.history))
                write_atomic(folder / STATE, state_bytes(trainer))
                written = time.monotonic()
            bar.set_postfix_str(
                f"loss {record.train_loss:.3f}, held out {record.val_loss:.3f}, mAP {record.val_map:.3f}"
            )
            bar.update()


def _outcome(
    job: Job,
    trainer: Trainer,
    material: FeatureMaterial | ImageMaterial,
    test: Examples | None,
    cache: Path,
    pool: Executor | None,
) -> Outcome:
    import numpy as np

    from wsloc.fitting.features import why_unreadable
    from wsloc.fitting.job import image_material, scored, with_head
    from wsloc.fitting.material import FeatureMaterial
    from wsloc.fitting.report import Outcome

    problems: dict[str, str] = {}
    network: nn.Module
    scored_test: ScoredImages | None = None
    held_out = scored(job, material, job.examples, trainer.held_out) if len(trainer.held_out) else None
    if isinstance(material, FeatureMaterial):
        used = {*trainer.training.tolist(), *trainer.held_out.tolist()}
        missing = [image for row, image in enumerate(job.examples.images) if row not in used]
        if test is not None:
            features = _features(job, test, cache, pool, mirrored=False)
            finite = np.isfinite(features).all(axis=(1, 2))
            missing += [test.images[row] for row in np.flatnonzero(~finite)]
            scored_test = scored(job, material.over(features), test, np.flatnonzero(finite))
        problems = {image.file: why_unreadable(image) for image in missing}
        network = with_head(job.backbone, material.folded())
    else:
        network = material.module
        problems = {job.examples.images[row].file: reason for row, reason in sorted(material.problems.items())}
        if test is not None:
            of_test = image_material(job, test, network, pool)
            with tqdm(total=len(test.images), unit="image", desc="test", dynamic_ncols=True) as bar:
                scored_test = scored(job, of_test, test, np.arange(len(test.images)))
                bar.update(len(test.images))
            problems |= {test.images[row].file: reason for row, reason in sorted(of_test.problems.items())}
    return Outcome(network, trainer.history, trainer.best_epoch, held_out, scored_test, problems)


def _to_yaml(config: TrainClassifierConfig) -> str:
    settings: dict[str, Any] = {}
    for group in dataclasses.fields(config):
        value = getattr(config, group.name)
        settings |= dataclasses.asdict(value) if dataclasses.is_dataclass(value) else {group.name: value}  # type: ignore[arg-type]
    plain = {
        key: str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value
        for key, value in settings.items()
        if key not in _OF_ONE_CALL
    }
    return yaml.safe_dump(plain, sort_keys=False)


def _next_command(config: TrainClassifierConfig, checkpoint: Path) -> str:
    data = config.data
    words = ["wsloc", "localize", "--dataset", str(data.dataset)]
    for flag, value in (("--root", data.root), ("--labels", data.labels), ("--split", config.test_split)):
        words += [flag, str(value)] if value is not None else []
    return shlex.join([*words, "--checkpoint", str(checkpoint)])
