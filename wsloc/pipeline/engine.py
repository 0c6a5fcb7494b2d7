"""How the stages are run over the images of a run: on this machine, or on a cluster."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from wsloc.pipeline.localizer import Localizer, localize_images
from wsloc.pipeline.map_stage import ImageMaps
from wsloc.pipeline.results import ImageResult
from wsloc.pipeline.runner import running
from wsloc.pipeline.stage import Failed
from wsloc.records import ImageRecord
from wsloc.threads import ThreadPlan

Parts = Sequence[Sequence[ImageRecord]]
"""The images of some parts of a run; a part is what is written at once."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What of a result is wanted besides its records, so that nothing else need travel between machines.

    Attributes:
        maps: whether the maps are.
        traces: the images whose traces are, by their ids.
    """

    maps: bool = False
    traces: frozenset[str] = frozenset()


class Engine(Protocol):
    """Runs stages over images. Answers come in the order of the images and have the same bytes from any engine."""

    @property
    def plan(self) -> ThreadPlan:
        """How the cores of a machine are divided."""

    @property
    def seconds(self) -> Mapping[str, float]:
        """Work of each stage so far, by its name."""

    def maps(self, localizer: Localizer, parts: Parts) -> Generator[ImageMaps | Failed, None, None]:
        """The first half of the stages: maps, and the features that are asked for."""

    def results(self, localizer: Localizer, parts: Parts, kept: Kept) -> Generator[ImageResult, None, None]:
        """All stages; a bad image is a result with failures."""


@dataclass(frozen=True, slots=True)
class LocalEngine:
    """The threads of this process; while the last images of a part are cut, the next part is begun.

    Attributes:
        plan: how the cores are divided.
        seconds: see :class:`Engine`.
    """

    plan: ThreadPlan
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    def maps(self, localizer: Localizer, parts: Parts) -> Generator[ImageMaps | Failed, None, None]:
        """See :class:`Engine`."""
        with running(self.plan, localizer.window, self.seconds) as runner:
            yield from localizer.compute_maps(itertools.chain.from_iterable(parts), runner)

    def results(self, localizer: Localizer, parts: Parts, kept: Kept) -> Generator[ImageResult, None, None]:  # noqa: ARG002
        """See :class:`Engine`; nothing travels, so all is kept."""
        with running(self.plan, localizer.window, self.seconds) as runner:
            yield from localize_images(localizer, itertools.chain.from_iterable(parts), runner)
