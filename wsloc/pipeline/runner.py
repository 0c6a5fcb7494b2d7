"""The local runner: streams through stages, in order, in bounded memory.

The generators pull: each stage runs ahead of the next by a bounded window, so that the pool and the device overlap
while memory stays flat over any number of items.
"""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from wsloc.pipeline.stage import Failed, Stage
from wsloc.threads import ThreadPlan, applied, one_thread

Item = TypeVar("Item")
Piece = TypeVar("Piece")
Out = TypeVar("Out")
Joined = TypeVar("Joined")


@dataclass(eq=False)
class Runner:
    """How stages are run.

    Attributes:
        pool: threads for the stages that need no device; None to run them between the batches. It changes no result.
        window: how many items a stage without a device may run ahead.
        in_turn: whether a stage on the device waits until the pool has nothing to do, because both need all cores.
        seconds: work of each stage so far, by its name; stages overlap, so the sum exceeds the wall clock.
    """

    pool: Executor | None = None
    window: int = 32
    in_turn: bool = False
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    _begun: set[Future[Any]] = field(default_factory=set, init=False, repr=False)

    def run(self, stage: Stage[Item, Out], items: Iterable[Item | Failed]) -> Iterator[Out | Failed]:
        """Each item through a stage, in order; failures of earlier stages pass by.

        Items wait for companions of their group, but an item of a rare group never holds back more than a window of
        others: then its short batch is run.
        """
        # On the device, a window of eight batches lets groups fill up.
        window = 8 * stage.batch_size if stage.on_device else self.window
        slots: deque[_Slot[Out]] = deque()
        groups: dict[Hashable, list[tuple[Item, _Slot[Out]]]] = {}
        for item in items:
            slot: _Slot[Out] = _Slot()
            slots.append(slot)
            if isinstance(item, Failed):
                slot.answer = item
            else:
                key = stage.group(item)
                groups.setdefault(key, []).append((item, slot))
                if len(groups[key]) == stage.batch_size:
                    self._start(stage, groups.pop(key))
            while slots and (slots[0].ready or len(slots) > window):
                if not slots[0].started:
                    # The group that was begun first holds the oldest item.
                    self._start(stage, groups.pop(next(iter(groups))))
                yield slots.popleft().take(self.seconds, stage.name)
        for group in groups.values():
            self._start(stage, group)
        while slots:
            yield slots.popleft().take(self.seconds, stage.name)

    def _start(self, stage: Stage[Item, Out], batch: Sequence[tuple[Item, _Slot[Out]]]) -> None:
        items = [item for item, _ in batch]
        if self.pool is None or stage.on_device:
            if self.in_turn:
                wait(self._begun)
            with contextlib.nullcontext() if stage.on_device else one_thread():
                answers, seconds = _timed(stage, items)
            self.seconds[stage.name] += seconds
            for (_, slot), answer in zip(batch, answers, strict=True):
                slot.answer = answer
            return
        future = self.pool.submit(_timed, stage, items)
        self._begun.add(future)
        future.add_done_callback(self._begun.discard)
        for index, (_, slot) in enumerate(batch):
            slot.future, slot.index = future, index


@contextlib.contextmanager
def running(plan: ThreadPlan, window: int, seconds: defaultdict[str, float] | None = None) -> Iterator[Runner]:
    """A runner by a plan of threads, to which this process is held meanwhile; see :class:`Runner`."""
    with applied(plan) as pool:
        yield Runner(pool, window, in_turn=plan.in_turn, seconds=defaultdict(float) if seconds is None else seconds)


@dataclass(slots=True, eq=False)
class _Slot(Generic[Out]):
    """The slot of an item in the order: empty, then a batch's future, or an answer."""

    answer: Out | Failed | None = None
    future: Future[tuple[Sequence[Out | Failed], float]] | None = None
    index: int = 0

    @property
    def started(self) -> bool:
        return self.answer is not None or self.future is not None

    @property
    def ready(self) -> bool:
        return self.answer is not None or (self.future is not None and self.future.done())

    def take(self, seconds: defaultdict[str, float], name: str) -> Out | Failed:
        """The answer, waited for; the batch's work is added to the seconds of its stage once."""
        if self.future is None:
            assert self.answer is not None
            return self.answer
        answers, work = self.future.result()
        seconds[name] += work if self.index == 0 else 0
        return answers[self.index]


def _timed(stage: Stage[Item, Out], items: Sequence[Item]) -> tuple[Sequence[Out | Failed], float]:
    start = time.perf_counter()
    return stage(items), time.perf_counter() - start


def fan_out(
    items: Iterable[Item | Failed],
    split: Callable[[Item], Sequence[Piece | Failed]],
    run: Callable[[Iterable[Piece | Failed]], Iterator[Out | Failed]],
    join: Callable[[Item, Sequence[Out | Failed]], Joined],
) -> Iterator[Joined | Failed]:
    """Each item as several pieces through a stage, and joined again; failed items pass by.

    Args:
        items: in order.
        split: an item into its pieces; one that has none is represented by a :class:`Failed`, which ``join`` sees.
        run: what the pieces of all items go through.
        join: an item and the answers for its pieces, in their order.
    """
    waiting: deque[tuple[Item | Failed, int]] = deque()

    def pieces() -> Iterator[Piece | Failed]:
        for item in items:
            own: Sequence[Piece | Failed] = [item] if isinstance(item, Failed) else split(item)
            waiting.append((item, len(own)))
            yield from own

    answers: list[Out | Failed] = []
    for answer in run(pieces()):
        answers.append(answer)
        item, count = waiting[0]
        if len(answers) == count:
            waiting.popleft()
            yield item if isinstance(item, Failed) else join(item, answers)
            answers = []
