"""``wsloc self-train``: a detector learns the boxes and finds better ones of the labeled classes, in rounds."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from wsloc.cli.bars import training_bar
from wsloc.cli.detector_flags import TRUTH, TrainingImages, as_comments, open_labels
from wsloc.cli.parse import parse
from wsloc.config import optional, require
from wsloc.detection.detector_settings import DetectorSettings, TrainingSettings

if TYPE_CHECKING:
    from wsloc.detection.round_figures import RoundFigures


@dataclass(frozen=True)
class SelfTrainConfig:
    """Train a detector on pseudo-boxes, let it find a better box for each labeled class of each image, and repeat.

    Writes DIR/round-0 (the boxes as given), round-1, and so on, each a run folder, and rounds.csv. True boxes, if the
    data set has any, are used only for the metrics.
    """

    boxes_from: Annotated[str, tyro.conf.arg(metavar="RUN|EXPORT")]
    """initial boxes: a run folder, or a COCO export (with --dataset: for the images and labels of that data set)"""
    rounds: int = 3
    """number of times a detector is trained and applied (>= 1)"""
    folds: int = 1
    """number of parts of the images; the boxes of each come from a detector trained on the others (1: on all images; at
    most 20)"""
    min_score: float = 0.05
    """minimum score of a detection that replaces a box (0 to 1)"""
    refine: Annotated[str | None, optional("MODULE:FUNCTION", "none")] = None
    """your own function refine(image, box, mask) that improves each box (docs/training.md)"""
    detector: DetectorSettings = field(default_factory=DetectorSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    drop_empty: bool = False
    """leave out images without a box; otherwise they serve as negatives"""
    data: TrainingImages = field(default_factory=TrainingImages)
    out: Annotated[Path | None, optional("DIR", "runs/self-train-BOXES-ARCH-NNN")] = None
    """output folder"""
    resume: bool = False
    """resume an unfinished self-training: --out, or the newest one with the same settings"""
    overwrite: bool = False
    """replace the folder given by --out"""

    def __post_init__(self) -> None:
        require(self.boxes_from != TRUTH, "Self-training starts from pseudo-boxes, not truth: give a run or an export.")
        require(self.rounds >= 1, f"--rounds must be at least 1, not {self.rounds}.")
        require(1 <= self.folds <= 20, f"--folds must be between 1 and 20, not {self.folds}.")
        require(0 <= self.min_score <= 1, f"--min-score must be between 0 and 1, not {self.min_score}.")
        require(not (self.resume and self.overwrite), "--resume and --overwrite exclude each other: give only one.")


def run(arguments: Sequence[str]) -> int:
    """Run the rounds and print their figures.

    Returns 1 if an image or annotation could not be read or a box not refined, 130 if interrupted, else 0.
    """
    config = parse(SelfTrainConfig, "self-train", arguments)
    try:
        return _all_rounds(config, ("wsloc", "self-train", *arguments))
    except KeyboardInterrupt:
        print("wsloc: interrupted; the same command with --resume continues the rounds.", file=sys.stderr)
        return 130


def _all_rounds(config: SelfTrainConfig, command: tuple[str, ...]) -> int:
    # Only now, so that --help and a misspelled flag answer before torch is loaded.
    from wsloc.detection.learner import plan_training
    from wsloc.detection.models import require_backbone
    from wsloc.detection.refine import load_refine
    from wsloc.detection.round_figures import round_figures, write_figures
    from wsloc.detection.rounds import SelfTrainingTask, self_train
    from wsloc.pipeline import applied, choose_device
    from wsloc.runs.choose_folder import open_run_folder

    refine = load_refine(config.refine) if config.refine else None
    device = choose_device(config.training.device)
    labels = open_labels(config.boxes_from, config.data, drop_empty=config.drop_empty)
    require_backbone(config.detector)
    plan = plan_training(device)
    task = SelfTrainingTask(
        labels,
        config.detector,
        config.training,
        device,
        plan.network,
        command,
        folds=config.folds,
        min_score=config.min_score,
        drop_empty=config.drop_empty,
        refine=refine,
    )
    text = f"# Settings of wsloc self-train\n{as_comments(config)}"
    stem = f"self-train-{labels.boxed.name}-{config.detector.arch}"
    folder, resumed = open_run_folder(
        config.out, stem, text, resume=config.resume, overwrite=config.overwrite, identity=task.identity()
    )
    with folder:
        manifest = task.manifest()
        folder.write_manifest(manifest)
        print(f"{'Resuming' if resumed else 'Writing'} {folder.path}", file=sys.stderr)
        with applied(plan) as pool:
            rounds = self_train(task, folder.path, config.rounds, pool, training_bar)
        figures = round_figures(rounds)
        write_figures(folder.path / "rounds.csv", figures)
        folder.finish({**manifest, "images": len(labels.dataset.images)})
    _say(folder.path, figures, readable=labels.settings is not None)
    return 1 if any(done.problems for done in rounds) else 0


def _say(out: Path, rounds: Sequence[RoundFigures], *, readable: bool) -> None:
    from wsloc.detection.round_figures import GAIN, HEADLINE, best_round
    from wsloc.evaluation.table import format_interval

    print(f"{'round':<7}{'boxes':>7}{'found':>7}   {HEADLINE:<22}{GAIN}")
    for row in rounds:
        told = ""
        if row.metrics:
            told = f"{format_interval(row.metrics[HEADLINE]):<22}{format_interval(row.metrics[GAIN])}"
        print(f"{row.index:<7}{row.boxes:>7}{row.found:>7}   {told}")
    folders = [shlex.quote(str(out / f"round-{row.index}")) for row in rounds]
    print(f"\nRounds: {out / 'rounds.csv'}")
    if not readable:
        print("Without a data set no other command reads these rounds; give --dataset NAME together with the export.")
        return
    best = best_round(rounds)
    if best is None:
        best = len(rounds) - 1
        print("Without true boxes the best round is unknown.")
    else:
        print(f"Round {best} has the highest {HEADLINE}; choosing a round by it uses true boxes.")
    print("Next:")
    print(f"  an HTML page          wsloc report {' '.join(folders)}")
    print(f"  train on its boxes    wsloc train-detector --boxes-from {folders[best]}")
