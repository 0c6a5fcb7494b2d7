"""When a user is told that threads will wait for one another."""

from __future__ import annotations

import os

import pytest
import torch

from wsloc.threads import ThreadPlan, applied, warning_of_load


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
