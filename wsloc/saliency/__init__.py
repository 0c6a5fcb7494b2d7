"""Saliency: from a batch of images and (image, class) pairs to one map per pair."""

from wsloc.registries import METHODS
from wsloc.saliency.attribution import Attribution, BoundMethod, PairBatch
from wsloc.saliency.averaging import average_views
from wsloc.saliency.binding import MethodContext
from wsloc.saliency.combination import bind_method

__all__ = ["METHODS", "Attribution", "BoundMethod", "MethodContext", "PairBatch", "average_views", "bind_method"]
