"""How many threads there may be, and when a user is told that they will wait for one another."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from wsloc.threads import ThreadPlan, applied, available_cores, plan_threads, warning_of_load


@pytest.mark.parametrize(
    ("threads", "cores", "load", "warns"),
    [(2, 2, 1.0, True), (2, 2, 0.4, False), (1, 2, 5.0, False), (2, 8, 6.4, False), (4, 8, 4.5, True)],
)
def test_threads_on_a_busy_machine(
    monkeypatch: pytest.MonkeyPatch, threads: int, cores: int, load: float, warns: bool
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0), raising=False)
    before = torch.get_num_threads()
    with applied(ThreadPlan(threads, 0)):
        said = warning_of_load()
    assert bool(said) == warns
    if warns:
        assert said.startswith(f"The machine was busy in the last minute (load {load} on {cores} cores)")
        assert "set the environment variable OMP_NUM_THREADS=1" in said
    assert torch.get_num_threads() == before


def test_systems_without_a_load_say_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "getloadavg", raising=False)
    with applied(ThreadPlan(2, 0)):
        assert warning_of_load() == ""


CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("device", "cores", "torch_threads", "workers", "may_wait", "plan"),
    [
        (CPU, 16, 16, None, True, ThreadPlan(16, 16, in_turn=True)),
        (CPU, 16, 16, 3, True, ThreadPlan(16, 3, in_turn=True)),
        (CPU, 16, 16, 0, True, ThreadPlan(16, 0, in_turn=True)),
        (CPU, 16, 16, None, False, ThreadPlan(16, 0)),
        (CPU, 16, 12, None, True, ThreadPlan(12, 4)),
        (CPU, 16, 12, 9, False, ThreadPlan(12, 4)),
        (CPU, 2, 1, None, True, ThreadPlan(1, 1)),
        (CPU, 1, 1, None, True, ThreadPlan(1, 1, in_turn=True)),
        # A quota below what PyTorch found.
        (CPU, 4, 64, None, True, ThreadPlan(4, 4, in_turn=True)),
        (CUDA, 16, 16, None, True, ThreadPlan(1, 15)),
        (CUDA, 1, 1, None, True, ThreadPlan(1, 0)),
        (None, 16, 16, None, True, ThreadPlan(1, 16)),
        (None, 16, 16, 2, True, ThreadPlan(1, 2)),
    ],
)
def test_cores_are_divided(
    monkeypatch: pytest.MonkeyPatch,
    device: torch.device | None,
    cores: int,
    torch_threads: int,
    workers: int | None,
    may_wait: bool,
    plan: ThreadPlan,
) -> None:
    monkeypatch.setattr("wsloc.threads.available_cores", lambda: cores)
    monkeypatch.setattr(torch, "get_num_threads", lambda: torch_threads)
    assert plan_threads(device, workers, may_wait=may_wait) == plan


V1, V2 = "4:memory:/m\n1:cpu,cpuacct:/docker/a", "0::/user.slice/job.scope"


@pytest.mark.parametrize(
    ("groups", "files", "cores"),
    [
        (V2, {}, 16),
        (V2, {"user.slice/job.scope/cpu.max": "max 100000"}, 16),
        (V2, {"user.slice/job.scope/cpu.max": "400000 100000"}, 4),
        (V2, {"user.slice/job.scope/cpu.max": "400000 100000", "user.slice/cpu.max": "250000 100000"}, 2),
        (V2, {"cpu.max": "50000 100000"}, 1),
        (V2, {"other/cpu.max": "100000 100000"}, 16),
        ("0::/../../job", {"cpu.max": "300000 100000"}, 3),
        ("0::/", {"cpu.max": "3200000 100000"}, 16),
        (V1, {"cpu/docker/a/cpu.cfs_quota_us": "-1", "cpu/docker/a/cpu.cfs_period_us": "100000"}, 16),
        (V1, {"cpu/docker/a/cpu.cfs_quota_us": "600000", "cpu/docker/a/cpu.cfs_period_us": "100000"}, 6),
        (V1, {"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "50000"}, 2),
        (V1, {"cpu.max": "100000 100000"}, 16),
        (f"{V1}\n{V2}", {"cpu/cpu.cfs_quota_us": "500000", "cpu/cpu.cfs_period_us": "100000"}, 5),
        (None, {}, 16),
    ],
)
def test_cores_are_those_that_affinity_and_cgroups_allow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, groups: str | None, files: dict[str, str], cores: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(16)), raising=False)
    if groups is not None:
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/self/cgroup").write_text(groups + "\n")
    for name, text in files.items():
        file = tmp_path / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    assert available_cores(tmp_path) == cores


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_affinity_is_obeyed() -> None:
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert available_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)
