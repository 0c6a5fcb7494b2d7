"""Classifiers: networks, their weights, what goes into them and what their outputs mean."""

from wsloc.classifiers.check_network import check_network
from wsloc.classifiers.classifier import Classifier
from wsloc.classifiers.labelmap import LabelMap, load_label_map
from wsloc.classifiers.load import load_classifier
from wsloc.classifiers.outputs import resolve_label_map
from wsloc.classifiers.preprocessing import Preprocessing, View, Views
from wsloc.classifiers.scorer import Scorer, make_scorer, scoring_mode
from wsloc.classifiers.targets import ScalarTargets, UnitActivity
from wsloc.registries import VIEWS

__all__ = [
    "VIEWS",
    "Classifier",
    "LabelMap",
    "Preprocessing",
    "ScalarTargets",
    "Scorer",
    "UnitActivity",
    "View",
    "Views",
    "check_network",
    "load_classifier",
    "load_label_map",
    "make_scorer",
    "resolve_label_map",
    "scoring_mode",
]
