"""The whole settings of training a detector, of self-training, and of detecting; plain values, as in wsloc.config."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from wsloc.config import DataSettings, FolderSettings, MaskValues
from wsloc.detection.detector_settings import DetectorSettings, TrainingSettings
from wsloc.errors import UserError
from wsloc.setting_checks import optional, require, require_fraction, require_range

TRUTH = "truth"
"""What ``boxes_from`` calls the true boxes."""


@dataclass(frozen=True)
class TrainingImages(DataSettings):
    """The images to train on; only if the boxes do not name them, or to read an export's images from their data set."""

    class_name: Annotated[str | None, tyro.conf.Fixed, tyro.conf.Suppress] = None
    targets: Annotated[str, tyro.conf.Fixed, tyro.conf.Suppress] = "labels"
    images: Annotated[str | None, tyro.conf.Fixed, tyro.conf.Suppress] = None
    masks: Annotated[Path | None, tyro.conf.Fixed, tyro.conf.Suppress] = None
    mask_values: Annotated[MaskValues, tyro.conf.Fixed, tyro.conf.Suppress] = "nonzero"
    boxes: Annotated[Path | None, optional("CSV", "none")] = None
    """folder: true boxes, rows image,class,x0,y0,x1,y1 (half-open, 0-based pixels)"""


@dataclass(frozen=True)
class TestedImages:
    """The images to test on, with true boxes; settings that are not given are those of the training images."""

    test_dataset: Annotated[str | None, optional("NAME", "that of the training, if a test split is given")] = None
    """data set to test on"""
    test_split: Annotated[str | None, optional("NAME", "docs/formats.md")] = None
    """its split"""
    test_root: Annotated[Path | None, optional("DIR", "that of the training, else the data set's own")] = None
    """its folder"""
    test_year: Annotated[str | None, optional("YEAR", "that of the training")] = None
    """voc: year of the data set"""
    test_annotations: Annotated[Path | None, optional("PATH", "below its folder")] = None
    """coco: the instances JSON file"""
    test_labels: Annotated[Path | None, optional("CSV", "none")] = None
    """folder: CSV file with rows image,label[;label...]"""
    test_boxes: Annotated[Path | None, optional("CSV", "none")] = None
    """folder: its true boxes"""
    test_classes: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME...", help_behavior_hint="(default: all)")] = ()
    """only these classes"""
    test_ids: Annotated[Path | None, optional("FILE", "all")] = None
    """only the images whose ids this text file lists, one per line"""
    test_limit: Annotated[int | None, optional("N", "all")] = None
    """only the first N images (>= 1)"""

    def settings(self, data: DataSettings) -> DataSettings | None:
        """As settings of a data set; None if there is none to test on."""
        given = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        if all(value in (None, ()) for value in given.values()):
            return None
        same = self.test_dataset in (None, data.dataset)
        if self.test_dataset is None and data.dataset is None:
            raise UserError("`test_split` and the like need `test_dataset='NAME'`, the data set to test on.")
        base = data if same else DataSettings()
        return DataSettings(
            dataset=self.test_dataset or data.dataset,
            root=self.test_root or base.root,
            year=self.test_year or base.year,  # type: ignore[arg-type]
            split=self.test_split or base.split,
            labels=self.test_labels or base.labels,
            image_column=base.image_column,
            label_column=base.label_column,
            annotations=self.test_annotations,
            boxes=self.test_boxes or base.boxes,
            classes=self.test_classes,
            truncated_images=data.truncated_images,
            ids=self.test_ids,
            limit=self.test_limit,
        )


@dataclass(frozen=True)
class TrainDetectorConfig:
    """Train a detector on the boxes of an export or a run, or on true boxes, and test it against true boxes.

    Writes a run folder: wsloc evaluate and wsloc report read its detections like the boxes of any run.
    """

    boxes_from: Annotated[str, tyro.conf.arg(metavar="EXPORT|RUN|truth")]
    """boxes to train on: a COCO export (folder or instances file), a run folder, or truth (together with a data set)"""
    detector: DetectorSettings = field(default_factory=DetectorSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    ignore_fraction: float = 0.0
    """fraction of each class's boxes, lowest quality first, that are neither object nor background (0 to below 1)"""
    drop_empty: bool = False
    """leave out images without a box; otherwise they serve as negatives"""
    data: TrainingImages = field(default_factory=TrainingImages)
    test: TestedImages = field(default_factory=TestedImages)
    output: FolderSettings = field(default_factory=FolderSettings)

    def __post_init__(self) -> None:
        require_fraction(self, "ignore_fraction")


@dataclass(frozen=True)
class SelfTrainConfig:
    """Train a detector on pseudo-boxes, let it find better ones of the labeled classes of each image, and repeat.

    Writes DIR/round-0 (the boxes as given), round-1 and so on, each a run folder, and rounds.csv. True boxes, where the
    data set has any, are opened for the metrics alone.
    """

    boxes_from: Annotated[str, tyro.conf.arg(metavar="RUN|EXPORT")]
    """boxes to start from: a run folder, or a COCO export (with a data set: on that data set's images and labels)"""
    rounds: int = 3
    """number of rounds; each trains a detector and applies it (>= 1)"""
    folds: int = 1
    """parts of the images; the boxes of one come from a detector trained on the others (1: trained on all)"""
    min_score: float = 0.3
    """minimum score of detections that replace the boxes of a class on an image (0 to 1)"""
    refine: Annotated[str | None, optional("MODULE:FUNCTION", "none")] = None
    """a function refine(image, box, mask) of your own that improves each box (docs/training.md)"""
    detector: DetectorSettings = field(default_factory=DetectorSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    ignore_fraction: float = 0.0
    """fraction of each class's boxes, lowest quality first, that are neither object nor background (0 to below 1)"""
    drop_empty: bool = False
    """leave out images without a box; otherwise they serve as negatives"""
    data: TrainingImages = field(default_factory=TrainingImages)
    output: FolderSettings = field(default_factory=FolderSettings)

    def __post_init__(self) -> None:
        require(self.boxes_from != TRUTH, "Self-training starts from pseudo-boxes, not truth: give a run or an export.")
        require_range(self, "rounds", 1)
        require_range(self, "folds", 1, 20)
        require_range(self, "min_score", 0, 1)
        require_fraction(self, "ignore_fraction")


@dataclass(frozen=True)
class SearchedImages(DataSettings):
    """Which images; their true boxes are used only for evaluation. The classes are the detector's."""

    images: Annotated[str | None, optional("GLOB|DIR", "none")] = None
    """your own images without a data set, such as 'photos/*.jpg'"""
    class_name: Annotated[str | None, tyro.conf.Fixed, tyro.conf.Suppress] = None
    targets: Annotated[str, tyro.conf.Fixed, tyro.conf.Suppress] = "labels"
    classes: Annotated[tuple[str, ...], tyro.conf.Fixed, tyro.conf.Suppress] = ()


@dataclass(frozen=True)
class DetectConfig:
    """Find objects in images with a trained detector, and evaluate the boxes if there is ground truth."""

    checkpoint: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="CHECKPOINT", help_behavior_hint="")]
    """detector.safetensors, written by wsloc train-detector or wsloc self-train"""
    data: SearchedImages = field(default_factory=SearchedImages)
    batch_size: int = 8
    """images per batch (>= 1)"""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """device of the detector (auto: cuda or mps if available)"""
    output: FolderSettings = field(default_factory=FolderSettings)

    def __post_init__(self) -> None:
        require_range(self, "batch_size", 1)
