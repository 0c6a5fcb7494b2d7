"""The demo: a small VOC data set composed from scikit-image's sample pictures, so that nothing is downloaded."""

from wsloc.datasets.demo.generate import DEMO_VERSION, DemoMarker, generate_demo, read_marker
from wsloc.datasets.demo.open_demo import open_demo
from wsloc.datasets.demo.outlines import DEMO_CLASSES

__all__ = ["DEMO_CLASSES", "DEMO_VERSION", "DemoMarker", "generate_demo", "open_demo", "read_marker"]
