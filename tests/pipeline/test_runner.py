"""The local runner, on stages made by hand."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from wsloc.pipeline.runner import Runner, fan_out, running
from wsloc.pipeline.stage import Failed
from wsloc.records import ImageRecord
from wsloc.threads import ThreadPlan

IMAGE = ImageRecord("image", "image.png", Path("image.png"))


@dataclass(eq=False)
class Double:
    """Doubles numbers; those of equal remainders share a batch, and thirteens fail."""

    batch_size: int = 1
    on_device: bool = False
    groups: int = 1
    pause: Callable[[int], float] = lambda _item: 0.0
    batches: list[list[int]] = field(default_factory=list)
    threads: set[int] = field(default_factory=set)
    name: str = "double"

    def group(self, item: int) -> Hashable:
        return item % self.groups

    def __call__(self, items: Sequence[int]) -> Sequence[int | Failed]:
        self.batches.append(list(items))
        self.threads.add(threading.get_ident())
        time.sleep(max(map(self.pause, items)))
        return [Failed(IMAGE, self.name, f"{item} is odd luck") if item % 13 == 12 else 2 * item for item in items]


def told(answers: Iterator[int | Failed]) -> list[int | str]:
    return [answer.reason if isinstance(answer, Failed) else answer for answer in answers]


def expected(items: Sequence[int]) -> list[int | str]:
    return [f"{item} is odd luck" if item % 13 == 12 else 2 * item for item in items]


@pytest.fixture(scope="module")
def pool() -> Iterator[Executor]:
    with ThreadPoolExecutor(3) as made:
        yield made


@hypothesis_settings(max_examples=60)
@given(
    items=st.lists(st.integers(0, 99), max_size=60),
    batch_size=st.integers(1, 5),
    groups=st.integers(1, 7),
    on_device=st.booleans(),
    window=st.integers(1, 9),
    workers=st.sampled_from([0, 1, 3]),
)
def test_answers_come_in_order(
    items: list[int], batch_size: int, groups: int, on_device: bool, window: int, workers: int
) -> None:
    stage = Double(batch_size, on_device, groups)
    with ThreadPoolExecutor(max(workers, 1)) as some:
        runner = Runner(some if workers else None, window)
        assert told(runner.run(stage, items)) == expected(items)
    assert sorted(item for batch in stage.batches for item in batch) == sorted(items)
    assert all(1 <= len(batch) <= batch_size for batch in stage.batches)
    assert all(len({item % groups for item in batch}) == 1 for batch in stage.batches)


def test_the_slowest_first_keeps_the_order(pool: Executor) -> None:
    stage = Double(pause=lambda item: 0.002 * (12 - item) if item < 12 else 0)
    assert told(Runner(pool).run(stage, range(12))) == expected(range(12))


@pytest.mark.parametrize(("on_device", "bound"), [(False, 6), (True, 8 * 4)])
def test_a_stage_runs_ahead_by_its_window(pool: Executor, on_device: bool, bound: int) -> None:
    pulled: list[int] = []
    # One item of a rare group, which never fills a batch.
    stage = Double(4, on_device, 2)
    stream = (pulled.append(item) or item for item in [1, *range(0, 800, 2)])
    ahead = [len(pulled) - taken for taken, _ in enumerate(Runner(pool, window=6).run(stage, stream), 1)]
    assert len(ahead) == 401
    assert max(ahead) <= bound
    assert len(pulled) == 401


def test_nothing_is_pulled_before_it_is_asked_for() -> None:
    pulled: list[int] = []
    stream = Runner(window=5).run(Double(), (pulled.append(item) or item for item in range(100)))
    assert pulled == []
    next(stream)
    assert len(pulled) <= 6


def test_groups_are_filled_and_what_is_left_makes_short_batches() -> None:
    stage = Double(3, True, 2)
    assert told(Runner().run(stage, [0, 1, 2, 4, 3, 5, 6, 7])) == expected([0, 1, 2, 4, 3, 5, 6, 7])
    assert stage.batches == [[0, 2, 4], [1, 3, 5], [6], [7]]


def test_a_full_batch_is_answered_without_waiting_for_the_window() -> None:
    pulled: list[int] = []
    stream = Runner(window=50).run(Double(3, on_device=True), (pulled.append(item) or item for item in range(90)))
    next(stream)
    assert pulled == [0, 1, 2]


def test_failures_pass_by_in_their_place() -> None:
    earlier = Failed(IMAGE, "read", "unreadable")
    stage = Double(2, True)
    assert told(Runner().run(stage, [1, earlier, 2, 12, earlier])) == [
        2,
        "unreadable",
        4,
        "12 is odd luck",
        "unreadable",
    ]
    assert stage.batches == [[1, 2], [12]]


def test_a_device_stage_runs_in_the_thread_that_asks(pool: Executor) -> None:
    on_device, beside = Double(2, True), Double(2, False)
    list(Runner(pool).run(on_device, range(9)))
    list(Runner(pool).run(beside, range(9)))
    assert on_device.threads == {threading.get_ident()}
    assert threading.get_ident() not in beside.threads


class Broken(Double):
    def __call__(self, items: Sequence[int]) -> Sequence[int | Failed]:
        if 7 in items:
            raise ZeroDivisionError("seven")
        return super().__call__(items)


@pytest.mark.parametrize("with_pool", [False, True])
@pytest.mark.parametrize("on_device", [False, True])
def test_an_exception_in_a_stage_propagates_after_what_came_before(
    pool: Executor, with_pool: bool, on_device: bool
) -> None:
    got: list[int | Failed] = []
    stream = Runner(pool if with_pool else None, window=2).run(Broken(1, on_device), range(20))
    with pytest.raises(ZeroDivisionError, match="seven"):
        got.extend(stream)
    # With a pool the seventh fails when its turn comes, else when it is run.
    assert got == [2 * item for item in range(len(got))]
    assert 4 <= len(got) <= 7


def test_an_exception_in_the_stream_propagates(pool: Executor) -> None:
    def stream() -> Iterator[int]:
        yield 1
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(Runner(pool).run(Double(), stream()))


@pytest.mark.parametrize("with_pool", [False, True])
def test_seconds_are_counted_once_for_a_batch(pool: Executor, with_pool: bool) -> None:
    runner = Runner(pool if with_pool else None)
    list(runner.run(Double(4, pause=lambda _item: 0.02), range(8)))
    assert set(runner.seconds) == {"double"}
    assert 0.04 <= runner.seconds["double"] < 0.16


def pieces_of(item: int) -> list[int | Failed]:
    """As many pieces as the item says; none is a failure that holds its place."""
    return list(range(item)) if item else [Failed(IMAGE, "split", "nothing")]


@given(st.lists(st.integers(0, 5), max_size=30), st.integers(1, 4), st.integers(1, 3))
def test_pieces_are_joined_to_their_items(items: list[int], batch_size: int, groups: int) -> None:
    earlier = Failed(IMAGE, "read", "unreadable")
    stream: list[int | Failed] = [*items, earlier]
    stage = Double(batch_size, True, groups)

    def join(item: int, answers: Sequence[int | Failed]) -> tuple[int, tuple[int | str, ...]]:
        return item, tuple(told(iter(answers)))

    *joined, last = fan_out(stream, pieces_of, partial(Runner().run, stage), join)
    assert joined == [(item, tuple(expected(range(item))) or ("nothing",)) for item in items]
    assert last is earlier


def test_fan_out_is_as_lazy_as_its_stage() -> None:
    pulled: list[int] = []
    stream = (pulled.append(item) or item for item in [2] * 50)
    joined = fan_out(stream, pieces_of, partial(Runner(window=1).run, Double()), lambda item, _: item)
    assert next(joined) == 2
    assert len(pulled) <= 3


def test_two_stages_overlap_in_a_pool() -> None:
    with ThreadPoolExecutor(4) as some:
        runner = Runner(some)
        first, second = Double(pause=lambda _item: 0.03), Double(pause=lambda _item: 0.03, name="second")
        start = time.perf_counter()
        assert told(runner.run(second, runner.run(first, range(6)))) == [4 * item for item in range(6)]
        wall = time.perf_counter() - start
    assert runner.seconds["double"] + runner.seconds["second"] > wall


@dataclass(eq=False)
class Counted(Double):
    """A stage that notes how many of its kin and of another are at work when it begins."""

    at_work: list[str] = field(default_factory=list)
    seen: list[tuple[str, list[str]]] = field(default_factory=list)

    def __call__(self, items: Sequence[int]) -> Sequence[int | Failed]:
        self.seen.append((self.name, list(self.at_work)))
        self.at_work.append(self.name)
        answers = super().__call__(items)
        self.at_work.remove(self.name)
        return answers


@pytest.mark.parametrize("in_turn", [True, False])
def test_pool_and_device_take_turns_only_where_they_share_cores(in_turn: bool) -> None:
    def pause(_item: int) -> float:
        return 0.01

    read = Counted(pause=pause, name="pool")
    device = Counted(4, True, pause=pause, at_work=read.at_work, seen=read.seen, name="device")
    cut = Counted(pause=pause, at_work=read.at_work, seen=read.seen, name="pool")
    with ThreadPoolExecutor(2) as some:
        runner = Runner(some, window=8, in_turn=in_turn)
        answers = told(runner.run(cut, runner.run(device, runner.run(read, [1] * 12))))
    assert answers == [8] * 12
    beside_device = [name for name, others in read.seen if name == "device" and others]
    during_device = [name for name, others in read.seen if "device" in others]
    assert bool(beside_device or during_device) is not in_turn
    # Each turn of the pool is for all of it.
    assert any(others == ["pool"] for name, others in read.seen if name == "pool")


def test_a_process_is_held_to_its_plan_while_the_runner_lasts() -> None:
    before = torch.get_num_threads()
    with running(ThreadPlan(network=before + 1, workers=2, in_turn=True), window=5) as runner:
        assert torch.get_num_threads() == before + 1
        assert runner.in_turn
        assert runner.window == 5
        assert told(runner.run(Double(), range(3))) == [0, 2, 4]
    assert torch.get_num_threads() == before


@dataclass(eq=False)
class Asking(Double):
    """Answers with the number of threads that PyTorch would use."""

    def __call__(self, items: Sequence[int]) -> Sequence[int | Failed]:
        return [torch.get_num_threads() for _ in items]


@pytest.mark.parametrize("workers", [0, 2])
def test_off_the_device_pytorch_has_one_thread(workers: int) -> None:
    with running(ThreadPlan(network=3, workers=workers, in_turn=True), window=5) as runner:
        assert list(runner.run(Asking(on_device=True), range(3))) == [3, 3, 3]
        assert list(runner.run(Asking(), range(3))) == [1, 1, 1]
        assert list(runner.run(Asking(on_device=True), range(3))) == [3, 3, 3]
