"""``wsloc train-detector``: a detector from pseudo-labels, or from true boxes for comparison."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wsloc.cli.bars import training_bar
from wsloc.cli.outputs import begun, print_next, warn_of_load
from wsloc.detection.configs import TrainDetectorConfig
from wsloc.errors import counted
from wsloc.progress import Progress

if TYPE_CHECKING:
    from wsloc.detection.labels import Labels
    from wsloc.detection.train_detector import TrainedDetector


def run(config: TrainDetectorConfig, command: Sequence[str], progress: Progress = training_bar) -> int:
    """Train, test, and print the table. Returns 1 if an image was left out or an annotation was bad, else 0."""
    from wsloc.detection.train_detector import train_detector

    def announce(labels: Labels, folder: Path) -> None:
        _announce(config, labels, folder)
        warn_of_load(config.output)

    trained = train_detector(config, command, announce, progress)
    _print_result(trained)
    counts = {} if trained.tested is None else trained.tested.counts
    return 1 if trained.left_out or counts.get("failures") or counts.get("images_without_truth") else 0


def _announce(config: TrainDetectorConfig, labels: Labels, folder: Path) -> None:
    counts = labels.boxed.counts()
    ignored = f", {counts['ignored']} regions to ignore" if counts["ignored"] else ""
    empty = f", {counts['empty']} of them without a box" if counts["empty"] else ""
    print(
        f"{counted(counts['boxes'], 'box')}{ignored} of {counted(len(labels.boxed.class_names), 'class')} on "
        f"{counted(counts['images'], 'image')}{empty}; {config.detector.arch}.\n{begun(folder, config.output)}",
        file=sys.stderr,
    )


def _print_result(trained: TrainedDetector) -> None:
    from wsloc.detection.detector_folder import PROBLEMS
    from wsloc.detection.train_detector import format_precision

    folder = trained.path
    if trained.tested is not None:
        print(trained.tested.text)
    if trained.average_precision is not None:
        print(f"\n{format_precision(trained.average_precision)}")
    if trained.left_out:
        print(f"\nLeft out of the training, or fixed: {trained.left_out} (images or labels), see {folder / PROBLEMS}")
    print(f"\nRun folder: {folder}\nDetector: {trained.detector}, {trained.epochs} epochs")
    if trained.tested is not None:
        print_next([("every metric", f"wsloc evaluate {shlex.quote(str(folder))}")])
