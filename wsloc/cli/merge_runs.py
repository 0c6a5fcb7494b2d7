"""``wsloc merge-runs``: the shards of a run joined to one run."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from wsloc.cli.flags import with_flags
from wsloc.cli.outputs import begun, print_next
from wsloc.config import FolderSettings
from wsloc.setting_checks import optional, require


@dataclass(frozen=True)
class MergeRunsConfig:
    """Join the shards of a run (wsloc localize --shard K/N) to the run that one process would have written.

    All shards must be there, once each, finished, and made with the same settings on the same data. Metrics are
    computed of the whole. The shards stay as they are.
    """

    shards: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="SHARD...", help_behavior_hint="")]
    """run folders of all shards, in any order"""
    out: Annotated[Path | None, optional("DIR", "a new one in runs, named after what is done")] = None
    """run folder"""
    overwrite: bool = False
    """replace the run folder if it exists"""
    root: Annotated[Path | None, optional("DIR", "as in the shards")] = None
    """folder of the data set, if it has moved"""

    def __post_init__(self) -> None:
        require(bool(self.shards), "There is nothing to merge; name the folders of all shards.")


def run(config: MergeRunsConfig, command: Sequence[str]) -> int:
    """Merge, and print the table. Returns 1 if an item failed or an annotation was bad, else 0."""
    from wsloc.main_job import merge_runs

    out = FolderSettings(config.out, overwrite=config.overwrite)

    def announce(folder: Path) -> None:
        print(begun(folder, out), file=sys.stderr)

    done = merge_runs(config.shards, out, config.root, command, announce)
    folder, counts = done.judged.contents.path, done.summary.counts
    print(with_flags(done.summary.text))
    print(f"\nRun folder: {folder}")
    quoted = shlex.quote(str(folder))
    print_next(
        [("an HTML page", f"wsloc report {quoted}"), ("boxes for a detector", f"wsloc export {quoted} --format yolo")]
    )
    return 1 if counts["failures"] or counts["images_without_truth"] else 0
