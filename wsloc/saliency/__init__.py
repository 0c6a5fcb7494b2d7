"""Saliency: from a batch of images and (image, class) pairs to one map a pair."""

from wsloc.saliency.attribution import Attribution, BoundMethod, PairBatch
from wsloc.saliency.averaging import average_views
from wsloc.saliency.methods import METHODS, MethodContext, bind_method

__all__ = ["METHODS", "Attribution", "BoundMethod", "MethodContext", "PairBatch", "average_views", "bind_method"]
