"""The moving average of a network's weights over the steps of its training.

It is the teacher of mean teacher (Tarvainen & Valpola 2017): steadier than the weights of any one step, and so less
given to what single wrong labels say.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

_Tensors = list[Tensor] | tuple[Tensor, ...]


def moving_average(module: nn.Module, decay: float) -> AveragedModel:
    """A copy of a network that ``update_parameters(module)`` moves toward its weights and buffers after each step.

    Args:
        module: what is averaged.
        decay: fraction of the average that a step keeps, in (0, 1). After t steps it is at most (1 + t) / (10 + t), as
            in TensorFlow's ``ExponentialMovingAverage``, so that a short training forgets its first weights.
    """

    def update(averages: _Tensors, values: _Tensors, steps: Tensor | int) -> None:
        kept = min(decay, (1 + int(steps)) / (10 + int(steps)))
        get_ema_multi_avg_fn(kept)(averages, values, steps)  # type: ignore[no-untyped-call]

    # Statistics of batch normalization lag behind the weights like the average, so they are averaged with it.
    return AveragedModel(module, multi_avg_fn=update, use_buffers=True)
