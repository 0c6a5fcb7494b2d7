"""``wsloc self-train``: a detector learns the boxes and finds better ones of the labeled classes, in rounds."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wsloc.cli.bars import training_bar
from wsloc.cli.parse import parse
from wsloc.detection.configs import SelfTrainConfig

if TYPE_CHECKING:
    from wsloc.detection.round_figures import RoundFigures


def run(arguments: Sequence[str]) -> int:
    """Run the rounds and print their figures.

    Returns 1 if an image or annotation could not be read or a box not refined, 130 if interrupted, else 0.
    """
    config = parse(SelfTrainConfig, "self-train", arguments)
    # Only now, so that --help and a misspelled flag answer before torch is loaded.
    from wsloc.detection.self_train import run_self_training

    def announce(folder: Path) -> None:
        print(f"{'Resuming' if config.output.resume else 'Writing'} {folder}", file=sys.stderr)

    try:
        trained = run_self_training(config, ["wsloc", "self-train", *arguments], announce, training_bar)
    except KeyboardInterrupt:
        print("wsloc: interrupted; the same command with --resume continues the rounds.", file=sys.stderr)
        return 130
    _say(trained.path, trained.figures, readable=trained.readable)
    return 1 if trained.problems else 0


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
        print("The rounds know no data set, so nothing else reads them; --dataset NAME beside the export changes that.")
        return
    best = best_round(rounds)
    if best is None:
        best = len(rounds) - 1
        print("Which round is best cannot be told without true boxes.")
    else:
        print(f"The highest {HEADLINE} is that of round {best}; whoever chooses by it has looked at true boxes.")
    print("Next:")
    print(f"  a page to look at     wsloc report {' '.join(folders)}")
    print(f"  a detector of them    wsloc train-detector --boxes-from {folders[best]}")
