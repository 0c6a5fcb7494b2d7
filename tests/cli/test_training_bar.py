"""What the bar of a training tells."""

from __future__ import annotations

import pytest

from wsloc.cli.bars import training_bar
from wsloc.training.history import EpochRecord
from wsloc.training.loop import Step


def test_it_tells_the_loss_and_the_metrics_of_the_last_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    last = EpochRecord(1, 8, 0.1, 0.7, 0.25, {"val_map": 0.5})
    steps = [Step(1, 0.75, None, 8), Step(2, 0.5, last, 8)]
    assert list(training_bar(steps, "training", "step", 2)) == steps
    shown = capsys.readouterr().err
    assert "training" in shown
    assert "epoch 2: loss 0.500, val_loss 0.250, val_map 0.500" in shown


def test_it_counts_anything_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(training_bar(["a", "b"], "features", "image")) == ["a", "b"]
    assert "features" in capsys.readouterr().err
