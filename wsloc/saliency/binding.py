"""Making a saliency method ready for a network: what all of them are given, and what several have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from wsloc.classifiers.scorer import Scorer
from wsloc.config import SaliencySettings
from wsloc.errors import UserError
from wsloc.saliency.attribution import Attribution, BoundMethod, PairBatch
from wsloc.saliency.layers import Layer, find_layer, named_layer
from wsloc.saliency.linearity import refuse_hidden_nonlinearities
from wsloc.saliency.read_features import require_ordered_layers

_SAME = 1e-2
"""Largest difference of two maps of one image, relative to their maximum, that is taken for rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class MethodContext:
    """What a method is bound to.

    Attributes:
        scorer: network and label map.
        example: float32 ``(1, C, H, W)``, the size of the images to come (their aspect may differ).
        settings: which method, and its parameters.
        seed: of the run.
    """

    scorer: Scorer
    example: Tensor
    settings: SaliencySettings
    seed: int = 0


Binder = Callable[[MethodContext], BoundMethod]
"""An entry of :data:`wsloc.registries.METHODS`; raises UserError where the method does not apply to the network."""


def by_layers(method: Callable[..., Attribution]) -> Binder:
    """Binds ``method(scorer, batch, layers)`` to the layers of the settings, or the one that is found."""
    return lambda context: BoundMethod(partial(method, context.scorer, layers=layers_of(context)), shares_passes=True)


def by_relu_rule(method: Callable[..., Attribution], forward_passes: int = 1) -> Binder:
    """Binds ``method(scorer, batch, checked=True)`` that changes the backward pass of ReLUs, once they are all seen."""

    def bind(context: MethodContext) -> BoundMethod:
        bound = BoundMethod(partial(method, context.scorer, checked=True), forward_passes=forward_passes)
        one = torch.zeros(1, dtype=torch.int64, device=context.example.device)
        # A pass names the nonlinearities that it sees; then those are looked for that it does not.
        bound.compute(PairBatch(context.example[:1], one, one))
        refuse_hidden_nonlinearities(context.scorer, context.example)
        return bound

    return bind


def tried(bound: BoundMethod, context: MethodContext) -> BoundMethod:
    """The method, once it has given the example the same map beside different images.

    It must refuse a network before the first image. Features with tokens first, and whatever else mixes the images of
    a batch, are seen here.

    Raises:
        UserError: if the method does not apply to the network, or the map depends on the other image.
    """
    compute = bound.trial or bound.compute
    pair = torch.zeros(1, dtype=torch.int64, device=context.example.device)
    one, other = (
        compute(PairBatch(torch.cat([context.example[:1], context.example[:1] + step]), pair, pair)).maps
        for step in (1, -1)
    )
    if (one - other).abs().max() > _SAME * one.abs().max():
        raise UserError(
            "The map of an image changes with the other images of its batch, so the features that are read do not "
            "belong to one image each; name another layer with `cam_layers`, or use another `method`."
        )
    return bound


def layers_of(context: MethodContext) -> list[Layer]:
    """The layers that the settings name, or the one that is found; raises as :func:`require_ordered_layers` does."""
    named = [named_layer(context.scorer, name) for name in context.settings.cam_layers]
    layers = named or [find_layer(context.scorer, context.example)]
    require_ordered_layers(context.scorer, context.example, layers)
    return layers
