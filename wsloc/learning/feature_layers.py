"""Which layers of a network to read, by the network's own structure."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from wsloc.classifiers.cell_order import are_located, probes
from wsloc.classifiers.grid import as_grid
from wsloc.classifiers.scorer import Scorer, scoring_mode
from wsloc.errors import UserError

LAYERS = 3
"""How many layers a hypercolumn joins."""


@dataclass(frozen=True, slots=True)
class _Output:
    """What a module gave: its name and type, and log2 of the stride of its grid over the image."""

    name: str
    kind: type[nn.Module]
    stride: int

    @property
    def depth(self) -> int:
        return self.name.count(".")


def choose_layers(scorer: Scorer, example: Tensor) -> tuple[str, ...]:
    """The layers of a hypercolumn (Hariharan et al. 2015): fine ones for place, coarse ones for meaning.

    The last output at each of the network's three coarsest strides (or fewer): that of a whole stage rather than of a
    part of it, so that a residual sum is read and not one of its terms. A network of one stride, such as a vision
    transformer, is read at equal steps through its blocks.

    Args:
        scorer: the network.
        example: ``(1, C, H, W)``, an input of it; one forward pass is made.

    Returns:
        Names of modules as in ``named_modules()``, in the order in which they run.

    Raises:
        UserError: if no module gives a grid over the image.
    """
    outputs = _grids(scorer, example)
    of_stride: dict[int, list[_Output]] = {}
    for output in outputs:
        of_stride.setdefault(output.stride, []).append(output)
    if not of_stride:
        raise UserError(
            "No module of the network gives features on a grid over the image; name them by `feature_layers`."
        )
    coarsest = sorted(of_stride)[-LAYERS:]
    if len(coarsest) > 1:
        chosen = [_last_whole(of_stride[stride]) for stride in coarsest]
    else:
        blocks = _blocks(of_stride[coarsest[-1]])
        steps = [math.ceil(len(blocks) * step / LAYERS) - 1 for step in range(1, LAYERS + 1)]
        chosen = [blocks[step] for step in dict.fromkeys(steps)]
    return tuple(output.name for output in outputs if output in chosen)


def _grids(scorer: Scorer, example: Tensor) -> list[_Output]:
    """Of all modules that ran once and gave a grid of several cells, each with its place in the image, in order."""
    images, image_hw = probes(example), (example.shape[2], example.shape[3])
    found: list[_Output] = []
    runs: dict[str, int] = {}

    def watch(name: str, kind: type[nn.Module]) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            runs[name] = runs.get(name, 0) + 1
            # Windows of attention lead with another size than the batch's.
            if not isinstance(output, Tensor) or output.ndim not in (3, 4) or len(output) != len(images):
                return
            try:
                grids = as_grid(output, image_hw)
            except UserError:
                return
            height, width = grids.shape[2:]
            if height * width > 1 and are_located(grids):
                found.append(_Output(name, kind, round(math.log2(max(image_hw) / max(height, width)))))

        return hook

    hooks = [
        module.register_forward_hook(watch(name, type(module)))
        for name, module in scorer.network.named_modules()
        # A scripted module takes no hooks; an adaptive pooling has the same grid for any image.
        if name and not isinstance(module, (torch.jit.ScriptModule, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d))
    ]
    try:
        with scoring_mode(scorer.network), torch.no_grad():
            scorer.logits(images)
    finally:
        for hook in hooks:
            hook.remove()
    return [output for output in found if runs[output.name] == 1]


def _last_whole(outputs: list[_Output]) -> _Output:
    depth = min(output.depth for output in outputs)
    return [output for output in outputs if output.depth == depth][-1]


def _blocks(outputs: list[_Output]) -> list[_Output]:
    """The most siblings of one type, in order: the blocks of a network whose grid never changes."""
    families: dict[tuple[str, type[nn.Module]], list[_Output]] = {}
    for output in outputs:
        families.setdefault((output.name.rpartition(".")[0], output.kind), []).append(output)
    return max(families.values(), key=lambda family: (len(family), -family[0].depth))
