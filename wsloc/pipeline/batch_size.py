"""How many network inputs a batch holds, where that is left to the memory of the device."""

from __future__ import annotations

from typing import Literal

import torch

from wsloc.config import USUAL_BATCH_SIZE
from wsloc.pipeline.model import BoundModel
from wsloc.saliency import PairBatch

LARGEST = 64
"""More rows hardly make a device faster, and the last batch of each part of a run is filled up with empty ones."""
_FRACTION = 0.5
"""Of the memory; the rest is for what is not measured: larger views, more classes of a row, fragmentation."""
_PROBED = 2


def chosen_batch_size(asked: int | Literal["auto"], model: BoundModel, view_shape: tuple[int, int, int]) -> int:
    """The number that was asked for; left open, what half of the memory of a CUDA device holds, elsewhere the usual.

    It follows from the whole memory, not from what happens to be free, so that equal devices give equal results.

    Args:
        asked: the setting.
        model: network and method, with which two images of noise are tried.
        view_shape: channels, height and width of the network's input.
    """
    if asked != "auto":
        return asked
    device = model.scorer.device
    if device.type != "cuda":
        return USUAL_BATCH_SIZE
    memory = torch.cuda.get_device_properties(device).total_memory
    return fitting_size(_bytes_of_row(model, view_shape), memory)


def fitting_size(bytes_of_row: float, memory: int) -> int:
    """The largest power of two, up to :data:`LARGEST`, of which half of the memory holds so many rows; at least 1."""
    size = LARGEST
    while size > 1 and size * bytes_of_row > _FRACTION * memory:
        size //= 2
    return size


def _bytes_of_row(model: BoundModel, view_shape: tuple[int, int, int]) -> float:
    device = model.scorer.device
    noise = torch.randn((_PROBED, *view_shape), generator=torch.Generator().manual_seed(0))
    index = torch.arange(_PROBED, device=device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    model.method.compute(PairBatch(noise.to(device), index, torch.zeros_like(index), tuple(range(_PROBED))))
    return (torch.cuda.max_memory_allocated(device) - before) / _PROBED
