"""How often the classes that images are labeled with are those that the network itself finds in them."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

from wsloc.errors import counted
from wsloc.records import Localization
from wsloc.runs.read_run import RunContents

_BEST = 5
_MIN_IMAGES = 5
"""Fewer images say nothing about a network."""


@dataclass(frozen=True, slots=True)
class LabelRanks:
    """The ranks that the network gives to the labels of its images.

    An image that is labeled with every class is left out: whatever the network says, it is right.

    Attributes:
        items: labels that have a rank.
        classes: among which they are ranked.
        best: items whose label is the best class.
        best_five: items whose label is among the best five.
        by_chance: what ``best`` would be, on average, if the network ordered the classes at random.
        doubtful: whether ``best`` is within a standard deviation of that, or below, on images enough to say so.
    """

    items: int
    classes: int
    best: int
    best_five: int
    by_chance: float
    doubtful: bool

    @property
    def sentence(self) -> str:
        """The figures in a line."""
        five = f", among its best five in {self.best_five:,}" if self.classes > _BEST else ""
        return (
            f"The label is the network's best of {self.classes:,} classes in {self.best:,} of "
            f"{counted(self.items, 'item')} ({self.by_chance:.1f} by chance){five}."
        )

    @property
    def warning(self) -> str:
        """What may be wrong where the network does no better than chance; else empty."""
        if not self.doubtful:
            return ""
        return (
            "That is hardly better than chance, so the boxes may be of other classes: check that the classes file "
            "(`classes_file`) has the order of the network's outputs, that `label_map` means the right ones, and that "
            "`mean`, `std`, `input_size` and `resize` are those that the network was trained with."
        )


def label_ranks(run: RunContents) -> LabelRanks | None:
    """The ranks of the labels of a run; None if it was not asked for labels, or there is nothing to compare them with.

    Each image counts as often as it has labels: by chance, one of C classes that is labeled L times is best in L / C
    of the cases.
    """
    classes = run.manifest.get("ranked_classes")
    if type(classes) is not int or classes < 2:
        return None
    of_image: dict[str, dict[str, int]] = defaultdict(dict)
    for record in (*run.localizations, *run.failures):
        if record.rank is not None and (record.index == 0 if isinstance(record, Localization) else True):
            of_image[record.image_id][record.class_name] = record.rank
    images = [list(ranks.values()) for ranks in of_image.values() if len(ranks) < classes]
    if not images:
        return None
    every = [rank for ranks in images for rank in ranks]
    chances = [len(ranks) / classes for ranks in images]
    by_chance, spread = sum(chances), math.sqrt(sum(chance * (1 - chance) for chance in chances))
    right = sum(1 in ranks for ranks in images)
    return LabelRanks(
        items=len(every),
        classes=classes,
        best=every.count(1),
        best_five=sum(rank <= _BEST for rank in every),
        by_chance=by_chance,
        doubtful=len(images) >= _MIN_IMAGES and right <= by_chance + spread,
    )
