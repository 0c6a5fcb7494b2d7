"""``wsloc check-dataset``: what is wrong with the files of a data set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, TypeVar

import tyro

from wsloc.cli.bars import kept_bar, print_above
from wsloc.cli.flags import with_flags
from wsloc.config import DataSettings
from wsloc.errors import counted

T = TypeVar("T")


@dataclass(frozen=True)
class _ImagesWithOwnLabels(DataSettings):
    """Which images; the classes to look for do not matter here."""

    class_name: Annotated[str | None, tyro.conf.Fixed, tyro.conf.Suppress] = None
    targets: Annotated[str, tyro.conf.Fixed, tyro.conf.Suppress] = "labels"


@dataclass(frozen=True)
class CheckDatasetConfig:
    """List every file of a data set that is missing, unreadable, or contradicts another."""

    data: _ImagesWithOwnLabels = field(default_factory=_ImagesWithOwnLabels)


def run(config: CheckDatasetConfig, _command: Sequence[str]) -> int:
    """Print a line for each problem, then how many there are of each kind. Returns 1 if there are any, else 0."""
    from wsloc.datasets.checking import check_dataset

    kinds: Counter[str] = Counter()
    checked = 0

    def counting_bar(items: Iterable[T], what: str, unit: str, total: int | None = None) -> Iterable[T]:
        nonlocal checked
        for checked, item in enumerate(kept_bar(items, what, unit, total), start=1):  # noqa: B007
            yield item

    for problem in check_dataset(config.data, counting_bar):
        kinds[problem.kind] += 1
        print_above(f"{problem.where}: {with_flags(problem.sentence)}")
    if not kinds:
        print(f"{counted(checked, 'image')}: no problems.")
        return 0
    print(f"{counted(checked, 'image')}, {counted(kinds.total(), 'problem')}:")
    for kind, count in kinds.most_common():
        print(f"  {count:>6}  {kind}")
    return 1
