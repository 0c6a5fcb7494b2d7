"""The saliency method that the settings choose, bound to a network."""

from __future__ import annotations

from wsloc.errors import UserError
from wsloc.plugins import users_code
from wsloc.registries import METHODS
from wsloc.saliency.attribution import BoundMethod
from wsloc.saliency.binding import Binder, MethodContext
from wsloc.saliency.combination import combined


def bind_method(context: MethodContext) -> BoundMethod:
    """The method that the settings name, or the combination of two, bound to a network.

    Raises:
        UserError: if there is no such method, it does not apply to the network, or it lacks a layer that is named.
    """
    settings = context.settings
    bound = _bind(settings.method, context)
    if settings.second_method is None:
        return bound
    return combined(bound, _bind(settings.second_method, context), settings.combine)


def _bind(name: str, context: MethodContext) -> BoundMethod:
    binder: Binder = METHODS[name]
    if name in METHODS:
        return binder(context)
    with users_code(METHODS.what, name):
        bound = binder(context)
    if not isinstance(bound, BoundMethod):
        raise UserError(f"The saliency method {name} must return a BoundMethod, not {type(bound).__name__}.")
    return bound
