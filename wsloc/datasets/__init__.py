"""Data sets: images with their labels for all code, and ground truth for evaluation alone."""

from wsloc.datasets.dataset import Dataset, DataSetKind, GroundTruthSet, asked_classes, require_images
from wsloc.datasets.registry import open_dataset, read_ground_truth
from wsloc.registries import DATASETS

__all__ = [
    "DATASETS",
    "DataSetKind",
    "Dataset",
    "GroundTruthSet",
    "asked_classes",
    "open_dataset",
    "read_ground_truth",
    "require_images",
]
