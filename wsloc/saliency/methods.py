"""The saliency method that the settings choose, bound to a network."""

from __future__ import annotations

from wsloc.plugins import bind_entry
from wsloc.registries import METHODS
from wsloc.saliency.attribution import BoundMethod
from wsloc.saliency.binding import MethodContext
from wsloc.saliency.combination import combined


def bind_method(context: MethodContext) -> BoundMethod:
    """The method that the settings name, or the combination of two, bound to a network.

    Raises:
        UserError: if there is no such method, it does not apply to the network, or it lacks a layer that is named.
    """
    settings = context.settings
    bound = bind_entry(METHODS, settings.method, BoundMethod, context)
    if settings.second_method is None:
        return bound
    return combined(bound, bind_entry(METHODS, settings.second_method, BoundMethod, context), settings.combine)
