"""Saliency methods by name. A new one is a function and a line here (and in ``config.MethodName``)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from wsloc.classifiers.scorer import Scorer, logits_without_graph
from wsloc.config import SaliencySettings
from wsloc.errors import UserError
from wsloc.saliency.attribution import Attribution, BoundMethod, PairBatch
from wsloc.saliency.cam import cam, find_cam_layer
from wsloc.saliency.combination import combined, guided_grad_cam
from wsloc.saliency.grad_cam import grad_cam, grad_cam_plus_plus, hires_cam, layer_cam, xgrad_cam
from wsloc.saliency.gradient import gradient, gradient_positive, gradient_squared, gradient_x_input
from wsloc.saliency.integrated_gradients import integrated_gradients
from wsloc.saliency.layers import Layer, feature_channels, find_layer, named_layer
from wsloc.saliency.linearity import refuse_hidden_nonlinearities
from wsloc.saliency.occlusion import occlusion, patch_windows
from wsloc.saliency.relu_rules import deconvnet, guided
from wsloc.saliency.rise import rise
from wsloc.saliency.score_cam import score_cam
from wsloc.saliency.smoothgrad import smoothgrad, smoothgrad_squared


@dataclass(frozen=True, slots=True, eq=False)
class MethodContext:
    """What a method is made ready with.

    Attributes:
        scorer: network and label map.
        example: float32 ``(1, C, H, W)`` of the size of the images to come (their aspect may differ).
        settings: names and numbers.
        seed: of the run.
    """

    scorer: Scorer
    example: Tensor
    settings: SaliencySettings
    seed: int = 0


Binder = Callable[[MethodContext], BoundMethod]


def bind_method(context: MethodContext) -> BoundMethod:
    """The method that the settings name, or the combination of two, made ready for a network.

    Raises:
        UserError: if the method does not apply to the network, or a layer that it names is not there.
    """
    settings = context.settings
    bound = METHODS[settings.method](context)
    if settings.second_method is None:
        return bound
    return combined(bound, METHODS[settings.second_method](context), settings.combine)


def _by_gradient(method: Callable[[Scorer, PairBatch], Attribution]) -> Binder:
    return lambda context: BoundMethod(partial(method, context.scorer))


def _by_rule(method: Callable[..., Attribution]) -> Binder:
    def bind(context: MethodContext) -> BoundMethod:
        bound = _tried(BoundMethod(partial(method, context.scorer, checked=True)), context.example)
        refuse_hidden_nonlinearities(context.scorer, context.example)
        return bound

    return bind


def _by_noise(method: Callable[..., Attribution]) -> Binder:
    def bind(context: MethodContext) -> BoundMethod:
        samples, noise = context.settings.smoothgrad_samples, context.settings.smoothgrad_noise
        return BoundMethod(partial(method, context.scorer, samples=samples, noise=noise), forward_passes=samples + 1)

    return bind


def _integrated_gradients(context: MethodContext) -> BoundMethod:
    steps = context.settings.integrated_steps
    return BoundMethod(partial(integrated_gradients, context.scorer, steps=steps), forward_passes=steps + 1)


def _cam(context: MethodContext) -> BoundMethod:
    if context.settings.cam_layers:
        raise UserError("CAM reads the input of the global pooling and no other layer; leave out `cam_layers`.")
    return _shared(partial(cam, context.scorer, layer=find_cam_layer(context.scorer, context.example)), context.example)


def _by_layers(method: Callable[..., Attribution]) -> Binder:
    return lambda context: _shared(partial(method, context.scorer, layers=_layers(context)), context.example)


def _guided_grad_cam(context: MethodContext) -> BoundMethod:
    compute = partial(guided_grad_cam, context.scorer, layers=_layers(context), checked=True)
    bound = _tried(BoundMethod(compute, forward_passes=2), context.example)
    refuse_hidden_nonlinearities(context.scorer, context.example)
    return bound


def _score_cam(context: MethodContext) -> BoundMethod:
    layer, *others = _layers(context)
    if others:
        raise UserError("Score-CAM reads one layer; name only one with `cam_layers`.")
    most = feature_channels(context.scorer, context.example, layer)
    channels = min(context.settings.score_cam_channels or most, most)
    compute = partial(score_cam, context.scorer, layer=layer, channels=channels)
    return BoundMethod(compute, forward_passes=channels + 1, shares_passes=True)


def _occlusion(context: MethodContext) -> BoundMethod:
    settings = context.settings
    patch, stride = settings.occlusion_patch, settings.occlusion_stride
    compute = partial(occlusion, context.scorer, patch=patch, stride=stride, fill=settings.occlusion_fill)
    windows = patch_windows((context.example.shape[2], context.example.shape[3]), patch, stride)
    if len(windows) == 1:
        raise UserError(f"The patch of {patch} pixels covers the whole input of the network; set `occlusion_patch`.")
    return BoundMethod(compute, forward_passes=len(windows) + 1, shares_passes=True)


def _rise(context: MethodContext) -> BoundMethod:
    if context.scorer.activation == "softmax" and logits_without_graph(context.scorer, context.example).shape[1] == 1:
        raise UserError("RISE weighs by the probability of a class, which a single score lacks; take another `method`.")
    masks, grid, fraction = context.settings.rise_masks, context.settings.rise_grid, context.settings.rise_fraction
    compute = partial(rise, context.scorer, masks=masks, grid=grid, fraction=fraction, seed=context.seed)
    return BoundMethod(compute, forward_passes=masks + 1, shares_passes=True)


def _layers(context: MethodContext) -> list[Layer]:
    named = [named_layer(context.scorer, name) for name in context.settings.cam_layers]
    return named or [find_layer(context.scorer, context.example)]


def _shared(compute: Callable[[PairBatch], Attribution], example: Tensor) -> BoundMethod:
    return _tried(BoundMethod(compute, shares_passes=True), example)


def _tried(bound: BoundMethod, example: Tensor) -> BoundMethod:
    """The method, once it has answered for the example: a refusal must come before the first image."""
    pair = torch.zeros(1, dtype=torch.int64, device=example.device)
    bound.compute(PairBatch(example, pair, pair))
    return bound


METHODS: dict[str, Binder] = {
    "gradient": _by_gradient(gradient),
    "gradient-positive": _by_gradient(gradient_positive),
    "gradient-squared": _by_gradient(gradient_squared),
    "gradient-x-input": _by_gradient(gradient_x_input),
    "smoothgrad": _by_noise(smoothgrad),
    "smoothgrad-squared": _by_noise(smoothgrad_squared),
    "integrated-gradients": _integrated_gradients,
    "deconvnet": _by_rule(deconvnet),
    "guided": _by_rule(guided),
    "cam": _cam,
    "grad-cam": _by_layers(grad_cam),
    "grad-cam++": _by_layers(grad_cam_plus_plus),
    "layer-cam": _by_layers(layer_cam),
    "xgrad-cam": _by_layers(xgrad_cam),
    "hires-cam": _by_layers(hires_cam),
    "guided-grad-cam": _guided_grad_cam,
    "score-cam": _score_cam,
    "occlusion": _occlusion,
    "rise": _rise,
}
