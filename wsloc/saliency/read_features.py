"""Reading features at layers, with the graph cut there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from wsloc.classifiers.cell_order import probes, require_order
from wsloc.classifiers.grid import as_grid, refuse_single_cell, require_rows
from wsloc.classifiers.scorer import Scorer, scoring_mode
from wsloc.errors import UserError
from wsloc.saliency.layers import Layer, replaced
from wsloc.saliency.window_layout import WindowLayout, source_of_cells


def logits_and_features(scorer: Scorer, images: Tensor, layers: Sequence[Layer]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Logits and the features at some layers, with a graph from the features to the logits and none below.

    Features inside attention over windows are put back on the grid of their image. To be called in
    :func:`~wsloc.classifiers.scorer.scoring_mode` with gradients enabled.

    Args:
        scorer: the network.
        images: ``(N, C, H, W)`` that need no gradient.
        layers: at least one.

    Raises:
        UserError: if a layer does not run exactly once, gives no single tensor, or rows that are not those of images.
    """
    features: list[list[Tensor]] = [[] for _ in layers]
    layouts = [_layout(scorer, images[:1], layer) for layer in layers]

    def keep(index: int, tensor: object) -> Tensor:
        if not isinstance(tensor, Tensor):
            raise UserError(f"The layer {layers[index].name} gives no single tensor; name another layer.")
        layout = layouts[index]
        read = tensor if layout is None else layout.to_grid(tensor, len(images))
        # What lies above another layer that is read already has a graph, which must stay.
        own = read if read.requires_grad else read.detach().requires_grad_(True)
        require_rows(own, images, layers[index].name or "before the pooling")
        features[index].append(own)
        # A copy, since the network may continue with an operation in place.
        return own.clone() if layout is None else layout.to_windows(own, tensor)

    with replaced(scorer.network, layers, keep):
        logits = scorer.logits(images)
    for layer, found in zip(layers, features, strict=True):
        if len(found) != 1:
            how_often = "does not run" if not found else f"runs {len(found)} times"
            raise UserError(
                f"The layer {layer.name or 'before the pooling'} {how_often} in a pass that can be watched; name "
                "another layer, and give the network neither traced nor scripted."
            )
    return logits, tuple(found[0] for found in features)


def feature_channels(scorer: Scorer, images: Tensor, layer: Layer) -> int:
    """The number of channels of a layer; raises as :func:`logits_and_features` and :func:`as_grid` do."""
    with scoring_mode(scorer.network), torch.no_grad():
        _, (features,) = logits_and_features(scorer, images, [layer])
    return layer_grid(features, (images.shape[2], images.shape[3])).shape[1]


def require_ordered_layers(scorer: Scorer, example: Tensor, layers: Sequence[Layer]) -> None:
    """Refuse layers whose features do not lie in the order of the image, by one pass of three images of noise.

    Args:
        scorer: the network.
        example: ``(1, C, H, W)``, an input of it.
        layers: at least one.

    Raises:
        UserError: it names the layer; or as :func:`logits_and_features` and :func:`layer_grid` do.
    """
    with scoring_mode(scorer.network), torch.no_grad():
        _, features = logits_and_features(scorer, probes(example), layers)
    size_hw = (example.shape[2], example.shape[3])
    for layer, tensor in zip(layers, features, strict=True):
        grids = layer_grid(tensor, size_hw)
        if layer.layouts.get(size_hw) is None:  # The order in windows was asked for.
            require_order(grids, layer.name)


def layer_grid(features: Tensor, image_hw: tuple[int, int]) -> Tensor:
    """Float32 features as :func:`as_grid` gives them, of more than one cell.

    Raises:
        UserError: if the features have no position in the image, or a single one.
    """
    grid = as_grid(features.float(), image_hw)
    if grid.shape[2:].numel() == 1:
        refuse_single_cell(image_hw)
    return grid


def _layout(scorer: Scorer, image: Tensor, layer: Layer) -> WindowLayout | None:
    """That of a layer inside attention over windows, found at the first image of a size; None for any other layer."""
    if layer.at != "module-output":
        return None
    size_hw = (image.shape[2], image.shape[3])
    if size_hw not in layer.layouts:
        exact = replace(scorer, precision=torch.float32)
        with scoring_mode(scorer.network), torch.no_grad():
            layer.layouts[size_hw] = _find_layout(exact, image.detach().repeat(2, 1, 1, 1), layer)
    return layer.layouts[size_hw]


def _find_layout(scorer: Scorer, images: Tensor, layer: Layer) -> WindowLayout | None:
    parts = layer.name.split(".")
    names = [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
    calls = _calls(scorer, images, names)
    given = calls[layer.name].output if layer.name in calls else None
    if given is None or given.ndim < 3 or _cells(given, images) is not None:
        return None  # What is wrong with it otherwise, its reader says.
    block = next((name for name in names[1:] if name in calls and _cells(calls[name].output, images) is not None), None)
    if block is None:
        return None
    whole = calls[block]
    for channels_dim in (-1, 1) if given.ndim == 4 else (-1,):
        shape = given.movedim(channels_dim, -1).shape[:-1]

        def arrive(marked: Tensor, dim: int = channels_dim, shape: torch.Size = shape) -> Tensor:
            # NaN goes wherever the marked positions have any influence, and nowhere else.
            marks = marked.reshape(shape).unsqueeze(-1).movedim(-1, dim).to(images.device)
            with replaced(scorer.network, [layer], lambda _, features: features.masked_fill(marks, torch.nan)):
                cells = _cells(whole.again(), images)
            assert cells is not None
            return cells.isnan().any(dim=1).cpu()

        if (source := source_of_cells(shape.numel(), arrive)) is not None:
            return WindowLayout(channels_dim, source.to(images.device))
    raise UserError(
        f"It cannot be told where in the image the features of the layer {layer.name} belong (it lies before the end "
        f"of an attention?); name {block}, the block around it."
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Tensor

    def again(self) -> Tensor:
        """What the module gives once more; it may work in place."""
        output: Tensor = self.module(
            *(arg.clone() if isinstance(arg, Tensor) else arg for arg in self.args), **self.kwargs
        )
        return output


def _calls(scorer: Scorer, images: Tensor, names: Sequence[str]) -> dict[str, _Call]:
    """The calls of modules in a pass, without those that run several times or give no single tensor."""
    found: dict[str, list[_Call]] = {name: [] for name in names}

    def keep(name: str) -> Callable[..., None]:
        return lambda module, args, kwargs, output: found[name].append(_Call(module, args, kwargs, output))

    modules = {name: scorer.network.get_submodule(name) for name in names}
    hooks = [
        module.register_forward_hook(keep(name), with_kwargs=True)
        for name, module in modules.items()
        if not isinstance(module, torch.jit.ScriptModule)
    ]
    try:
        scorer.logits(images)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: calls[0] for name, calls in found.items() if len(calls) == 1 and isinstance(calls[0].output, Tensor)}


def _cells(output: Tensor, images: Tensor) -> Tensor | None:
    """As a grid of a row for each image and several cells, ``(N, K, h, w)``; None if it is none."""
    try:
        grid = as_grid(output, (images.shape[2], images.shape[3]))
    except UserError:
        return None
    return grid if len(output) == len(images) and grid.shape[2:].numel() > 1 else None
