"""From a saliency map to boxes: seeds, cut, connected components."""

from wsloc.segmentation.color_models import fit_color_models
from wsloc.segmentation.components import Component, largest_components
from wsloc.segmentation.graphcut import grabcut, grabcut_plain, graphcut_2013
from wsloc.segmentation.quality import agreement
from wsloc.segmentation.seeds import make_seeds, value_seeds
from wsloc.segmentation.segment import CutInput, Segmentation, Segmenter, one_by_one
from wsloc.segmentation.working import working_image, working_map

__all__ = [
    "Component",
    "CutInput",
    "Segmentation",
    "Segmenter",
    "agreement",
    "fit_color_models",
    "grabcut",
    "grabcut_plain",
    "graphcut_2013",
    "largest_components",
    "make_seeds",
    "one_by_one",
    "value_seeds",
    "working_image",
    "working_map",
]
