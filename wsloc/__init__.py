"""wsloc turns image-level labels into boxes.

The names below are loaded on first use, so that ``import wsloc`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wsloc.classifiers import (
        VIEWS,
        Classifier,
        Preprocessing,
        ScalarTargets,
        UnitActivity,
        load_classifier,
        make_scorer,
        resolve_label_map,
    )
    from wsloc.config import (
        ClassifierSettings,
        ComputeSettings,
        DataSettings,
        LocalizeConfig,
        OutputSettings,
        SaliencySettings,
        SegmentationSettings,
    )
    from wsloc.datasets import open_dataset, read_ground_truth
    from wsloc.errors import UserError
    from wsloc.evaluation import evaluate
    from wsloc.evaluation.table import format_evaluation
    from wsloc.images import read_image
    from wsloc.pipeline import localize_images, make_localizer
    from wsloc.records import ImageRecord, Localization
    from wsloc.registries import SEGMENTERS
    from wsloc.runs.read_run import read_run
    from wsloc.saliency import METHODS, MethodContext, PairBatch, average_views, bind_method
    from wsloc.segmentation import (
        grabcut,
        graphcut_2013,
        largest_components,
        make_seeds,
        working_image,
        working_map,
    )
    from wsloc.visualization import item_panel

_HOMES = {
    "wsloc.classifiers": (
        "VIEWS",
        "Classifier",
        "Preprocessing",
        "ScalarTargets",
        "UnitActivity",
        "load_classifier",
        "make_scorer",
        "resolve_label_map",
    ),
    "wsloc.config": (
        "ClassifierSettings",
        "ComputeSettings",
        "DataSettings",
        "LocalizeConfig",
        "OutputSettings",
        "SaliencySettings",
        "SegmentationSettings",
    ),
    "wsloc.datasets": ("open_dataset", "read_ground_truth"),
    "wsloc.errors": ("UserError",),
    "wsloc.records": ("ImageRecord", "Localization"),
    "wsloc.runs.read_run": ("read_run",),
    "wsloc.evaluation": ("evaluate",),
    "wsloc.evaluation.table": ("format_evaluation",),
    "wsloc.images": ("read_image",),
    "wsloc.pipeline": ("localize_images", "make_localizer"),
    "wsloc.saliency": ("METHODS", "PairBatch", "MethodContext", "average_views", "bind_method"),
    "wsloc.registries": ("SEGMENTERS",),
    "wsloc.segmentation": (
        "grabcut",
        "graphcut_2013",
        "largest_components",
        "make_seeds",
        "working_image",
        "working_map",
    ),
    "wsloc.visualization": ("item_panel",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'wsloc' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted(_HOME_OF)


__all__ = [
    "METHODS",
    "SEGMENTERS",
    "VIEWS",
    "Classifier",
    "ClassifierSettings",
    "ComputeSettings",
    "DataSettings",
    "ImageRecord",
    "Localization",
    "LocalizeConfig",
    "MethodContext",
    "OutputSettings",
    "PairBatch",
    "Preprocessing",
    "SaliencySettings",
    "ScalarTargets",
    "SegmentationSettings",
    "UnitActivity",
    "UserError",
    "average_views",
    "bind_method",
    "evaluate",
    "format_evaluation",
    "grabcut",
    "graphcut_2013",
    "item_panel",
    "largest_components",
    "load_classifier",
    "localize_images",
    "make_localizer",
    "make_scorer",
    "make_seeds",
    "open_dataset",
    "read_ground_truth",
    "read_image",
    "read_run",
    "resolve_label_map",
    "working_image",
    "working_map",
]
