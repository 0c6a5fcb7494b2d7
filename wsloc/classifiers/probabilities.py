"""Whether a network returns probabilities in place of scores, told by its graph and by its answers."""

from __future__ import annotations

from collections.abc import Collection

from torch import Tensor
from torch.autograd.graph import Node

_PROBABILITIES = ("SoftmaxBackward", "LogSoftmaxBackward", "SigmoidBackward", "LogSigmoidBackward")
_SQUASHING = (*_PROBABILITIES, "ExpBackward", "HardsigmoidBackward")
"""Beginnings of the names of operations; a softmax or sigmoid written by hand has one of the second kind."""
_LEARNED = ("Addmm", "Addmv", "Mm", "Mv", "Bmm", "Baddbmm", "Linear", "Convolution", "Log", "Logit")
"""Behind one of these operations, probabilities are features again, or turned back into scores."""
_SHAPE_OPERATIONS = ("View", "UnsafeView", "Reshape", "Squeeze", "Unsqueeze", "Clone", "Alias", "Select", "Slice")
_STEADY = 1e-3
"""Largest spread of sums that is taken for a constant, relative to that of the values."""


def are_probabilities(logits: Tensor, answers: Tensor) -> bool:
    """Whether a network's outputs are probabilities, whatever was done to them after the softmax or sigmoid.

    Either every path to them passes a softmax or sigmoid with no learned layer behind it, and none is negative; or they
    sum to a constant for every input. Scores that only happen to lie in [0, 1] are neither.

    Args:
        logits: ``(N, O)``, with its graph.
        answers: ``(M, O)`` for several inputs.
    """
    if _last_operation(logits).startswith(_PROBABILITIES):
        return True
    low, high = float(answers.min()), float(answers.max())
    if low >= 0 and logits.grad_fn is not None:
        if _all_pass(logits.grad_fn, _PROBABILITIES):
            return True
        if high <= 1 and _all_pass(logits.grad_fn, _SQUASHING):
            return True
    if low >= 0:
        return _sum_to_a_constant(answers)
    return high <= 0 and _sum_to_a_constant(answers.exp())


def _sum_to_a_constant(answers: Tensor) -> bool:
    spread = (answers.amax(dim=0) - answers.amin(dim=0)).sum()
    sums = answers.sum(dim=1)
    return bool(sums.max() - sums.min() < _STEADY * spread)


def _all_pass(last: Node, wanted: Collection[str]) -> bool:
    """Whether every path down from an operation meets a wanted one before a learned layer or the input."""
    seen: set[Node] = set()
    waiting = [last]
    while waiting:
        operation = waiting.pop()
        if operation in seen or operation.name().startswith(tuple(wanted)):
            continue
        seen.add(operation)
        below = [before for before, _ in operation.next_functions if before is not None]
        if not below or operation.name().startswith(_LEARNED):
            return False
        waiting += below
    return True


def _last_operation(logits: Tensor) -> str:
    """Name of the operation that computed the values, past those that only change their shape."""
    operation = logits.grad_fn
    while operation is not None and operation.name().startswith(_SHAPE_OPERATIONS):
        operation = operation.next_functions[0][0]
    return operation.name() if operation is not None else ""
