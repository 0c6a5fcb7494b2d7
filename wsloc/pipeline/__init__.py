"""The stages joined: from a data set and a configuration to boxes."""

from wsloc.pipeline.engine import localize
from wsloc.pipeline.localizer import Localizer, choose_device, make_localizer
from wsloc.pipeline.results import ImageResult, ItemResult, StageSeconds, Trace
from wsloc.pipeline.threads import applied, plan_threads

__all__ = [
    "ImageResult",
    "ItemResult",
    "Localizer",
    "StageSeconds",
    "Trace",
    "applied",
    "choose_device",
    "localize",
    "make_localizer",
    "plan_threads",
]
