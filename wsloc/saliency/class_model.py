"""Class-model visualization: an image that maximizes the score of a class.

Simonyan, Vedaldi, Zisserman 2013 (arXiv 1312.6034), section 2: the image I that maximizes ``S_c(I) - lambda ||I||^2``,
found by gradient ascent. I is the normalized image, so that zero is the mean image of the training data.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wsloc.classifiers.preprocessing import Preprocessing
from wsloc.classifiers.scorer import Scorer, scoring_mode
from wsloc.errors import UserError
from wsloc.saliency.attribution import PairBatch
from wsloc.saliency.blur import gaussian_blur
from wsloc.saliency.gradient import input_gradients
from wsloc.saliency.interception import CallInterceptor, Function, call_input, operations_below
from wsloc.saliency.relu_calls import relu_ceiling

MOMENTUM = 0.9
"""Fraction of the last direction that is kept."""
NOISE = 0.1
"""Half the width of the uniform noise to start from, in normalized units."""
STRETCH_PERCENTILES = (0.5, 99.5)
"""What becomes black and white in a picture."""


@dataclass(frozen=True, slots=True, eq=False)
class AscentStep:
    """The image after some steps of the ascent.

    Attributes:
        number: of steps made; 0 for the start.
        image: float32 ``(C, H, W)``, normalized, on the scorer's device.
        score: S_c, before the softmax; between the first and the last step that of the shifted image.
        objective: ``score - lambda ||I||^2``.
        before_last_relu: whether ``score`` is that before the last ReLU, for want of a gradient behind it.
    """

    number: int
    image: Tensor
    score: float
    objective: float
    before_last_relu: bool


def ascend(
    scorer: Scorer,
    class_index: int,
    start: Tensor,
    *,
    steps: int = 150,
    learning_rate: float = 0.05,
    penalty: float = 1e-3,
    jitter: int = 0,
    blur: float = 0.0,
    blur_every: int = 1,
    seed: int = 0,
) -> Iterator[AscentStep]:
    """Gradient ascent on ``S_c(I) - lambda ||I||^2``.

    Each step follows the mean of the gradients so far, weighted by MOMENTUM, and moves the pixels by ``learning_rate``
    (root mean square) whatever the size of the gradient, which differs by orders of magnitude between networks and
    grows on the way; the rate falls linearly to zero. Directions are those of the gradient: unlike Adam, which
    moves all pixels alike, it leaves the background quiet.

    Where the gradient at the start is zero everywhere, the score before the last ReLU that the score depends on
    takes its place (squeezenet1_0 ends in ReLU and average pooling, and has classes of score 0 on the mean image).

    Args:
        scorer: network and label map; with several outputs of a class the largest counts.
        class_index: row of the scorer.
        start: float32 ``(C, H, W)``, normalized.
        steps: number of steps (>= 1).
        learning_rate: root mean square of the first step's change, in normalized units (> 0).
        penalty: lambda (>= 0).
        jitter: at each step the image is shifted by at most so many pixels along each side, around the edges, and
            back (Mordvintsev et al. 2015); 0 for none.
        blur: sigma in pixels of the Gaussian that smooths the image (Yosinski et al. 2015, arXiv 1506.06579);
            0 for none. Its variance falls with the rate, or it would wipe out at the end what no longer grows back.
        blur_every: smooth after every so many steps (>= 1).
        seed: of the shifts.

    Yields:
        The start, then the image after each step: ``steps + 1`` in all.

    Raises:
        UserError: if the gradient at the start is zero before the last ReLU, too, or a score is not finite.
    """
    generator = torch.Generator().manual_seed(seed)
    image = start.detach()[None].to(scorer.device)
    passed_over = _relu_to_pass_over(scorer, class_index, image)
    direction = torch.zeros_like(image)
    for number in range(steps + 1):
        shift = (0, 0)
        if jitter and 0 < number < steps:
            dy, dx = torch.randint(-jitter, jitter + 1, (2,), generator=generator).tolist()
            shift = (dy, dx)
        score, gradient = _score_and_gradient(scorer, class_index, image.roll(shift, (2, 3)), passed_over)
        if not math.isfinite(score):
            raise UserError(
                f"The score is {score} after {number} steps; use a smaller `learning_rate` or a larger `penalty`."
            )
        objective = score - penalty * float(image.square().sum())
        yield AscentStep(number, image[0], score, objective, passed_over is not None)
        if number == steps:
            return
        back = (-shift[0], -shift[1])
        uphill = gradient.roll(back, (2, 3)) - 2 * penalty * image
        direction = MOMENTUM * direction + (1 - MOMENTUM) * uphill
        length = direction.square().mean().sqrt()
        fraction = 1 - number / steps
        image = image + fraction * learning_rate * direction / length.where(length > 0, 1)
        if blur and (number + 1) % blur_every == 0:
            image = gaussian_blur(image, math.sqrt(fraction) * blur)


def noise_start(shape: tuple[int, int, int], seed: int = 0) -> Tensor:
    """Uniform noise in [-NOISE, NOISE): float32 ``(C, H, W)``, normalized."""
    return (2 * torch.rand(shape, generator=torch.Generator().manual_seed(seed)) - 1) * NOISE


def picture(image: Tensor, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """A normalized image as a picture.

    The normalization is undone, then the values (of all channels together) are stretched so that STRETCH_PERCENTILES
    become black and white, since a class model has little contrast and a few pixels of a lot.

    Args:
        image: float32 ``(C, H, W)``, C 3 or 1.
        preprocessing: whose mean and std are undone.

    Returns:
        RGB uint8 ``(H, W, 3)``; a flat image keeps its values, clipped to [0, 1].
    """
    mean, std = (torch.tensor(values)[:, None, None] for values in (preprocessing.mean, preprocessing.std))
    values = (image.cpu() * std + mean).permute(1, 2, 0).numpy()
    low, high = np.percentile(values, STRETCH_PERCENTILES)
    # A flat image in color differs between its channels only, which is no contrast to stretch.
    if np.ptp(values, axis=(0, 1)).max() > 0 and high > low:
        values = (values - low) / (high - low)
    pixels = (values.clip(0, 1) * 255).round().astype(np.uint8)
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


def _relu_to_pass_over(scorer: Scorer, class_index: int, image: Tensor) -> int | None:
    """None if the score has a gradient at the image; else the number of the last ReLU call below the score."""
    _, gradient = _score_and_gradient(scorer, class_index, image, None)
    if gradient.any():
        return None
    number = _last_relu(scorer, class_index, image)
    if number is not None:
        _, gradient = _score_and_gradient(scorer, class_index, image, number)
        if gradient.any():
            return number
    raise UserError(
        "The gradient of the score is zero everywhere in the image to start from"
        + ("" if number is None else ", even before the last ReLU")
        + "; use another `start`: noise, or a photograph."
    )


def _score_and_gradient(
    scorer: Scorer, class_index: int, image: Tensor, passed_over: int | None
) -> tuple[float, Tensor]:
    def forward(images: Tensor) -> Tensor:
        with contextlib.nullcontext() if passed_over is None else _without_relu(passed_over):
            return scorer.logits(images)

    batch = _one_pair(image, class_index)
    gradient, logits = input_gradients(scorer, batch, forward)
    return scorer.pair_scores(logits, batch.image_index, batch.classes).item(), gradient


def _one_pair(image: Tensor, class_index: int) -> PairBatch:
    image_index, classes = torch.tensor([[0], [class_index]], device=image.device)
    return PairBatch(image, image_index, classes)


def _without_relu(number: int) -> CallInterceptor:
    """While entered for one pass, the ReLU call of that number passes on its input."""
    seen = 0

    def handler(function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        nonlocal seen
        if relu_ceiling(function, args, kwargs) is not None:
            seen += 1
            if seen - 1 == number:
                return call_input(args, kwargs)
        return function(*args, **kwargs)

    return CallInterceptor(handler)


def _last_relu(scorer: Scorer, class_index: int, image: Tensor) -> int | None:
    """Number of the last ReLU call of a pass that the score depends on, from 0; None if there is none.

    A unit's network runs on above its layer, so the last call of all may have nothing to do with the score.
    """
    calls: list[Any] = []

    def handler(function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        answer = function(*args, **kwargs)
        if relu_ceiling(function, args, kwargs) is not None:
            calls.append(answer.grad_fn)
        return answer

    batch = _one_pair(image.detach().requires_grad_(True), class_index)
    with scoring_mode(scorer.network), torch.enable_grad():
        with CallInterceptor(handler):
            logits = scorer.logits(batch.images.clone())
        below = set(operations_below(scorer.pair_scores(logits, batch.image_index, batch.classes)))
    return max((number for number, operation in enumerate(calls) if operation in below), default=None)
