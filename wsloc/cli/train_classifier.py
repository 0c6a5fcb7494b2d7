"""``wsloc train-classifier``: a classifier of a data set's own classes, from its image-level labels alone."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
import yaml
from tqdm import tqdm

from wsloc.cli.flags import with_flags
from wsloc.cli.parse import parse
from wsloc.config import ComputeSettings, DataSettings, optional, require
from wsloc.fitting.settings import FittingSettings

if TYPE_CHECKING:
    from wsloc.fitting.fit import Progress
    from wsloc.fitting.job import Job

_OF_ONE_CALL = frozenset({"out", "resume", "overwrite", "workers", "download"})


@dataclass(frozen=True)
class _LabeledImages(DataSettings):
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

    data: _LabeledImages = field(default_factory=_LabeledImages)
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
    config = parse(TrainClassifierConfig, "train-classifier", arguments)
    # Only now, so that --help and a misspelled flag answer before torch is loaded.
    from wsloc.fitting.fit import fit
    from wsloc.fitting.folder import finish_folder, open_folder
    from wsloc.fitting.opening import open_job
    from wsloc.fitting.report import format_outcome, write_outcome
    from wsloc.pipeline import applied, plan_threads

    job = open_job(config.data, config.test_split, config.fitting, config.compute)
    plan = plan_threads(job.device, config.compute.workers)
    stem = f"classifier-{config.data.dataset}-{job.backbone.arch.replace(':', '-')}"
    text = _to_yaml(config)
    words = ["wsloc", "train-classifier", *arguments]
    opened = open_folder(config.out, stem, text, job, plan, words, config.resume, config.overwrite)
    with opened.folder, applied(plan) as pool:
        print(_announcement(job, opened.folder.path, opened.resumed), file=sys.stderr)
        with _bars() as show:
            outcome = fit(job, opened.folder.path, opened.resumed, pool, show)
        figures = write_outcome(opened.folder.path, job, outcome)
        finish_folder(opened, outcome)
    checkpoint = opened.folder.path / "classifier.safetensors"
    print(with_flags(format_outcome(job, outcome, figures)))
    command = next_command(config, checkpoint)
    print(f"\nCheckpoint: {checkpoint}\nNext:\n  boxes with it         {command}")
    print(f"  by the head's maps    {command} --method cam")
    return 1 if outcome.problems else 0


def _announcement(job: Job, folder: Path, resumed: bool) -> str:
    held, count = int(job.held_out.sum()), len(job.examples.images)
    trained = "all layers" if job.settings.fine_tune else "a linear head on frozen features"
    lines = [
        f"{count - held} images to train on, {held} held out, {len(job.examples.class_names)} classes; "
        f"{job.backbone.arch}, {trained}, {job.loss} on {job.device}."
    ]
    for what, examples in (("images", job.examples), ("test images", job.test)):
        if examples is not None and (negatives := int((~examples.shows_any).sum())):
            lines.append(f"{negatives} of the {len(examples.images)} {what} show none of the classes.")
        if examples is not None and examples.left_out:
            lines.append(
                f"{examples.left_out} {what} show none of the classes and are left out; --loss bce would use them."
            )
    return "\n".join([*lines, f"{'Going on with' if resumed else 'Writing'} {folder}"])


@contextmanager
def _bars() -> Iterator[Callable[[Progress], None]]:
    """A bar for each stage, one after another."""
    bar: tqdm[Any] | None = None
    stage, epoch = "", 0

    def show(progress: Progress) -> None:
        nonlocal bar, stage, epoch
        if bar is None or progress.stage != stage:
            if bar is not None:
                bar.close()
            stage = progress.stage
            bar = tqdm(total=progress.total, initial=progress.done, unit="image", desc=stage, dynamic_ncols=True)
        if progress.last is not None and progress.last.epoch != epoch:
            last, epoch = progress.last, progress.last.epoch
            bar.set_postfix_str(
                f"epoch {epoch}: loss {last.train_loss:.3f}, held out {last.val_loss:.3f}, mAP {last.val_map:.3f}",
                refresh=False,
            )
        bar.update(progress.done - bar.n)

    try:
        yield show
    finally:
        if bar is not None:
            bar.close()


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


def next_command(config: TrainClassifierConfig, checkpoint: Path) -> str:
    """The same images, or those of the test split, localized: all settings of the data that are not the default."""
    from wsloc.fitting.opening import of_test_split, with_training_split

    data: DataSettings = with_training_split(config.data)
    if config.test_split is not None:
        data = of_test_split(data, config.test_split)
    words = ["wsloc", "localize"]
    for setting in dataclasses.fields(data):
        value = getattr(data, setting.name)
        if value != setting.default and setting.name not in _OF_ONE_CALL:
            values = value if isinstance(value, tuple) else (value,)
            words += [f"--{setting.name.replace('_', '-')}", *map(str, values)]
    # Code of the user's own runs only where it is named.
    arch = config.fitting.arch
    own = ["--arch", arch] if ":" in arch and not arch.startswith("timm:") else []
    return shlex.join([*words, "--checkpoint", str(checkpoint), *own])
