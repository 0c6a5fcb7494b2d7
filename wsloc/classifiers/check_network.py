"""Whether a network can be asked for saliency at all, found by two images of noise before the first real one."""

from __future__ import annotations

import logging

import torch
from torch import Tensor, nn

from wsloc.classifiers.network_output import logits_of
from wsloc.classifiers.probabilities import are_probabilities
from wsloc.classifiers.scorer import Scorer, scoring_mode
from wsloc.classifiers.targets import ScalarTargets, UnitActivity
from wsloc.errors import UserError, listed, one_line

_REPEATABLE = 1e-2
"""Largest difference of two passes, relative to the outputs, that is taken for another order of summation."""
_log = logging.getLogger(__name__)

_STRONGER = 5
"""How much stronger the noise is that shows what values the outputs can take."""
_MAX_TENSORS_NAMED = 3


def check_network(scorer: Scorer, input_shape: tuple[int, int, int]) -> int:
    """The number of outputs, found by three forward passes and a backward pass of two images of noise.

    What is used of a network that returns more than logits is logged.

    Args:
        scorer: the network and its device; the label map is not looked at.
        input_shape: channels, height and width of one image.

    Raises:
        UserError: if the network cannot take the images, holds NaN, returns no logits, cannot be differentiated, has
            other outputs each time, or lets one image of a batch change the outputs of another.
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
        gradient = _gradient(logits, images)
        refuse_nan(scorer.network, logits, gradient)
        with torch.no_grad():
            again, taken = logits_of(scorer.output(images.clone()), len(images))
            stronger = scorer.logits(_STRONGER * images)
    _refuse_probabilities(scorer.network, logits, torch.cat([logits.detach(), stronger]))
    if (again.float() - logits).abs().max() > _REPEATABLE * logits.abs().max():
        raise UserError(
            "The network gives different outputs each time for one image (dropout that stays on in evaluation, or a "
            "network that was traced while training?); give a network that draws no random numbers in evaluation mode."
        )
    if gradient[1].any():
        raise UserError(
            "The network mixes the images of a batch (batch normalization without running statistics?), so no image "
            "would have a map of its own; give a network that treats each image alone."
        )
    if taken:
        _log.info("%s: it returns more than a row of logits per image; %s is used", "the network", taken)
    return logits.shape[1]


def refuse_nan(network: nn.Module, *computed: Tensor) -> None:
    """Refuse a network for which something that it computed of noise is NaN.

    Raises:
        UserError: if there is NaN; it names the weights that are not finite.
    """
    if not any(bool(values.isnan().any()) for values in computed):
        return
    bad = [
        f"{key} ({int((~value.isfinite()).sum())} of {value.numel()} values)"
        for key, value in network.state_dict().items()
        if value.is_floating_point() and not value.isfinite().all()
    ]
    if bad:
        raise UserError(
            f"The network's weights hold NaN or infinity in {listed(bad, _MAX_TENSORS_NAMED)}, so that its outputs are "
            "NaN; give weights from before the training diverged."
        )
    raise UserError(
        "The network gives NaN for an image of noise, though all of its weights are finite (a root or quotient of "
        "zero, a value too large for its precision?); correct its forward()."
    )


def _gradient(logits: Tensor, images: Tensor) -> Tensor:
    """That of the first image's outputs, ``(N, C, H, W)``."""
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
    return gradient


def _refuse_probabilities(network: nn.Module, logits: Tensor, answers: Tensor) -> None:
    # What is asked of a unit or of a function of the output may well lie between 0 and 1.
    if not isinstance(network, (UnitActivity, ScalarTargets)) and are_probabilities(logits, answers):
        raise UserError(
            "The network returns probabilities, but saliency needs the scores before the softmax or sigmoid: "
            "return the logits from its forward()."
        )
