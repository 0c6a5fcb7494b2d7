"""DeconvNet and guided back-propagation: other rules for the way back through a ReLU.

With h a ReLU's output and R what comes back to it (Simonyan et al. 2013, section 4; Springenberg et al. 2014):

    gradient   R [h > 0]            DeconvNet   relu(R)            guided   relu(R) [h > 0]

Everything else (convolution, pooling, ...) goes back as in the gradient. Every ReLU is caught where it is *called*,
so one that is written as a function, used several times or works in place is caught too. Two checks make sure that
none is missed: the graph of the pass is searched for any operation that is neither linear nor pooling nor one of
those; and since the graph of ``x * (x > 0)`` shows only a product, the network is also run with gates of the ReLUs
that are caught, and positions of the maxima, that do not depend on the image, which must leave it linear.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import CheckpointError

from wsloc.classifiers.scorer import Scorer
from wsloc.errors import UserError
from wsloc.saliency.attribution import Attribution, PairBatch
from wsloc.saliency.binding import by_relu_rule
from wsloc.saliency.gradient import input_gradients
from wsloc.saliency.interception import CallInterceptor, Function, call_input, operations_below
from wsloc.saliency.linearity import refuse_hidden_nonlinearities
from wsloc.saliency.relu_calls import is_in_place, relu_ceiling

Rule = Callable[[Tensor, Tensor], Tensor]
"""``rule(R, gate) -> R`` before the ReLU; the gate is True where the ReLU let its input through."""

_LINEAR = """
    Convolution MkldnnConvolution CudnnConvolution Addmm Mm Bmm Matmul Linear Mul Div Add Sub Neg Sum Mean
    NativeBatchNorm CudnnBatchNorm MiopenBatchNorm UpsampleBilinear2D UpsampleNearest2D
"""
_MOVING = """
    View UnsafeView ReshapeAlias Reshape Squeeze Unsqueeze Permute Transpose T Expand Select Slice Split
    SplitWithSizes Unbind Index Cat Stack Clone Alias Copy CopySlices AsStrided ToCopy Roll Flip
    ConstantPadNd ReflectionPad2D ReplicationPad2D PixelShuffle AccumulateGrad BackwardHookFunction
"""
_POOLING = """
    MaxPool2DWithIndices MkldnnMaxPool2D AvgPool2D AdaptiveAvgPool2D AdaptiveMaxPool2D Amax
"""
"""A maximum goes back to where it came from, in all three rules."""
_ALLOWED = frozenset(f"{_LINEAR} {_MOVING} {_POOLING} _Rectifier".split())
"""Operations of a graph, by PyTorch's names for them, that every rule leaves alone."""


def deconvnet(scorer: Scorer, batch: PairBatch, *, checked: bool = False) -> Attribution:
    """``max_k |R_k|`` by the DeconvNet's rule (Zeiler, Fergus 2014, arXiv 1311.2901).

    Args:
        checked: whether the network has passed :func:`~wsloc.saliency.linearity.refuse_hidden_nonlinearities`, which is
            called if not.

    Raises:
        UserError: if a non-linearity other than ReLU or ReLU6 ran.
    """
    return _by_rule(scorer, batch, checked, lambda back, _: back.relu())


def guided(scorer: Scorer, batch: PairBatch, *, checked: bool = False) -> Attribution:
    """``max_k |R_k|`` by guided back-propagation (Springenberg et al. 2014, arXiv 1412.6806); else as above."""
    return _by_rule(scorer, batch, checked, lambda back, gate: back.relu() * gate)


def _by_rule(scorer: Scorer, batch: PairBatch, checked: bool, rule: Rule) -> Attribution:
    def forward(images: Tensor) -> Tensor:
        with CallInterceptor(partial(_rectify, rule)):
            logits = scorer.logits(images)
        _refuse_other_operations(logits)
        if not checked:
            refuse_hidden_nonlinearities(scorer, images.detach())
        return logits

    backs, logits = input_gradients(scorer, batch, forward)
    return Attribution(backs.abs().amax(dim=1), logits)


def _rectify(rule: Rule, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A ReLU with the rule in its backward pass; any other function unchanged."""
    ceiling = relu_ceiling(function, args, kwargs)
    if ceiling is None:
        return function(*args, **kwargs)
    before = call_input(args, kwargs)
    after = _Rectifier.apply(before, ceiling, rule)
    # Others may look at the changed tensor instead of the result.
    return before.copy_(after) if is_in_place(function, args, kwargs) else after


class _Rectifier(torch.autograd.Function):
    """``min(relu(x), ceiling)`` with a rule of its own in the backward pass."""

    generate_vmap_rule = True

    @staticmethod
    def forward(before: Tensor, ceiling: float, _rule: Rule) -> Tensor:
        return before.clamp(0, ceiling)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float, Rule], output: Tensor) -> None:  # noqa: ARG004
        before, ceiling, ctx.rule = inputs
        ctx.save_for_backward((before > 0) & (before < ceiling))

    @staticmethod
    def backward(ctx: Any, *backs: Tensor) -> tuple[Tensor, None, None]:
        (gate,) = ctx.saved_tensors
        if gate.dtype != torch.bool:
            raise CheckpointError("a ReLU that is not this one saved its result")
        return ctx.rule(backs[0], gate), None, None


def _refuse_other_operations(logits: Tensor) -> None:
    for operation in operations_below(logits):
        name = re.sub(r"Backwards?\d*$", "", type(operation).__name__)
        if name not in _ALLOWED:
            raise UserError(
                "DeconvNet and guided back-propagation are rules for ReLU and ReLU6, but this network also runs "
                f"{name}; use another `method`."
            )


bind_deconvnet = by_relu_rule(deconvnet)
bind_guided = by_relu_rule(guided)
