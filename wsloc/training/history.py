"""The record of a training, epoch by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wsloc.files.csv_lines import csv_lines


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """One epoch.

    Attributes:
        epoch: from 1.
        images: that were trained on.
        learning_rate: of its last step; of the last group of parameters, where groups differ.
        train_loss: mean over the images, while the weights changed.
        val_loss: mean over the held-out images; None without any.
        values: further figures by name: parts of the training loss, metrics on the held-out images.
    """

    epoch: int
    images: int
    learning_rate: float
    train_loss: float
    val_loss: float | None
    values: dict[str, float]


def history_csv(history: Sequence[EpochRecord]) -> str:
    """The epochs as a table, one per line."""
    names = list(dict.fromkeys(name for record in history for name in record.values))
    rows: list[list[object]] = [["epoch", "images", "learning_rate", "train_loss", "val_loss", *names]]
    for record in history:
        own = (record.epoch, record.images, record.learning_rate, record.train_loss, record.val_loss)
        rows.append([*own, *(record.values.get(name, 0.0) for name in names)])
    return "".join(csv_lines(rows))
