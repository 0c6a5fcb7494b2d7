"""How many threads each stage gets, so that together they never exceed the cores of this process."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import cv2
import torch

_OWN_LOAD = 0.5
"""What this process may have contributed to the load by itself."""


@dataclass(frozen=True, slots=True)
class ThreadPlan:
    """Threads of one run.

    Attributes:
        network: threads of PyTorch on the CPU. It never depends on ``workers``, because sums over another
            number of threads round differently, and a result must not depend on the workers.
        workers: threads that read images and cut, each by itself; 0 to do both between the batches.
        in_turn: whether network and workers are for the same cores, so that one must wait for the other.
    """

    network: int
    workers: int
    in_turn: bool = False


def plan_threads(device: torch.device | None, workers: int | None = None, *, may_wait: bool = True) -> ThreadPlan:
    """Divide the cores: all for a network on the CPU (or OMP_NUM_THREADS, if less), one for a network elsewhere, the
    rest for workers. Where there is no rest, workers have all cores, too, in turn with the network.

    Args:
        device: where the network computes; None without one, where all cores are for workers.
        workers: an upper bound; None for as many as there are cores.
        may_wait: whether network and workers can take turns, as :class:`~wsloc.pipeline.Runner` lets them; if not,
            there are no workers where no core is left for them.
    """
    cores = available_cores()
    on_cpu = device is not None and device.type == "cpu"
    network = min(cores, torch.get_num_threads()) if on_cpu else 1
    left = cores if device is None else cores - network
    in_turn = may_wait and on_cpu and left == 0
    most = cores if in_turn else left
    return ThreadPlan(network, most if workers is None else min(workers, most), in_turn)


def available_cores(root: Path = Path("/")) -> int:
    """Cores that this process may use: its affinity, cut down to the quotas of its cgroups.

    Args:
        root: where ``proc`` and ``sys`` lie.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([cores, *(int(quota) for quota in _quotas(root) if quota > 0)]))


def _quotas(root: Path) -> Iterator[float]:
    """The cores that each cgroup of this process allows, and each cgroup around it, of version 1 or 2; -1: no limit."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:  # Another system than Linux.
        return
    for _, controllers, own in (line.split(":", 2) for line in lines):
        if controllers and "cpu" not in controllers.split(","):
            continue
        path = PurePosixPath(own.lstrip("/"))
        for group in (path, *path.parents):
            # Most have none (version 2: "max"), or are not seen from inside a container.
            with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
                yield _version_1(root, group) if controllers else _version_2(root, group)


def _version_1(root: Path, group: PurePosixPath) -> float:
    folder = root / "sys/fs/cgroup/cpu" / group
    quota, period = ((folder / f"cpu.cfs_{name}_us").read_text(encoding="ascii") for name in ("quota", "period"))
    return int(quota) / int(period)


def _version_2(root: Path, group: PurePosixPath) -> float:
    quota, period = (root / "sys/fs/cgroup" / group / "cpu.max").read_text(encoding="ascii").split()
    return int(quota) / int(period)


def warning_of_load() -> str:
    """What to tell a user whose PyTorch threads will wait for one another; empty if there is nothing to tell.

    The number of threads does not follow the load by itself, because it changes how sums round.
    """
    threads, cores = torch.get_num_threads(), os.cpu_count() or 1
    try:
        load = os.getloadavg()[0]
    except (AttributeError, OSError):  # Windows, or a system that does not say
        return ""
    if threads == 1 or load + threads < cores + _OWN_LOAD:
        return ""
    return (
        f"The machine was busy in the last minute (load {load:.1f} on {cores} cores). If it still is, PyTorch's "
        f"{threads} threads wait for one another; set the environment variable OMP_NUM_THREADS=1 if a step takes "
        "seconds."
    )


@contextlib.contextmanager
def applied(plan: ThreadPlan) -> Iterator[Executor | None]:
    """PyTorch and OpenCV held to the plan, and its pool of workers; None if it has none."""
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(plan.network)
    cv2.setNumThreads(1)
    pool = None
    if plan.workers:
        # PyTorch counts threads for each thread that calls it.
        pool = ThreadPoolExecutor(plan.workers, "wsloc", initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield pool
    finally:
        if pool:
            pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch held to one thread, as in the pool, so that its sums round as they do there."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
