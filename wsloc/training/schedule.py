"""The learning rate over the steps of a training."""

from __future__ import annotations

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def warmup_cosine(optimizer: Optimizer, steps: int, *, rising: int, start: float, falls_from: int = 0) -> LambdaLR:
    """A linear warm-up times half a cosine; each group's learning rate at this call is its peak.

    Args:
        optimizer: its groups keep their ratios.
        steps: of the whole training; the rate reaches 0 after the last.
        rising: steps over which the line rises to 1.
        start: fraction of the peak in the first step, in (0, 1].
        falls_from: the step, from 0, at which the cosine is still 1.
    """

    def factor(step: int) -> float:
        line = min(1.0, start + (1 - start) * step / rising) if rising > 0 else 1.0
        fallen = max(0, step - falls_from) / max(1, steps - falls_from)
        return line * 0.5 * (1 + math.cos(math.pi * min(1.0, fallen)))

    return LambdaLR(optimizer, factor)
