"""Images with image-level labels, and, apart from them, ground truth."""

from wsloc.datasets.dataset import Dataset, GroundTruthSet, asked_classes
from wsloc.datasets.registry import GROUND_TRUTH_READERS, OPENERS, open_dataset, read_ground_truth

__all__ = [
    "GROUND_TRUTH_READERS",
    "OPENERS",
    "Dataset",
    "GroundTruthSet",
    "asked_classes",
    "open_dataset",
    "read_ground_truth",
]
