"""The saliency method that the settings choose, and methods that combine two others."""

from __future__ import annotations

from functools import partial

from wsloc.classifiers.scorer import Scorer
from wsloc.config import Combination
from wsloc.plugins import bind_entry
from wsloc.registries import METHODS
from wsloc.saliency.activation_maps import over_maximum
from wsloc.saliency.attribution import Attribution, BoundMethod, PairBatch
from wsloc.saliency.binding import MethodContext, by_relu_rule, layers_of, tried
from wsloc.saliency.grad_cam import Layers, grad_cam
from wsloc.saliency.relu_rules import guided


def bind_method(context: MethodContext) -> BoundMethod:
    """The method that the settings name, or the combination of two, bound to a network.

    Raises:
        UserError: if there is no such method, it does not apply to the network, it lacks a layer that is named, or the
            map of an image depends on the others of its batch.
    """
    settings = context.settings
    names = [settings.method, *([settings.second_method] if settings.second_method else [])]
    bound = [tried(bind_entry(METHODS, name, BoundMethod, context), context) for name in names]
    return combined(bound[0], bound[1], settings.combine) if len(bound) > 1 else bound[0]


def guided_grad_cam(scorer: Scorer, batch: PairBatch, layers: Layers = None, *, checked: bool = False) -> Attribution:
    """Guided back-propagation times enlarged Grad-CAM (Selvaraju et al. 2017, section 3.2); see both for arguments."""
    fine, coarse = guided(scorer, batch, checked=checked), grad_cam(scorer, batch, layers)
    return Attribution(fine.maps * coarse.maps, fine.logits)


def combined(first: BoundMethod, second: BoundMethod, by: Combination) -> BoundMethod:
    """The product of the maps of two methods, or the mean of both, each over its maximum."""

    def compute(batch: PairBatch) -> Attribution:
        answers = first.compute(batch), second.compute(batch)
        one, other = (answer.maps for answer in answers)
        # A product over its maximum would give a view that sees nothing the weight of the one with the object.
        maps = one * other if by == "product" else (over_maximum(one) + over_maximum(other)) / 2
        return Attribution(maps, answers[0].logits)

    return BoundMethod(
        compute,
        forward_passes=first.forward_passes + second.forward_passes,
        shares_passes=first.shares_passes and second.shares_passes,
    )


def bind_guided_grad_cam(context: MethodContext) -> BoundMethod:
    """With the layers of the settings, or the one that is found."""
    return by_relu_rule(partial(guided_grad_cam, layers=layers_of(context)), forward_passes=2)(context)
