"""The results of a training: files in its folder, and the table for a terminal."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from torch import nn

from wsloc.classifiers.checkpoint import save_checkpoint
from wsloc.errors import counted
from wsloc.evaluation.table import format_interval
from wsloc.files.atomic import write_atomic
from wsloc.files.csv_lines import csv_lines
from wsloc.fitting.classifier_folder import CHECKPOINT
from wsloc.fitting.scoring import ScoredImages, Scores, score_images
from wsloc.fitting.task import ClassifierTask
from wsloc.training.history import EpochRecord

_MAX_PROBLEMS_SHOWN = 5


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """A finished training.

    Attributes:
        network: with its head.
        history: all epochs.
        best_epoch: whose weights the network has.
        held_out: the images that chose the epoch, scored; None if none was held out.
        test: the test images, scored; None if there are none.
        problems: why an image could not be read, by its file.
    """

    network: nn.Module
    history: Sequence[EpochRecord]
    best_epoch: int
    held_out: ScoredImages | None
    test: ScoredImages | None
    problems: Mapping[str, str]

    def figures(self) -> dict[str, Scores]:
        """The metrics of the classifier on the held-out images and on the test images."""
        sets = {"held_out": self.held_out, "test": self.test}
        return {name: score_images(images) for name, images in sets.items() if images is not None and len(images)}


def write_outcome(folder: Path, task: ClassifierTask, outcome: Outcome) -> dict[str, Scores]:
    """Write classifier.safetensors, classes.csv, metrics.json and failures.jsonl.

    Returns:
        The metrics of the classifier on the held-out images and on the test images.

    Raises:
        UserError: if the disk is full.
    """
    figures = outcome.figures()
    save_checkpoint(folder / CHECKPOINT, outcome.network, task.info())
    write_atomic(folder / "classes.csv", _classes_csv(task, figures))
    metrics = {"best_epoch": outcome.best_epoch, "epochs": len(outcome.history)} | {
        name: {
            "images": scores.images,
            "mAP": dataclasses.asdict(scores.mean_ap),
            "top1_accuracy": dataclasses.asdict(scores.accuracy),
        }
        for name, scores in figures.items()
    }
    write_atomic(folder / "metrics.json", json.dumps(metrics, indent=2) + "\n")
    lines = (json.dumps({"file": file, "reason": reason}) + "\n" for file, reason in outcome.problems.items())
    write_atomic(folder / "failures.jsonl", lines)
    return figures


def format_outcome(task: ClassifierTask, outcome: Outcome, figures: Mapping[str, Scores]) -> str:
    """The figures as plain text, in percent: for all classes together, then class by class."""
    last = outcome.history[outcome.best_epoch - 1]
    lines = [f"Epoch {outcome.best_epoch} of {len(outcome.history)} is the best; training loss {last.train_loss:.4f}."]
    for name, scores in figures.items():
        lines.append(
            f"{_title(name)}: mAP {format_interval(scores.mean_ap)}, best class right where an image has one "
            f"{format_interval(scores.accuracy)}; {counted(scores.images, 'image')} (95 % bootstrap intervals over "
            "images)"
        )
    width = max(17, *(len(name) + 2 for name in task.examples.class_names))
    heads = "".join(f"{_title(name) + ' images':>18}{'AP':>7}" for name in figures)
    lines += ["", f"{'class':<{width}}{'trained on':>11}{heads}"]
    for row in _rows(task, figures):
        cells = "".join(f"{row[f'{name}_images']:>18}{_percent(row[f'{name}_ap']):>7}" for name in figures)
        lines.append(f"{row['class']:<{width}}{row['training_images']:>11}{cells}")
    if outcome.problems:
        lines += ["", f"{counted(len(outcome.problems), 'image')} could not be read (failures.jsonl):"]
        shown = list(outcome.problems.items())[:_MAX_PROBLEMS_SHOWN]
        # A reason begins with the file's name, without its folder.
        lines += [f"  {file}: {reason.removeprefix(PurePath(file).name).strip()}" for file, reason in shown]
    return "\n".join(lines)


def _rows(task: ClassifierTask, figures: Mapping[str, Scores]) -> list[dict[str, Any]]:
    training = task.examples.present[~task.held_out].sum(axis=0).tolist()
    rows: list[dict[str, Any]] = []
    for index, name in enumerate(task.examples.class_names):
        row: dict[str, Any] = {"class": name, "training_images": training[index]}
        for kind, scores in figures.items():
            row |= {f"{kind}_images": scores.class_images[index], f"{kind}_ap": scores.class_ap[index]}
        rows.append(row)
    return rows


def _classes_csv(task: ClassifierTask, figures: Mapping[str, Scores]) -> Iterator[str]:
    rows = _rows(task, figures)
    # A class that no image of a set shows has no average precision there.
    return csv_lines([rows[0], *(["" if value != value else value for value in row.values()] for row in rows)])


def _title(name: str) -> str:
    return name.replace("_", " ")


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.1f}"
