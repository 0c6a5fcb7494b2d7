"""The verbs of the ``wsloc`` command; their modules are imported on use."""

from __future__ import annotations

import importlib
from typing import Any

VERBS = {
    "localize": "boxes from image-level labels, and their metrics",
    "train-classifier": "a classifier for the classes of a data set, from image-level labels",
    "fit-refiner": "what --preset best learns, from the maps of all shards of a run",
    "merge-runs": "the shards of a run joined to one run, and its metrics",
    "evaluate": "every metric of a run or of saved maps",
    "export": "the boxes of a run in the format of a detector or an annotation tool",
    "train-detector": "a detector from pseudo-labels or true boxes, and its average precision",
    "detect": "boxes from a trained detector",
    "self-train": "better boxes, from a detector trained on them, in rounds",
    "report": "an HTML page of metrics, charts, and pictures about one or more runs",
    "compare-methods": "maps of one image by many methods, side by side",
    "compare-runs": "which of two or more runs finds more, by how much, and where",
    "fetch": "the images of a list of web addresses, and their list for localize",
    "check-dataset": "problems in the files of a data set",
    "classes": "what the outputs of a network are called",
    "methods": "which saliency methods fit a network",
    "doctor": "what the main job needs of this machine, and what is missing",
    "visualize": "an image that maximizes the score of a class",
}
"""Each is a module of this package (a dash is an underscore). It has a dataclass of its settings
(``ExportConfig``), ``run(config, command) -> exit status``, where ``command`` is what was typed, and, if its defaults
come from files, ``read_config(arguments)``. ``run`` of a verb that takes ``--dry-run`` takes a ``progress``, too."""


def module_of(verb: str) -> Any:
    """The module of a verb."""
    return importlib.import_module(f"wsloc.cli.{verb.replace('-', '_')}")


def config_of(verb: str) -> Any:
    """The dataclass of a verb's settings."""
    name = "".join(word.capitalize() for word in verb.split("-")) + "Config"
    return getattr(module_of(verb), name)
