"""``--dry-run``: the first items of a job, done for real in a temporary folder, tell what all of them will take."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from wsloc.cli.notes import LOG
from wsloc.cli.stopping import if_stopped
from wsloc.errors import counted
from wsloc.files.room import in_units, room, written
from wsloc.progress import Progress

T = TypeVar("T")
_MIN_ITEMS = 10
_MIN_SECONDS = 10.0
"""Of a rehearsal after its first item: the network answers in batches, so that ten items may come at once."""
_COPIES_OF_WEIGHTS = 5
"""At most, in the state of a training: weights, best ones, average, and two moments of the optimizer."""


class _Enough(BaseException):
    """Ends a rehearsal; nothing that handles errors of items may stop it."""


@dataclass(eq=False)
class _Phase:
    """A part of the work: how far it came in how many seconds, and what that needs on the disk, in bytes."""

    what: str
    unit: str
    total: int
    done: int = 0
    seconds: float = 0.0
    first: float = 0.0
    records: int = 0
    files: int = 0
    pictures: int = 0
    weights: int = 0

    @property
    def disk(self) -> float:
        """What all items need."""
        return (self.records + self.files) * self.total / max(self.done, 1) + self.pictures

    @property
    def all_seconds(self) -> float:
        """What all items take: the rest at the rate of those after the first, before which a network warms up."""
        rate = (self.seconds - self.first) / max(self.done - 1, 1)
        return self.seconds + (self.total - self.done) * rate


class Rehearsal:
    """A progress that ends the work, by an exception, as soon as it can tell how long a phase takes."""

    def __init__(self, folder: Path) -> None:
        """Watch a job that writes into a folder, its run folder inside that."""
        self._folder = folder
        self.phases: list[_Phase] = []

    def __call__(self, items: Iterable[T], what: str, unit: str, total: int | None = None) -> Iterable[T]:
        """The items, until there were enough of them; see :class:`wsloc.progress.Progress`."""
        phase = _Phase(what, unit, len(items) if total is None else total)  # type: ignore[arg-type]
        self.phases.append(phase)
        start = time.monotonic()
        for item in items:
            phase.done += 1
            phase.seconds = time.monotonic() - start
            phase.first = phase.first or phase.seconds
            _weigh(phase, item)
            yield item
            if phase.done > _MIN_ITEMS and phase.seconds - phase.first >= _MIN_SECONDS and phase.done < phase.total:
                # Once it is stopped, the job removes what is not whole.
                self._measure(phase)
                raise _Enough
        self._measure(phase)

    def _measure(self, phase: _Phase) -> None:
        run = self._folder / "run"
        # Pictures do not grow with the number of images, and records are counted already.
        phase.pictures = written(run / "pictures")
        phase.files = written(self._folder) - phase.pictures - written(run / "parts") - written(run / LOG)


def _weigh(phase: _Phase, item: object) -> None:
    """Count what will be written of an item and is not yet."""
    from wsloc.pipeline import ImageResult
    from wsloc.runs.record_lines import to_line
    from wsloc.runs.run_folder import records_of
    from wsloc.training.loop import Step

    if isinstance(item, ImageResult):
        phase.records += sum(len(to_line(record)) for record in records_of(item))
    elif isinstance(item, Step):
        phase.weights = item.weight_bytes


def dry_run(run: Callable[[Any, Sequence[str], Progress], int], config: Any, command: Sequence[str]) -> int:
    """Begin a job in a temporary folder, and print how much of it there is and what it will take. Returns 0.

    Args:
        run: of the verb's module.
        config: its settings, which have an ``output``.
        command: what was typed.
    """
    complete = False
    kept_nothing = if_stopped(lambda: "nothing of the dry run was kept")
    with kept_nothing, tempfile.TemporaryDirectory(prefix="wsloc-dry-run-", ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary)
        rehearsal = Rehearsal(folder)
        output = dataclasses.replace(config.output, dry_run=False, overwrite=False, out=folder / "run")
        # The results of a few items are not what was asked for.
        with contextlib.suppress(_Enough), contextlib.redirect_stdout(io.StringIO()):
            run(dataclasses.replace(config, output=output), command, rehearsal)
            complete = True
    print("\n".join(_told(rehearsal.phases, complete=complete)))
    free = room(config.output.out or Path("runs"))
    print(f"The disk has {in_units(free)} free. Nothing was kept.")
    return 0


def _told(phases: Sequence[_Phase], *, complete: bool) -> Iterator[str]:
    """A line for each phase, and one on what follows."""
    for phase in phases:
        of = f"{phase.done:,} of {counted(phase.total, phase.unit)}"
        spent = f"{of} in {phase.seconds:.1f} s"
        ended = phase.done == phase.total
        yield f"{phase.what}: {spent}" + (
            "" if ended else f"; all take about {tqdm.format_interval(phase.all_seconds)}"
        )
    if weights := max((phase.weights for phase in phases), default=0):
        yield f"disk: up to {in_units(_COPIES_OF_WEIGHTS * weights)} while it trains"
    elif phases:
        yield f"disk: about {in_units(max(phase.disk for phase in phases))}"
    if not complete:
        yield f"What comes after {phases[-1].what} is not in these figures."
