"""The order in which the values of image tensors lie in memory."""

from __future__ import annotations

from dataclasses import replace

import torch

from wsloc.classifiers.check_network import check_network
from wsloc.classifiers.scorer import Scorer
from wsloc.errors import UserError


def in_fast_order(scorer: Scorer, input_shape: tuple[int, int, int]) -> Scorer:
    """The scorer, with channels last on CUDA in half precision.

    Tensor cores take the channels of a pixel together; with channels first, each convolution transposes what it reads
    and what it writes. In float32, which is not rounded to TF32, no tensor core computes, and nothing is changed.

    Args:
        scorer: its network's parameters are laid out anew; their values stay.
        input_shape: channels, height and width of one image.
    """
    if scorer.device.type != "cuda" or scorer.precision == torch.float32:
        return scorer
    return with_channels_last(scorer, input_shape)


def with_channels_last(scorer: Scorer, input_shape: tuple[int, int, int]) -> Scorer:
    """The scorer with channels last, or as it is if the network's own code cannot take them, such as a ``view``."""
    changed = replace(scorer, memory_format=torch.channels_last)
    try:
        scorer.network.to(memory_format=torch.channels_last)
        check_network(changed, input_shape)
    except (UserError, RuntimeError):
        scorer.network.to(memory_format=torch.contiguous_format)
        return scorer
    return changed
