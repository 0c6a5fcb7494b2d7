"""A network combined with a label map: from images to the scores of data-set classes."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import CheckpointError
from torch.utils.hooks import RemovableHandle

from wsloc.classifiers.network_output import logits_of
from wsloc.errors import UserError

_PROBABILITY_MODULES = (nn.Softmax, nn.LogSoftmax, nn.Sigmoid)


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
        memory_format: in which images go to the network; kept as they are unless it is told.
    """

    network: nn.Module
    outputs: Tensor
    filled: Tensor
    activation: Literal["softmax", "sigmoid"]
    device: torch.device
    precision: torch.dtype = torch.float32
    memory_format: torch.memory_format = torch.preserve_format

    def logits(self, images: Tensor) -> Tensor:
        """Float32 ``(N, O)`` before any softmax or sigmoid, for normalized images ``(N, C, H, W)``.

        Raises:
            UserError: if the network does not return an ``(N, O)`` tensor, nor holds one in what it returns.
        """
        return logits_of(self.output(images), len(images))[0].float()

    def output(self, images: Tensor) -> Any:
        """What the network itself returns for the images."""
        own = next((value.dtype for value in self.network.parameters() if value.is_floating_point()), images.dtype)
        with torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32):
            return self.network(images.to(own, memory_format=self.memory_format))

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
    modules = list(network.modules())
    # A module of frozen TorchScript has no such flag.
    training = [module for module in modules if getattr(module, "training", False)]
    # Not network.parameters(), which goes through all modules once more, slowly, at each batch.
    own = (parameter for module in modules for parameter in module._parameters.values())
    trainable = [parameter for parameter in own if parameter is not None and parameter.requires_grad]
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
