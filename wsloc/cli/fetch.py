"""``wsloc fetch``: the images of a list of web addresses."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from wsloc.cli.bars import kept_bar
from wsloc.cli.outputs import print_next
from wsloc.errors import counted
from wsloc.setting_checks import optional, require_above, require_range


@dataclass(frozen=True)
class FetchConfig:
    """Fetch the images of a list of web addresses into a folder, and write a list of them that localize takes.

    What is there already is not fetched again, so the same command goes on where it was stopped. The servers that the
    list names are asked from this machine, those of its own network among them: fetch no list that you do not trust
    where that matters.
    """

    table: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="LIST", help_behavior_hint="")]
    """table of http and https addresses, with or without labels: CSV, JSON lines (.jsonl), Parquet (.parquet), or a
    text file with one address per line (.txt)"""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """folder to write: images/, labels.csv, and failures.csv"""
    image_column: Annotated[str | None, optional("NAME", "the one that begins with an address")] = None
    """header of the column of the addresses"""
    label_column: Annotated[str | None, optional("NAME", "by the usual names")] = None
    """header of the column of the labels"""
    time_limit: float = 30
    """seconds that one image may take (> 0, at most 86400)"""
    max_megabytes: float = 50
    """megabytes that one image may have (> 0, at most 1000)"""
    workers: int = 16
    """how many images are fetched at once (1 to 256)"""

    def __post_init__(self) -> None:
        require_above(self, "time_limit", 0, 86400)
        require_above(self, "max_megabytes", 0, 1000)
        require_range(self, "workers", 1, 256)


def run(config: FetchConfig, _command: Sequence[str]) -> int:
    """Fetch, and say what could not be fetched. Returns 1 if there is any, else 0."""
    from wsloc.datasets.fetching import FAILURES, LABELS, fetch_images
    from wsloc.datasets.label_table import Columns
    from wsloc.datasets.url_list import read_url_list
    from wsloc.files.http_get import GetLimits

    rows = read_url_list(config.table, Columns(config.image_column, config.label_column))
    limits = GetLimits(config.time_limit, round(config.max_megabytes * 1e6))
    done = fetch_images(rows, config.out, limits, config.workers, kept_bar)
    known = f", {done.known:,} of them already there" if done.known else ""
    retries = f", after {done.retries:,} retries" if done.retries else ""
    print(f"{counted(done.images, 'image')}{known}{retries}")
    if done.reasons:
        print(f"{counted(done.reasons.total(), 'image')} not fetched, listed in {config.out / FAILURES}:")
        for reason, count in done.reasons.most_common(10):
            print(f"  {count:>6}  {reason}")
    out = shlex.quote(str(config.out))
    labels = shlex.quote(str(config.out / LABELS))
    more = "" if any(row.labels for row in rows) else " --class NAME"
    print_next([("localize", f"wsloc localize --dataset folder --root {out} --labels {labels}{more}")])
    return 1 if done.reasons else 0
