"""``wsloc fit-refiner``: what shards with a refiner learn together, between their maps and their boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from wsloc.cli.bars import kept_bar
from wsloc.cli.stopping import if_stopped
from wsloc.errors import counted
from wsloc.setting_checks import optional, require


@dataclass(frozen=True)
class FitRefinerConfig:
    """Learn from the maps of all shards of a run (wsloc localize --preset best --shard K/N) what one process would.

    Each shard must have stored its maps, and gets refiner.safetensors; the same commands with --resume then draw the
    boxes. A shard that was begun anew gets what the others have.
    """

    shards: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="SHARD...", help_behavior_hint="")]
    """run folders of all shards, in any order"""
    root: Annotated[Path | None, optional("DIR", "as in the shards")] = None
    """folder of the data set, if it has moved"""

    def __post_init__(self) -> None:
        require(bool(self.shards), "There is nothing to learn from; name the folders of all shards.")


def run(config: FitRefinerConfig, _command: Sequence[str]) -> int:
    """Learn, and print what to type next. Returns 0."""
    from wsloc.main_job import fit_refiner
    from wsloc.runs.fitted_refiner import FITTED

    with if_stopped(lambda: "no shard is the worse for it, start it again"):
        shards = fit_refiner(config.shards, config.root, kept_bar)
    print(f"{counted(len(shards), 'shard')}, each with {FITTED} now; the same commands with --resume draw the boxes.")
    return 0
