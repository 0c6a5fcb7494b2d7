"""Learning rates by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from wsloc.training.schedule import warmup_cosine


def rates(steps: int, *, rising: int, start: float, falls_from: int = 0, peak: float = 1.0) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=peak)
    schedule = warmup_cosine(optimizer, steps, rising=rising, start=start, falls_from=falls_from)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return [*found, optimizer.param_groups[0]["lr"]]


def test_a_line_times_half_a_cosine() -> None:
    found = rates(20, rising=4, start=1e-3)
    assert found[0] == pytest.approx(0.001)
    assert found[2] == pytest.approx((0.001 + 0.999 / 2) * 0.5 * (1 + math.cos(math.pi / 10)))
    assert found[10] == pytest.approx(0.5)
    assert np.argmax(found) == 4
    assert found[20] == 0
    assert rates(20, rising=0, start=1e-3)[0] == 1
    assert rates(100, rising=10, start=1e-3)[5] == pytest.approx(0.5005 * 0.5 * (1 + math.cos(math.pi / 20)))


def test_half_a_cosine_after_the_line() -> None:
    found = rates(10, rising=3, start=0.25, falls_from=4, peak=0.2)
    assert found[:5] == pytest.approx([0.05, 0.1, 0.15, 0.2, 0.2])
    assert found[7] == pytest.approx(0.1)
    assert found[10] == 0


def test_groups_keep_their_ratio() -> None:
    groups = [{"params": [nn.Parameter(torch.zeros(1))], "lr": rate} for rate in (1.0, 0.1)]
    optimizer = torch.optim.SGD(groups)
    schedule = warmup_cosine(optimizer, 10, rising=2, start=0.5)
    for _ in range(5):
        first, second = (group["lr"] for group in optimizer.param_groups)
        assert second == pytest.approx(first / 10)
        optimizer.step()
        schedule.step()
