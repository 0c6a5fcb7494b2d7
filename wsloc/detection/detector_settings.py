"""The settings of a detector and of its training: plain values, so that the help does not load torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from wsloc.registries import DETECTORS
from wsloc.setting_checks import one_of, optional, require, require_above, require_fraction, require_range


@dataclass(frozen=True)
class DetectorSettings:
    """Which detector, and which weights it starts from."""

    arch: Annotated[str, one_of(DETECTORS)] = "fasterrcnn_mobilenet_v3_large_320_fpn"
    """one of torchvision's detectors, Faster R-CNN on another backbone (320: small enough for a CPU), or the demo's"""
    backbone: Annotated[str, optional("FILE|default|none", "default")] = "default"
    """weights of the backbone: a classifier file, default (torchvision's ImageNet weights, or the demo classifier's for
    fasterrcnn_small_cnn), or none"""
    image_size: Annotated[int | None, optional("N", "set by the detector")] = None
    """shorter side, in pixels, of the images in the detector (64 to 2048; fixed for ssdlite320)"""

    def __post_init__(self) -> None:
        DETECTORS.require(self.arch)
        require_range(self, "image_size", 64, 2048, unit=" pixels")
        require(
            self.image_size is None or not self.arch.startswith("ssdlite320"),
            f"{self.arch} always uses images of 320 x 320 pixels; leave out `image_size`.",
        )


@dataclass(frozen=True)
class TrainingSettings:
    """How a detector is trained: SGD with momentum, a linear warm-up, then half a cosine to zero."""

    epochs: int = 12
    """passes over the images (>= 1)"""
    batch_size: int = 8
    """images per step (>= 1)"""
    learning_rate: Annotated[float | None, optional("X", "by detector and batch size")] = None
    """peak learning rate (> 0)"""
    momentum: float = 0.9
    """momentum of SGD (0 to 1)"""
    weight_decay: float = 1e-4
    """weight decay of SGD (>= 0)"""
    warmup_steps: Annotated[int | None, optional("N", "a tenth of all steps, at most 500")] = None
    """number of steps over which the learning rate rises (>= 0)"""
    ema_decay: float = 0.0
    """decay, per step, of a moving average of the weights, which becomes the detector (0: none; below 1)"""
    flip: bool = True
    """mirror each image with a probability of 1/2"""
    zoom: float = 0.25
    """maximum change of scale of an image, as a fraction; zooming in crops the image (0 to 0.9)"""
    gain: float = 0.2
    """maximum change of brightness of an image, as a fraction (0 to 0.9)"""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """arithmetic of the network (auto: float16 with a scaled loss on CUDA, else float32)"""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """device of the network (auto: cuda or mps if available)"""
    seed: int = 0
    """seed of the initial weights, the order of the images, and their augmentation (>= 0)"""

    def __post_init__(self) -> None:
        for name, least in (("seed", 0), ("epochs", 1), ("batch_size", 1), ("weight_decay", 0), ("warmup_steps", 0)):
            require_range(self, name, least)
        require_above(self, "learning_rate", 0)
        require_fraction(self, "momentum")
        require_fraction(self, "ema_decay")
        for name in ("zoom", "gain"):
            require_range(self, name, 0, 0.9)
