"""The whole configuration of a run: frozen dataclasses of plain values.

Each field is a flag (with dashes for underscores) and a key of the YAML files. Names are unique over all groups, so
both stay flat. The text under a field is its help. Nothing heavy is imported here, so that the help is fast.

:mod:`wsloc.cli.options` reads the flags and the YAML files into these classes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path
from typing import Annotated, Literal

import tyro

from wsloc.machine_settings import MachineSettings
from wsloc.registries import DATASETS, FORMATS, METHODS, REFINERS, SEGMENTERS, VIEWS
from wsloc.setting_checks import one_of, optional, require, require_above, require_range

Combination = Literal["product", "mean"]
OcclusionFill = Literal["data-mean", "image-mean", "blur"]
MapKind = Literal["float32", "float16", "wsol"]
MaskValues = Literal["nonzero", "trimap"]
USUAL_BATCH_SIZE = 16


@dataclass(frozen=True)
class DataSettings:
    """Which images, and which classes in them."""

    dataset: Annotated[str | None, one_of(DATASETS, "none")] = None
    """data set: demo (created on first use), voc, coco, imagenet (CLS-LOC), cub, folder (your own images),
    webdataset (tars), or wsol"""
    root: Annotated[Path | None, optional("DIR", "data, or a folder inside it")] = None
    """folder of the data set; for voc the one that contains VOCdevkit, for coco the one that contains annotations; for
    webdataset also a tar, or a pattern in quotes such as 'train-{0000..0009}.tar'"""
    year: Literal["2007", "2012"] = "2012"
    """voc: year of the data set"""
    split: Annotated[str | None, optional("NAME", "the evaluation split, see docs/formats.md")] = None
    """part of the data set, such as train, val or test; voc: a list in ImageSets/Main; folder: a folder of classes;
    webdataset: a word in the names of the tars"""
    download: bool = False
    """voc: first download the data set into its folder, with torchvision"""
    labels: Annotated[Path | None, optional("CSV", "sub-folders are classes")] = None
    """folder: CSV file with rows image,label[;label...]; or JSON lines (.jsonl), or Parquet (.parquet); webdataset:
    text file with the names of the classes, one per line, for labels that are numbers from 0"""
    image_column: Annotated[str | None, optional("NAME", "by the usual names")] = None
    """folder: header of the column of the CSV file that names the images"""
    label_column: Annotated[str | None, optional("NAME", "by the usual names")] = None
    """folder: header of the column of the CSV file that has the labels; webdataset: field of the .json that has them"""
    annotations: Annotated[Path | None, optional("PATH", "below the root")] = None
    """coco: the instances JSON file; wsol: the folder of the text tables; others: true boxes, in a COCO JSON file"""
    boxes: Annotated[Path | None, optional("CSV", "none")] = None
    """folder, webdataset: true boxes for the evaluation, rows image,class,x0,y0,x1,y1 (half-open, 0-based pixels)"""
    masks: Annotated[Path | None, optional("DIR", "none; for wsol the root")] = None
    """folder, webdataset: true masks for the evaluation, IMAGE.png or CLASS/IMAGE.png; wsol: mask folder"""
    mask_values: MaskValues = "nonzero"
    """folder, webdataset: what is object in the masks: nonzero values, or the 1 of a trimap (2: background, 3:
    neither)"""
    images: Annotated[str | None, optional("GLOB|DIR", "none")] = None
    """your own images without a data set, such as 'photos/*.jpg'; needs a class, or targets topK"""
    class_name: Annotated[
        str | None, tyro.conf.arg(name="class", metavar="NAME", help_behavior_hint="(default: none)")
    ] = None
    """look for this class in every image, regardless of its labels"""
    targets: str = "labels"
    """classes to look for: labels (the image-level labels), or topK such as top5 (the classifier's top K)"""
    classes: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME...", help_behavior_hint="(default: all)")] = ()
    """use only these classes"""
    truncated_images: Literal["refuse", "accept"] = "refuse"
    """accept: read what there is of JPEG files that end too early; the rest is gray"""
    ids: Annotated[Path | None, optional("FILE", "all")] = None
    """use only the images whose ids this text file lists, one per line"""
    limit: Annotated[int | None, optional("N", "all")] = None
    """use only the first N images (>= 1)"""

    def __post_init__(self) -> None:
        if self.dataset is not None:
            DATASETS.require(self.dataset)
        require_range(self, "limit", 1)
        require(
            self.targets == "labels" or re.fullmatch(r"top([1-9]|[1-4]\d|50)", self.targets) is not None,
            f"`targets` must be labels, or top1 to top50, not {self.targets!r}.",
        )
        require(
            self.class_name is None or self.targets == "labels",
            f"`class_name` looks for one class, but `targets={self.targets!r}` looks for the classifier's "
            "top classes: give only one of them.",
        )


@dataclass(frozen=True)
class ClassifierSettings:
    """The network, its inputs, and the meaning of its outputs."""

    arch: str = "resnet50"
    """network: a torchvision name, timm:NAME, package.module:function (which returns an nn.Module), or demo"""
    weights: Annotated[Path | None, optional("FILE", "torchvision's, downloaded on first use")] = None
    """weights file, .pth or .safetensors"""
    checkpoint: Annotated[Path | None, optional("FILE", "none")] = None
    """classifier from wsloc train-classifier: network, classes, and preprocessing in one file; replaces arch, weights,
    and the classes file"""
    classes_file: Annotated[Path | None, optional("FILE", "the names in the weights")] = None
    """text file that names the network's outputs, one per line"""
    label_map: Annotated[str | None, optional("NAME|FILE", "by name, then the built-in map")] = None
    """from data-set classes to network outputs: voc, coco, imagenet, or a YAML or JSON file"""
    activation: Annotated[
        Literal["softmax", "sigmoid"] | None, optional("softmax|sigmoid", "from the weights, or softmax")
    ] = None
    """function that turns the network's outputs into probabilities"""
    input_size: Annotated[int | None, optional("N", "from the weights, or 224")] = None
    """side of the network's input in pixels; with resize short-side, the shorter side (>= 16)"""
    resize: Annotated[
        Literal["squash", "short-side"] | None, optional("squash|short-side", "from the checkpoint, or squash")
    ] = None
    """how the whole image is resized to the input size: squash (both sides), or short-side (keeps the aspect ratio)"""
    mean: Annotated[tuple[float, ...] | None, optional("X...", "from the weights, or ImageNet's")] = None
    """channel means of the normalization, for values in [0, 1]; one number for a grayscale network"""
    std: Annotated[tuple[float, ...] | None, optional("X...", "from the weights, or ImageNet's")] = None
    """channel standard deviations of the normalization; one number for a grayscale network"""
    layer: Annotated[str | None, optional("NAME", "none")] = None
    """use a unit of this layer, named as in named_modules(), as the target instead of the classes; needs a unit"""
    unit: Annotated[tuple[int, ...], tyro.conf.arg(metavar="K [INDEX...]", help_behavior_hint="(default: none)")] = ()
    """the unit of the layer: K for a whole channel (its mean), K ROW COLUMN for one neuron of a feature map"""

    def __post_init__(self) -> None:
        require_range(self, "input_size", 16, unit=" pixels")
        require(
            self.std is None or all(value > 0 for value in self.std),
            "`std` must hold positive numbers.",
        )
        require(
            self.checkpoint is None or (self.weights is None and self.classes_file is None),
            "`checkpoint` contains its own weights and classes: leave out `weights` and `classes_file`.",
        )
        require((self.layer is None) == (not self.unit), "`layer` and `unit` belong together: give both.")
        require(all(number >= 0 for number in self.unit), "`unit` takes integers from 0 up.")

    @property
    def unit_name(self) -> str:
        """The name of the unit in place of a class, such as ``features.3 unit 7``."""
        return f"{self.layer} unit {' '.join(map(str, self.unit))}"


@dataclass(frozen=True)
class SaliencySettings:
    """How the saliency map is computed."""

    method: Annotated[str, one_of(METHODS)] = "gradient"
    """saliency method"""
    second_method: Annotated[str | None, optional("METHOD", "none")] = None
    """second saliency method, whose map is combined with that of the first"""
    combine: Combination = "product"
    """how the maps of two methods are combined (mean: each map is divided by its maximum first)"""
    views: Annotated[str, one_of(VIEWS)] = "whole"
    """views of the image whose maps are averaged: whole, mirror (adds the mirror image), ten-crop, multi-scale, large
    (10/7 of the input size, aspect ratio kept), or large-mirror"""
    maps: Annotated[Path | None, optional("RUN", "none")] = None
    """cut the saved maps of this run (save_maps) again, without a network; its settings become the defaults"""
    cam_layers: Annotated[
        tuple[str, ...], tyro.conf.arg(metavar="NAME...", help_behavior_hint="(default: found automatically)")
    ] = ()
    """grad-cam and similar: layers whose features are used, as in named_modules(); the maps of several are fused"""
    score_cam_channels: Annotated[int | None, optional("N", "all")] = None
    """score-cam: use only the N channels that vary most over the image (>= 1)"""
    smoothgrad_samples: int = 25
    """smoothgrad: number of noisy copies of the image (>= 1)"""
    smoothgrad_noise: float = 0.15
    """smoothgrad: standard deviation of the noise, as a fraction of the range of the image's values (> 0)"""
    integrated_steps: int = 32
    """integrated-gradients: number of points on the path from the mean image (>= 1)"""
    occlusion_patch: int = 48
    """occlusion: side of the patch in pixels of the network's input (>= 1)"""
    occlusion_stride: int = 16
    """occlusion: stride of the patch in pixels of the network's input (>= 1, at most the patch)"""
    occlusion_fill: OcclusionFill = "data-mean"
    """occlusion: fill of the patch: the mean color of the training data, that of the image, or the blurred image"""
    rise_masks: int = 2000
    """rise: number of random masks (>= 1)"""
    rise_grid: int = 7
    """rise: number of cells along each side of a mask (>= 1)"""
    rise_fraction: float = 0.5
    """rise: fraction of the cells that are kept (0 to 1)"""

    def __post_init__(self) -> None:
        METHODS.require(self.method)
        if self.second_method is not None:
            METHODS.require(self.second_method)
        VIEWS.require(self.views)
        require(not isinstance(self.cam_layers, str), "`cam_layers` takes a tuple of names, such as ('layer4',).")
        counts = "smoothgrad_samples", "integrated_steps", "occlusion_patch", "rise_masks", "rise_grid"
        for name in (*counts, "score_cam_channels"):
            require_range(self, name, 1)
        require_above(self, "smoothgrad_noise", 0)
        require(
            1 <= self.occlusion_stride <= self.occlusion_patch,
            "`occlusion_stride` must be between 1 and `occlusion_patch`, so that no pixel is left out, not "
            f"{self.occlusion_stride} with a patch of {self.occlusion_patch}.",
        )
        require(0 < self.rise_fraction < 1, f"`rise_fraction` must be between 0 and 1, not {self.rise_fraction}.")


@dataclass(frozen=True)
class RefinementSettings:
    """A step between maps and cut that learns over the whole set."""

    refiner: Annotated[str | None, one_of(REFINERS, "none")] = None
    """learns from the whole set to improve the maps: pixel-classifier; or the refiner.safetensors of an earlier run, to
    apply what it learned"""
    feature_layers: Annotated[
        tuple[str, ...], tyro.conf.arg(metavar="NAME...", help_behavior_hint="(default: the refiner's own)")
    ] = ()
    """layers whose features the refiner reads, named as in named_modules()"""

    def __post_init__(self) -> None:
        if self.refiner is not None and self.learns:
            REFINERS.require(self.refiner)
        require(self.refiner is not None or not self.feature_layers, "`feature_layers` is only for a `refiner`.")

    @property
    def fitted(self) -> bool:
        """Whether the refiner is one that an earlier run fitted."""
        return self.refiner is not None and self.refiner.endswith(".safetensors")

    @property
    def learns(self) -> bool:
        """Whether there is a refiner that this run has to fit."""
        return self.refiner is not None and not self.fitted


@dataclass(frozen=True)
class SegmentationSettings:
    """How the map becomes a mask and the mask becomes a box."""

    segmenter: Annotated[str, one_of(SEGMENTERS)] = "grabcut"
    """grabcut (first in a small image), grabcut-plain (only at the working size), grabcut-torch (grabcut of a batch
    at once, on the device), grabcut-by-value (seeds by values of the map, not ranks), graphcut-2013 (one cut, as in
    Simonyan et al.), or threshold (no cut)"""
    foreground_quantile: float = 0.95
    """pixels above this quantile of the map are foreground seeds (0 to 1)"""
    background_quantile: float = 0.30
    """pixels below this quantile of the map are background seeds (0 to 1)"""
    smoothing: float = 0.01
    """sigma of the Gaussian that smooths the map, as a fraction of the image's longer side (0 to 0.2; 0: none)"""
    working_size: int = 224
    """longer side, in pixels, of the image for the cut (32 to 4096)"""
    cut_iterations: int = 5
    """grabcut...: maximum number of iterations; it stops early when the labels no longer change (1 to 100)"""
    clamp_foreground_quantile: float = 0.995
    """graphcut-2013: pixels above this quantile are clamped to foreground (0 to 1)"""
    clamp_background_quantile: float = 0.005
    """graphcut-2013: pixels below this quantile are clamped to background (0 to 1)"""
    foreground_value: float = 0.9
    """grabcut-by-value: pixels above this fraction of the map's maximum are foreground seeds (0 to 1)"""
    background_value: float = 0.1
    """grabcut-by-value: pixels below this fraction of the map's maximum are background seeds (0 to 1)"""
    threshold: float = 0.25
    """threshold, grabcut-by-value: pixels above this fraction of the maximum are (probable) foreground (0 to 1)"""
    components: Annotated[int | Literal["all"], tyro.conf.arg(metavar="N|all")] = 1
    """maximum number of connected components that become boxes, largest first (>= 1), or all"""
    component_area_fraction: float = 0.01
    """minimum area of the second and later components, as a fraction of the image (0 to 1)"""

    def __post_init__(self) -> None:
        SEGMENTERS.require(self.segmenter)
        require(
            0 < self.background_quantile < self.foreground_quantile < 1,
            "`background_quantile` must be below `foreground_quantile`, both between 0 and 1, not "
            f"{self.background_quantile} and {self.foreground_quantile}.",
        )
        require(
            0 <= self.clamp_background_quantile < self.clamp_foreground_quantile <= 1,
            "`clamp_background_quantile` must be below `clamp_foreground_quantile`, both from 0 to 1, not "
            f"{self.clamp_background_quantile} and {self.clamp_foreground_quantile}.",
        )
        require(
            0 <= self.background_value < self.foreground_value <= 1,
            "`background_value` must be below `foreground_value`, both from 0 to 1, not "
            f"{self.background_value} and {self.foreground_value}.",
        )
        require_range(self, "smoothing", 0, 0.2)
        require_range(self, "working_size", 32, 4096, unit=" pixels")
        require_range(self, "cut_iterations", 1, 100)
        require(0 < self.threshold < 1, f"`threshold` must be between 0 and 1, not {self.threshold}.")
        require(
            self.components == "all" or (isinstance(self.components, Integral) and self.components >= 1),
            f"`components` must be all or a whole number of at least 1, not {self.components!r}.",
        )
        require_range(self, "component_area_fraction", 0, 1)


@dataclass(frozen=True)
class ComputeSettings:
    """Where and how the work is done; all of it except the number of workers can change results."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """device of the network (auto: cuda or mps if available)"""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """arithmetic of the network; the last two use autocast and are not exact"""
    batch_size: Annotated[int | Literal["auto"], tyro.conf.arg(metavar="N|auto")] = USUAL_BATCH_SIZE
    """network inputs per batch (>= 1), or auto: up to 64 on cuda, as many as its memory holds, and 16 elsewhere"""
    decode_side: Annotated[int | None, optional("N", "at full size")] = None
    """decode JPEG files at 1/2, 1/4, or 1/8 of their size where both sides keep at least N pixels, such as 448; faster
    for large photographs, not exact (>= 32)"""
    workers: Annotated[int | None, optional("N", "as many as the cores allow")] = None
    """threads that read images and cut, at most the number of cores (>= 0; 0: none)"""
    seed: int = 0
    """random seed of the run"""

    def __post_init__(self) -> None:
        require(
            self.batch_size == "auto" or (isinstance(self.batch_size, Integral) and self.batch_size >= 1),
            f"`batch_size` must be auto or a whole number of at least 1, not {self.batch_size!r}.",
        )
        require_range(self, "decode_side", 32, unit=" pixels")
        require_range(self, "workers", 0)


@dataclass(frozen=True)
class FolderSettings:
    """Where the results go."""

    out: Annotated[Path | None, optional("DIR", "a new one in runs, named after what is done")] = None
    """run folder"""
    resume: bool = False
    """resume an unfinished run: the given run folder, or the newest one with the same configuration"""
    overwrite: bool = False
    """replace the run folder if it exists"""
    dry_run: bool = False
    """try only the first items, and say how many there are, how long all take, and how much disk space; keep nothing"""
    log_level: Literal["info", "debug"] = "info"
    """what log.txt in the run folder holds: notes and warnings (info), or also each part and epoch (debug)"""

    def __post_init__(self) -> None:
        require(not (self.resume and self.overwrite), "`resume` and `overwrite` exclude each other: give only one.")
        require(not (self.dry_run and self.resume), "`dry_run` and `resume` exclude each other: give only one.")


@dataclass(frozen=True)
class OutputSettings(FolderSettings):
    """What is written, and where."""

    overlays: int = 0
    """write pictures of all items of the first N images: boxes, map, seeds, and mask (>= 0)"""
    save_maps: Annotated[MapKind | None, optional("[KIND]", "none; float32 without KIND")] = None
    """save the saliency maps: float32, float16 (not exact), or wsol (224 x 224 in [0, 1], for wsolevaluation)"""
    report: bool = False
    """write report.html and report.md at the end"""
    export: Annotated[str | None, one_of(FORMATS, "none")] = None
    """export the boxes to exports/FORMAT in the run folder at the end, with the defaults of wsloc export"""
    checkpoint_every: int = 256
    """number of images per part of the results; a killed run loses one part, and what it was ahead (>= 1)"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.export is not None:
            FORMATS.require(self.export)
        require_range(self, "overlays", 0)
        require_range(self, "checkpoint_every", 1)


@dataclass(frozen=True)
class LocalizeConfig:
    """Localize every labeled class of every image, and evaluate the boxes if there is ground truth."""

    config: Annotated[Path | None, optional("FILE", "none")] = None
    """YAML file of settings; it overrides configs/DATASET.yaml and the preset, and flags override it"""
    preset: Literal["fast", "default", "best"] = "default"
    """settings from configs/PRESET.yaml: default (map, seeds, GrabCut, largest component), fast (a smaller cut), or
    best (learns over the whole set first)"""
    data: DataSettings = field(default_factory=DataSettings)
    classifier: ClassifierSettings = field(default_factory=ClassifierSettings)
    saliency: SaliencySettings = field(default_factory=SaliencySettings)
    refinement: RefinementSettings = field(default_factory=RefinementSettings)
    segmentation: SegmentationSettings = field(default_factory=SegmentationSettings)
    compute: ComputeSettings = field(default_factory=ComputeSettings)
    output: OutputSettings = field(default_factory=OutputSettings)
    machines: MachineSettings = field(default_factory=MachineSettings)
