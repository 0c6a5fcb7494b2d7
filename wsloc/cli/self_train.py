"""``wsloc self-train``: a detector learns the boxes and finds better ones of the labeled classes, in rounds."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wsloc.cli.bars import training_bar
from wsloc.cli.outputs import begun, print_next, warn_of_load
from wsloc.detection.configs import SelfTrainConfig
from wsloc.progress import Progress

if TYPE_CHECKING:
    from wsloc.detection.round_figures import RoundFigures


def run(config: SelfTrainConfig, command: Sequence[str], progress: Progress = training_bar) -> int:
    """Run the rounds and print their figures. Returns 1 if an image, an annotation or a box was bad, else 0."""
    from wsloc.detection.self_train import run_self_training

    def announce(folder: Path) -> None:
        print(begun(folder, config.output), file=sys.stderr)
        warn_of_load(config.output)

    trained = run_self_training(config, command, announce, progress)
    _print_rounds(trained.path, trained.figures, readable=trained.readable)
    return 1 if trained.problems else 0


def _print_rounds(out: Path, rounds: Sequence[RoundFigures], *, readable: bool) -> None:
    from wsloc.detection.round_figures import GAIN, HEADLINE, best_round
    from wsloc.evaluation.table import format_interval

    print(f"{'round':<7}{'boxes':>7}{'found':>7}   {HEADLINE:<22}{GAIN}")
    for row in rounds:
        metrics = ""
        if row.metrics:
            metrics = f"{format_interval(row.metrics[HEADLINE]):<22}{format_interval(row.metrics[GAIN])}"
        print(f"{row.index:<7}{row.boxes:>7}{row.found:>7}   {metrics}")
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
        print(f"Round {best} has the highest {HEADLINE}; choosing it means having looked at true boxes.")
    page = ("a page to look at", f"wsloc report {' '.join(folders)}")
    print_next([page, ("a detector of them", f"wsloc train-detector --boxes-from {folders[best]}")])
