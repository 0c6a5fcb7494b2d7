"""The stages joined: from images and a configuration to boxes."""

from wsloc.pipeline.localizer import Localizer, localize_images, make_localizer
from wsloc.pipeline.results import ImageResult, ItemResult, Trace
from wsloc.pipeline.runner import Runner, running
from wsloc.pipeline.stage import Failed, Stage

__all__ = [
    "Failed",
    "ImageResult",
    "ItemResult",
    "Localizer",
    "Runner",
    "Stage",
    "Trace",
    "localize_images",
    "make_localizer",
    "running",
]
