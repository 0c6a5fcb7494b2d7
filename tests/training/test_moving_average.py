"""The moving average by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from wsloc.training.averaging import moving_average


class Counter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.register_buffer("statistic", torch.zeros(1))
        self.register_buffer("steps", torch.tensor(0))


@pytest.mark.parametrize(
    ("decay", "expected"),
    [
        # The first step is copied. Then 2/11 and 3/12 of the average stay: 4 -> 4 * 2/11 + 8 * 9/11 = 80/11, and
        # 80/11 * 1/4 + 16 * 3/4 = 152/11.
        (0.99, [4, 80 / 11, 152 / 11]),
        (0.2, [4, 80 / 11, 80 / 11 * 0.2 + 16 * 0.8]),
    ],
)
def test_short_trainings_forget_their_first_weights(decay: float, expected: list[float]) -> None:
    module = Counter()
    average = moving_average(module, decay)
    for value, result in zip((4.0, 8.0, 16.0), expected, strict=True):
        with torch.no_grad():
            module.weight.fill_(value)
            module.statistic.fill_(10 * value)
        average.update_parameters(module)
        assert average.module.weight.item() == pytest.approx(result)
        assert average.module.statistic.item() == pytest.approx(10 * result)
    assert module.weight.item() == 16


def test_what_does_not_change_keeps_its_bits() -> None:
    module = Counter()
    fixed = torch.tensor([0.1])
    with torch.no_grad():
        module.weight.copy_(fixed)
    average = moving_average(module, 0.99)
    for _ in range(50):
        average.update_parameters(module)
    assert torch.equal(average.module.weight, fixed)
    assert average.module.state_dict().keys() == module.state_dict().keys()
