"""``wsloc detect``: a trained detector applied to images."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from wsloc.cli.bars import kept_bar
from wsloc.cli.flags import with_flags
from wsloc.cli.parse import parse
from wsloc.config import DataSettings, optional, require


@dataclass(frozen=True)
class _Images(DataSettings):
    """Which images; true boxes are only compared with the result. The classes are those of the detector."""

    images: Annotated[str | None, optional("GLOB", "none")] = None
    """your own images without a data set, such as 'photos/*.jpg'"""
    class_name: Annotated[str | None, tyro.conf.Fixed, tyro.conf.Suppress] = None
    targets: Annotated[str, tyro.conf.Fixed, tyro.conf.Suppress] = "labels"
    classes: Annotated[tuple[str, ...], tyro.conf.Fixed, tyro.conf.Suppress] = ()


@dataclass(frozen=True)
class DetectConfig:
    """Find objects in images with a trained detector, and evaluate the boxes if there is ground truth."""

    checkpoint: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="CHECKPOINT", help_behavior_hint="")]
    """detector.safetensors from wsloc train-detector or wsloc self-train"""
    data: _Images = field(default_factory=_Images)
    batch_size: int = 8
    """images per batch (>= 1)"""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """device of the detector (auto: cuda or mps if available)"""
    out: Annotated[Path | None, optional("DIR", "runs/detect-DATASET-ARCH-NNN")] = None
    """run folder"""
    resume: bool = False
    """resume an unfinished run: --out, or the newest one with the same detector and images"""
    overwrite: bool = False
    """replace the run folder given by --out"""

    def __post_init__(self) -> None:
        require(self.batch_size >= 1, f"`batch_size` must be at least 1, not {self.batch_size}.")
        require(not (self.resume and self.overwrite), "`resume` and `overwrite` exclude each other: give only one.")


def run(arguments: Sequence[str]) -> int:
    """Detect, evaluate, and print the table. Returns 1 if an image failed or an annotation was bad, else 0."""
    config = parse(DetectConfig, "detect", arguments)
    # Only now, so that --help and a misspelled flag answer before torch is loaded.
    from wsloc.detection.detect import open_task
    from wsloc.detection.learner import plan_training
    from wsloc.detection.testing import judge_detector
    from wsloc.pipeline import applied, choose_device
    from wsloc.runs.choose_folder import open_run_folder

    device = choose_device(config.device)
    plan = plan_training(device)
    task = open_task(config.checkpoint, config.data, device, plan.network)
    stem = f"detect-{task.dataset.name}-{task.detector.settings.arch}"
    folder, resumed = open_run_folder(
        config.out,
        stem,
        task.config_yaml(),
        resume=config.resume,
        overwrite=config.overwrite,
        identity=task.identity(),
    )
    with folder, applied(plan) as pool:
        manifest = task.manifest(["wsloc", "detect", *arguments])
        folder.write_manifest(manifest)
        print(f"{'Resuming' if resumed else 'Writing'} {folder.path}", file=sys.stderr)
        judged = judge_detector(
            folder,
            task.dataset,
            task.settings,
            task.detector,
            device,
            batch_size=config.batch_size,
            pool=pool,
            progress=kept_bar,
        )
        folder.finish({**manifest, "counts": judged.counts})
    print(with_flags(judged.text))
    run = shlex.quote(str(folder.path))
    print(f"\nRun folder: {folder.path}\nNext:")
    if judged.average_precision is not None:
        print(f"  every metric          wsloc evaluate {run}")
    print(f"  an HTML page          wsloc report {run}")
    print(f"  the boxes             wsloc export {run} --format coco --min-score 0.5")
    return 1 if judged.counts["failures"] or judged.counts["images_without_truth"] else 0
