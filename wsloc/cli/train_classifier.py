"""``wsloc train-classifier``: a classifier for the classes of a data set, from image-level labels alone."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wsloc.cli.bars import training_bar
from wsloc.cli.flags import flag_of, with_flags
from wsloc.cli.outputs import begun, print_next, warn_of_load
from wsloc.config import DataSettings
from wsloc.config_files import OF_ONE_CALL
from wsloc.errors import counted
from wsloc.fitting.fitting_settings import TrainClassifierConfig
from wsloc.progress import Progress

if TYPE_CHECKING:
    from wsloc.fitting.task import ClassifierTask


def run(config: TrainClassifierConfig, command: Sequence[str], progress: Progress = training_bar) -> int:
    """Train, test, and print the table. Returns 1 if an image could not be read, else 0."""
    from wsloc.fitting.report import format_outcome
    from wsloc.fitting.train_classifier import train_classifier

    def announce(task: ClassifierTask, folder: Path) -> None:
        print(f"{_announcement(task)}\n{begun(folder, config.output)}", file=sys.stderr)
        warn_of_load(config.output)

    trained = train_classifier(config, command, announce, progress)
    print(with_flags(format_outcome(trained.task, trained.outcome, trained.figures)))
    following = next_command(config, trained.checkpoint)
    print(f"\nCheckpoint: {trained.checkpoint}")
    print_next([("boxes with it", following), ("by the head's maps", f"{following} --method cam")])
    return 1 if trained.outcome.problems else 0


def _announcement(task: ClassifierTask) -> str:
    held, count = int(task.held_out.sum()), len(task.examples.images)
    trained = "all layers" if task.settings.fine_tune else "a linear head on frozen features"
    lines = [
        f"{counted(count - held, 'image')} to train on, {held} held out, "
        f"{counted(len(task.examples.class_names), 'class')}; "
        f"{task.backbone.arch}, {trained}, {task.loss} on {task.device}."
    ]
    for what, examples in (("images", task.examples), ("test images", task.test)):
        if examples is not None and (negatives := int((~examples.shows_any).sum())):
            lines.append(f"{negatives} of the {len(examples.images)} {what} show none of the classes.")
        if examples is not None and examples.left_out:
            lines.append(
                f"{examples.left_out} {what} show none of the classes and are left out; --loss bce would use them."
            )
    return "\n".join(lines)


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
            words += [flag_of(setting.name), *map(str, values)]
    # The user's own code runs only if it is named.
    arch = config.fitting.arch
    own = ["--arch", arch] if ":" in arch and not arch.startswith("timm:") else []
    return shlex.join([*words, "--checkpoint", str(checkpoint), *own])
