"""A network combined with a label map: from images to the scores of data-set classes."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import CheckpointError
from torch.utils.hooks import RemovableHandle

from wsloc.errors import UserError, one_line

_PROBABILITY_MODULES = (nn.Softmax, nn.LogSoftmax, nn.Sigmoid)
_PROBABILITY_OPERATIONS = frozenset({"SoftmaxBackward0", "LogSoftmaxBackward0", "SigmoidBackward0"})
_REPEATABLE = 1e-2
"""Largest difference of two passes, relative to the outputs, that is taken for another order of summation."""
_SHAPE_OPERATIONS = ("View", "UnsafeView", "Reshape", "Squeeze", "Unsqueeze", "Clone", "Alias", "Select", "Slice")


@dataclass(frozen=True, eq=False)
class Scorer:
    """Scores of K data-set classes, each the maximum of the logits of its network outputs.

    Attributes:
        network: maps float32 ``(N, C, H, W)`` to logits ``(N, O)``; on ``device``.
        outputs: int64 ``(K, M)``: the outputs of each class, rows filled up by repeating an output.
        filled: bool ``(K, M)``: False where ``outputs`` only repeats.
        activation: what turns logits into probabilities.
        device: where the network lies and the images must lie.
        precision: float32, or the type that autocast uses.
    """

    network: nn.Module
    outputs: Tensor
    filled: Tensor
    activation: Literal["softmax", "sigmoid"]
    device: torch.device
    precision: torch.dtype = torch.float32

    def logits(self, images: Tensor) -> Tensor:
        """Float32 ``(N, O)`` before any softmax or sigmoid, for normalized images ``(N, C, H, W)``.

        Raises:
            UserError: if the network does not return an ``(N, O)`` tensor.
        """
        own = next((value.dtype for value in self.network.parameters() if value.is_floating_point()), images.dtype)
        with torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32):
            logits = self.network(images.to(own))
        if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(images):
            shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise UserError(
                f"The network must return one row of logits per image, a tensor (N, outputs), but returned {shape} "
                f"for {len(images)} images; wrap it in a module that does."
            )
        return logits.float()

    def class_scores(self, logits: Tensor) -> Tensor:
        """S_c of every class, ``(N, K)``: the maximum over the class's logits."""
        return logits[:, self.outputs].amax(dim=-1)

    def pair_scores(self, logits: Tensor, image_index: Tensor, classes: Tensor) -> Tensor:
        """S_c of P (image, class) pairs, ``(P,)``; both indices are int64 ``(P,)``."""
        return logits[image_index[:, None], self.outputs[classes]].amax(dim=-1)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Probability of every class, ``(N, K)`` in [0, 1].

        Softmax: the sum over the class's outputs. Sigmoid: that of the class score, since sigmoids of
        several outputs do not exclude each other and may sum to more than one.
        """
        if self.activation == "sigmoid":
            return self.class_scores(logits).sigmoid()
        return (logits.softmax(dim=-1)[:, self.outputs] * self.filled).sum(dim=-1).clamp(max=1)

    def pair_probabilities(self, logits: Tensor, image_index: Tensor, classes: Tensor) -> Tensor:
        """Probability of P (image, class) pairs, ``(P,)`` in [0, 1]; both indices are int64 ``(P,)``."""
        return self.probabilities(logits)[image_index, classes]


def make_scorer(
    network: nn.Module,
    outputs_of_class: Sequence[Sequence[int]],
    activation: Literal["softmax", "sigmoid"] = "softmax",
    device: torch.device | str = "cpu",
    precision: torch.dtype = torch.float32,
) -> Scorer:
    """Join a network and a label map.

    Args:
        network: moved to ``device``; a softmax or sigmoid *module* that it holds is passed over while
            scoring, see :func:`scoring_mode`.
        outputs_of_class: for each data-set class the indices of its outputs, at least one.
        activation: what turns logits into probabilities.
        device: where to compute.
        precision: float32, or the type that autocast uses.

    Raises:
        ValueError: if a class has no output.
    """
    if not all(outputs_of_class):
        raise ValueError("every class needs at least one network output")
    width = max(map(len, outputs_of_class), default=1)
    rows = [[*row, *[row[0]] * (width - len(row))] for row in outputs_of_class]
    filled = [[True] * len(row) + [False] * (width - len(row)) for row in outputs_of_class]
    device = torch.device(device)
    return Scorer(
        network.to(device),
        torch.tensor(rows, dtype=torch.int64, device=device).reshape(-1, width),
        torch.tensor(filled, dtype=torch.bool, device=device).reshape(-1, width),
        activation,
        device,
        precision,
    )


@contextlib.contextmanager
def scoring_mode(network: nn.Module) -> Iterator[None]:
    """The network in evaluation mode, its parameters frozen, uncompiled, a final softmax or sigmoid passed over.

    Every flag and hook is restored at the end, even after an error. Code that ``torch.compile`` made runs as
    it was written: compiled, it hides its layers, and its graph may be gone after one backward pass.

    Raises:
        UserError: if the network computes a checkpointed block differently than in the forward pass.
    """
    # A module of frozen TorchScript has no such flag.
    training = [module for module in network.modules() if getattr(module, "training", False)]
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    hooks = []
    try:
        for module in training:
            module.training = False
        for parameter in trainable:
            parameter.requires_grad_(False)
        if (last := _final_activation(network)) is not None:
            hooks += _pass_over(network, last)
        # Nothing is compiled where that part of PyTorch, which is slow to import, was never asked for.
        compiling = "torch._dynamo" in sys.modules
        with _exact_cudnn(), torch.compiler.set_stance("force_eager") if compiling else contextlib.nullcontext():
            yield
    except CheckpointError as error:
        raise UserError(
            "The network computes features again in the backward pass (torch.utils.checkpoint), where they cannot be "
            "watched; switch its checkpointing off, or use `method='gradient'`."
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
        for parameter in trainable:
            parameter.requires_grad_(True)
        for module in training:
            module.training = True


def logits_without_graph(scorer: Scorer, images: Tensor) -> Tensor:
    """The network's outputs for the images as they are, ``(N, O)``, in :func:`scoring_mode`."""
    with scoring_mode(scorer.network), torch.no_grad():
        return scorer.logits(images)


def _exact_cudnn() -> contextlib.AbstractContextManager[object]:
    """On CUDA, convolutions that add in a fixed order, and in float32 where float32 is asked for, not TF32."""
    flags: contextlib.AbstractContextManager[object] = torch.backends.cudnn.flags(
        enabled=torch.backends.cudnn.enabled, benchmark=False, deterministic=True, allow_tf32=False
    )
    return flags


def check_network(scorer: Scorer, input_shape: tuple[int, int, int]) -> int:
    """The number of outputs, found by one forward and one backward pass of two images of noise.

    Args:
        scorer: the network and its device; the label map is not looked at.
        input_shape: channels, height and width of one image.

    Raises:
        UserError: if the network cannot take the images, returns no logits, cannot be differentiated, has other
            outputs each time, or lets one image of a batch change the outputs of another.
    """
    noise = torch.randn((2, *input_shape), generator=torch.Generator().manual_seed(0))
    images = noise.to(scorer.device).requires_grad_(True)
    with scoring_mode(scorer.network), torch.enable_grad():
        try:
            logits = scorer.logits(images.clone())
        except (RuntimeError, ValueError, TypeError, AssertionError) as error:
            raise UserError(
                f"The network cannot take an image of shape {input_shape} (channels, height, width): "
                f"{one_line(error)[:200]}; set `input_size`, `mean` and `std` to what it expects."
            ) from error
        gradient = None
        if logits.grad_fn is not None:
            try:
                (gradient,) = torch.autograd.grad(logits[0].sum(), images, allow_unused=True)
            except RuntimeError as error:
                raise UserError(
                    f"The network cannot be differentiated: {one_line(error).partition('. ')[0][:200]}; saliency needs "
                    "the gradient of its outputs."
                ) from error
        if gradient is None:
            raise UserError(
                "The network's outputs have no gradient with respect to the image; remove torch.no_grad() and .detach()"
                " from its forward(), and use neither quantization nor inference mode."
            )
        if _last_operation(logits) in _PROBABILITY_OPERATIONS:
            raise UserError(
                "The network returns probabilities, but saliency needs the scores before the softmax or sigmoid: "
                "return the logits from its forward()."
            )
        with torch.no_grad():
            again = scorer.logits(images.clone())
    if (again - logits).abs().max() > _REPEATABLE * logits.abs().max():
        raise UserError(
            "The network gives different outputs each time for one image (dropout that stays on in evaluation, or a "
            "network that was traced while training?); give a network that draws no random numbers in evaluation mode."
        )
    if gradient[1].any():
        raise UserError(
            "The network mixes the images of a batch (batch normalization without running statistics?), so no image "
            "would have a map of its own; give a network that treats each image alone."
        )
    return logits.shape[1]


def _last_operation(logits: Tensor) -> str:
    """Name of the operation that computed the values, past those that only change their shape."""
    operation = logits.grad_fn
    while operation is not None and type(operation).__name__.startswith(_SHAPE_OPERATIONS):
        operation = operation.next_functions[0][0]
    return type(operation).__name__


def _pass_over(network: nn.Module, last: nn.Module) -> list[RemovableHandle]:
    """Make the network return what goes into its last module, provided that it returns what comes out of it.

    A sigmoid that is registered last may be a gate in the middle, which must stay.
    """
    seen: list[tuple[Tensor, Tensor]] = []

    def remember(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen[:] = [(inputs[0], output)]

    def replace(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        before, after = seen.pop() if seen else (output, output)
        return before if output is after else output

    return [last.register_forward_hook(remember), network.register_forward_hook(replace)]


def _final_activation(network: nn.Module) -> nn.Module | None:
    """A softmax or sigmoid that is the last module of the network, else None."""
    last = network
    while children := list(last.children()):
        last = children[-1]
    # TorchScript takes no hooks; check_network refuses its probabilities.
    watched = not any(isinstance(module, torch.jit.ScriptModule) for module in (network, last))
    return last if watched and isinstance(last, _PROBABILITY_MODULES) else None
