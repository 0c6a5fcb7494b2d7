"""How a classifier is trained: frozen plain values, each a flag of the same name, as in :mod:`wsloc.config`."""

from __future__ import annotations

from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path
from typing import Annotated, Literal

import tyro

from wsloc.config import USUAL_BATCH_SIZE, ComputeSettings, DataSettings, FolderSettings, MaskValues
from wsloc.setting_checks import optional, require, require_above, require_range


@dataclass(frozen=True)
class FittingSettings:
    """The network and its training."""

    arch: str = "resnet50"
    """backbone: a convolutional network of torchvision, timm:NAME, package.module:function, demo, or small_cnn (the
    demo's network, untrained)"""
    weights: Annotated[Path | None, optional("FILE", "torchvision's, downloaded on first use")] = None
    """weights of the backbone, .pth or .safetensors; the weights of its head are ignored"""
    frozen: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """train only the head, on features that are computed once (the default)"""
    fine_tune: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """train all layers, on augmented images"""
    loss: Annotated[Literal["bce", "cross-entropy"] | None, optional("bce|cross-entropy", "by the labels")] = None
    """bce if an image can show several classes, cross-entropy if each image shows exactly one"""
    epochs: Annotated[int | None, optional("N", "100; 30 when fine-tuning")] = None
    """maximum number of passes over the training images (>= 1)"""
    patience: Annotated[int | None, optional("N", "20; 8 when fine-tuning")] = None
    """stop after N epochs without a lower loss on the held-out images (>= 1)"""
    val_fraction: float = 0.2
    """fraction of the training images held out to choose the epoch (0 to 0.5; 0: none, and no early stopping)"""
    optimizer: Annotated[Literal["adamw", "sgd"] | None, optional("adamw|sgd", "sgd; adamw when fine-tuning")] = None
    """optimizer; sgd has a momentum of 0.9"""
    learning_rate: Annotated[
        float | None,
        optional("X", "sgd 0.3, adamw 0.01; fine-tuning 0.01 and 0.0001; without weights 0.05 and 0.003"),
    ] = None
    """peak learning rate, reached after the warm-up; a cosine then takes it to 0 (above 0, at most 1e6)"""
    head_factor: float = 10.0
    """fine-tuning: learning rate of the new head, divided by that of layers with weights (above 0, at most 1e6)"""
    weight_decay: float = 0.01
    """weight decay (>= 0)"""
    warmup: float = 0.05
    """fraction of all steps over which the learning rate rises (0 to 0.5)"""
    batch_norm: Annotated[Literal["frozen", "trained"] | None, optional("frozen|trained", "frozen with weights")] = None
    """fine-tuning: batch normalization statistics from the weights (frozen), or from each batch (trained)"""
    crop_scale: float = 0.35
    """fine-tuning: minimum area of a random crop, as a fraction of the image (above 0, at most 1; 1: none)"""
    jitter: float = 0.2
    """fine-tuning: maximum change of brightness, contrast, and saturation, as a fraction (0 to 0.9)"""
    input_size: Annotated[int | None, optional("N", "from the weights, or 224")] = None
    """side of the network's input in pixels; with resize short-side, the shorter side (>= 16)"""
    resize: Literal["squash", "short-side"] = "squash"
    """how the whole image is resized to the input size: squash (both sides), or short-side (keeps the aspect ratio)"""
    mean: Annotated[tuple[float, ...] | None, optional("X...", "from the weights, or ImageNet's")] = None
    """channel means of the normalization, for values in [0, 1]; one number for a grayscale network"""
    std: Annotated[tuple[float, ...] | None, optional("X...", "from the weights, or ImageNet's")] = None
    """channel standard deviations of the normalization; one number for a grayscale network"""

    def __post_init__(self) -> None:
        require(not (self.frozen and self.fine_tune), "`frozen` and `fine_tune` exclude each other: give one of them.")
        for name in ("epochs", "patience"):
            require_range(self, name, 1)
        for name in ("val_fraction", "warmup"):
            require_range(self, name, 0, 0.5)
        require(
            self.learning_rate is None or 0 < self.learning_rate <= 1e6,
            f"`learning_rate` must be above 0 and at most 1e6, not {self.learning_rate}.",
        )
        require(0 < self.head_factor <= 1e6, f"`head_factor` must be above 0 and at most 1e6, not {self.head_factor}.")
        require(0 <= self.weight_decay < float("inf"), f"`weight_decay` must be at least 0, not {self.weight_decay}.")
        require_above(self, "crop_scale", 0, 1)
        require_range(self, "jitter", 0, 0.9)
        require_range(self, "input_size", 16, unit=" pixels")
        require(self.std is None or all(value > 0 for value in self.std), "`std` must hold positive numbers.")

    @property
    def max_epochs(self) -> int:
        """``epochs``, or the default of the mode."""
        return self.epochs or (30 if self.fine_tune else 100)

    @property
    def max_patience(self) -> int:
        """``patience``, or the default of the mode."""
        return self.patience or (8 if self.fine_tune else 20)

    @property
    def chosen_optimizer(self) -> str:
        """``optimizer``, or the default of the mode."""
        return self.optimizer or ("adamw" if self.fine_tune else "sgd")

    def peak_rate(self, has_weights: bool) -> float:
        """``learning_rate``, or the default of the mode, for a backbone with trained weights or without."""
        if self.learning_rate is not None:
            return self.learning_rate
        adamw = self.chosen_optimizer == "adamw"
        if not self.fine_tune:
            return 1e-2 if adamw else 0.3
        if not has_weights:
            return 3e-3 if adamw else 0.05
        return 1e-4 if adamw else 1e-2


@dataclass(frozen=True)
class LabeledImages(DataSettings):
    """Which images, with their own image-level labels; true boxes are not opened."""

    split: Annotated[str | None, optional("NAME", "train; train2017 for coco")] = None
    """the split to train on"""
    class_name: Annotated[str | None, tyro.conf.Fixed, tyro.conf.Suppress] = None
    targets: Annotated[str, tyro.conf.Fixed, tyro.conf.Suppress] = "labels"
    images: Annotated[str | None, tyro.conf.Fixed, tyro.conf.Suppress] = None
    boxes: Annotated[Path | None, tyro.conf.Fixed, tyro.conf.Suppress] = None
    masks: Annotated[Path | None, tyro.conf.Fixed, tyro.conf.Suppress] = None
    mask_values: Annotated[MaskValues, tyro.conf.Fixed, tyro.conf.Suppress] = "nonzero"


@dataclass(frozen=True)
class TrainingCompute(ComputeSettings):
    """Where and how the work is done; all of it except the number of workers can change results."""

    batch_size: int = USUAL_BATCH_SIZE
    """images per batch (>= 1)"""
    decode_side: Annotated[int | None, tyro.conf.Fixed, tyro.conf.Suppress] = None

    def __post_init__(self) -> None:
        require(
            isinstance(self.batch_size, Integral),
            f"`batch_size` of a training must be a whole number, not {self.batch_size!r}.",
        )
        super().__post_init__()


@dataclass(frozen=True)
class TrainClassifierConfig:
    """Train a classifier on image-level labels; wsloc localize takes the result as its checkpoint.

    Cached features are stored next to the training folder.
    """

    data: LabeledImages = field(default_factory=LabeledImages)
    test_split: Annotated[str | None, optional("NAME", "none")] = None
    """split to test on at the end, with images that are not trained on"""
    fitting: FittingSettings = field(default_factory=FittingSettings)
    compute: TrainingCompute = field(default_factory=TrainingCompute)
    output: FolderSettings = field(default_factory=FolderSettings)

    def __post_init__(self) -> None:
        require(
            self.data.dataset is not None,
            "Nothing to learn from: give `dataset='NAME'` (for your own images `dataset='folder'`, with `root`).",
        )
        require(
            self.test_split is None or self.data.dataset != "folder" or self.data.split is not None,
            "`test_split` names a folder of class folders beside that of `split`: give both, or leave out "
            "`test_split`, the held-out images give the figures.",
        )
