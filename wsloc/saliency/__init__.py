"""Saliency methods by name; a new one is a function and a line here (and in ``config.MethodName``)."""

from wsloc.saliency.attribution import Attribution, SaliencyMethod
from wsloc.saliency.averaging import average_views
from wsloc.saliency.gradient import gradient, gradient_positive, gradient_squared, gradient_x_input

METHODS: dict[str, SaliencyMethod] = {
    "gradient": gradient,
    "gradient-positive": gradient_positive,
    "gradient-squared": gradient_squared,
    "gradient-x-input": gradient_x_input,
}

__all__ = ["METHODS", "Attribution", "SaliencyMethod", "average_views"]
