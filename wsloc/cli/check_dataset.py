"""``wsloc check-dataset``: what is wrong with the files of a data set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import tyro
from tqdm import tqdm

from wsloc.cli.flags import with_flags
from wsloc.cli.parse import parse
from wsloc.config import DataSettings
from wsloc.records import ImageRecord


@dataclass(frozen=True)
class _ImagesWithOwnLabels(DataSettings):
    """Which images; the classes to look for do not matter here."""

    class_name: Annotated[str | None, tyro.conf.Fixed, tyro.conf.Suppress] = None
    targets: Annotated[str, tyro.conf.Fixed, tyro.conf.Suppress] = "labels"


@dataclass(frozen=True)
class CheckDatasetConfig:
    """List every file of a data set that is missing, unreadable, or contradicts another."""

    data: _ImagesWithOwnLabels = field(default_factory=_ImagesWithOwnLabels)


def run(arguments: Sequence[str]) -> int:
    """Print one line per problem, then a count of each kind. Returns 1 if there are any, else 0."""
    config = parse(CheckDatasetConfig, "check-dataset", arguments)
    # Only now, so that --help and a misspelled flag answer at once.
    from wsloc.datasets.checking import check_dataset

    kinds: Counter[str] = Counter()
    checked = 0

    def watch(images: Iterable[ImageRecord]) -> Iterable[ImageRecord]:
        nonlocal checked
        for image in tqdm(images, unit="image", dynamic_ncols=True):
            checked += 1
            yield image

    for problem in check_dataset(config.data, watch):
        kinds[problem.kind] += 1
        tqdm.write(f"{problem.where}: {with_flags(problem.sentence)}")
    if not kinds:
        print(f"{checked} images: no problems.")
        return 0
    print(f"{checked} images, {kinds.total()} problems:")
    for kind, count in kinds.most_common():
        print(f"  {count:>6}  {kind}")
    return 1
