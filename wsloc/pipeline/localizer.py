"""The stages of a run, put together once from its configuration."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from wsloc.classifiers import Classifier, Preprocessing
from wsloc.classifiers.preprocessing import MakeViews
from wsloc.config import LocalizeConfig, SaliencySettings
from wsloc.errors import UserError
from wsloc.pipeline.batch_size import chosen_batch_size
from wsloc.pipeline.cut_stage import CutStage, cut_maps
from wsloc.pipeline.map_stage import ImageMaps, MapStage
from wsloc.pipeline.model import BoundModel, Model, input_shapes
from wsloc.pipeline.read_stage import ReadImage, ReadStage
from wsloc.pipeline.refine_stage import RefineStage
from wsloc.pipeline.results import ImageResult
from wsloc.pipeline.runner import Runner
from wsloc.pipeline.stage import Failed
from wsloc.records import AskedClasses, ImageRecord
from wsloc.registries import VIEWS

Maps = Iterable[ImageMaps | Failed]


class MapSource(Protocol):
    """Where maps come from: a network, or a store."""

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers whose features come with the maps."""

    def compute(self, images: Iterable[ReadImage | Failed], runner: Runner) -> Iterator[ImageMaps | Failed]:
        """The maps of images, in order."""

    def why_no_map(self, class_name: str) -> str | None:
        """Why there is no map of a class; None if there may be one."""

    def identity(self) -> dict[str, Any]:
        """What identifies these maps, for manifests. ``network`` is the classifier's name."""

    def without_substitute(self) -> list[tuple[str, str]]:
        """The classes that have no true substitute among the network's outputs, each with a note."""

    def changes(self) -> dict[str, Any]:
        """Settings that could not be kept, as they were used in the end, for manifests."""

    def ranked_classes(self) -> int | None:
        """Among how many classes the network ranks the labels of an image; None if it was not asked for labels."""


@dataclass(frozen=True, slots=True, eq=False)
class Localizer:
    """From an image and a class to boxes: the stages.

    Attributes:
        read: decodes images.
        maps: makes their maps.
        cut: makes boxes of maps.
        refine: makes better maps by what was learned over the set; None for none.
        window: how many items a CPU stage may run ahead.
    """

    read: ReadStage
    maps: MapSource
    cut: CutStage
    refine: RefineStage | None = None
    window: int = 32

    @property
    def asks_network(self) -> bool:
        """Whether maps come from a network, not from a store."""
        return isinstance(self.maps, MapStage)

    @property
    def network(self) -> MapStage:
        """The stage that asks the network.

        Raises:
            UserError: if the maps come from a store.
        """
        if not isinstance(self.maps, MapStage):
            raise UserError("This needs the network, but the run took its maps from another one: give that run.")
        return self.maps

    @property
    def model(self) -> BoundModel:
        """The network with its method; raises as :attr:`network`."""
        return self.network.model.bound

    def with_layers(self, layers: Sequence[str]) -> Localizer:
        """The same stages, whose maps come with the features of named modules; raises as :attr:`network`."""
        return replace(self, maps=replace(self.network, layers=tuple(layers)))

    def compute_maps(self, images: Iterable[ImageRecord], runner: Runner) -> Iterator[ImageMaps | Failed]:
        """The first half: images are read and get their maps, which are refined."""
        maps = self.maps.compute(runner.run(self.read, images), runner)
        return maps if self.refine is None else runner.run(self.refine, maps)

    def cut_maps(self, maps: Maps, runner: Runner) -> Iterator[ImageResult]:
        """The second half: maps are cut."""
        return cut_maps(self.cut, maps, runner, self.maps.why_no_map)


def make_localizer(
    config: LocalizeConfig,
    classes: AskedClasses | Sequence[str],
    classifier: Classifier | None = None,
) -> Localizer:
    """Load the classifier and map classes to its outputs.

    Args:
        config: all settings.
        classes: what will be looked for; empty for all that the classifier knows.
        classifier: your own; None to load what the configuration names.

    Raises:
        UserError: if anything is wrong with the device, the network, its weights or the classes.
    """
    asked = classes if isinstance(classes, AskedClasses) else AskedClasses(tuple(classes))
    model = Model(config.classifier, config.saliency, config.compute, asked, classifier)
    top_k = None if config.data.targets == "labels" else int(config.data.targets.removeprefix("top"))
    cut = bound_cut(config)
    preprocessing = model.bound.classifier.preprocessing
    read = read_stage(config, preprocessing)
    largest = max(input_shapes(preprocessing, config.saliency.views), key=math.prod)
    batch_size = chosen_batch_size(config.compute.batch_size, model.bound, largest)
    return Localizer(
        read,
        MapStage(model, batch_size, config.compute.seed, top_k),
        cut,
        window=2 * batch_size,
    )


def read_stage(config: LocalizeConfig, preprocessing: Preprocessing | None) -> ReadStage:
    """The first stage; without what a network expects, it makes no views.

    Raises:
        UserError: if images would be decoded smaller than the network or the cut sees them.
    """
    views, working_size = config.saliency.views, config.segmentation.working_size
    decode_side, needed = config.compute.decode_side, working_size
    if preprocessing is not None:
        make_views: MakeViews = VIEWS[views]
        seen = make_views(np.zeros((64, 64, 3), dtype=np.uint8), preprocessing)
        needed = max(working_size, *seen.frame_hw, *(side for view in seen.views for side in view.pixels.shape[1:]))
    if decode_side is not None and decode_side < needed:
        raise UserError(
            f"`decode_side={decode_side}` is less than the {needed} pixels at which the network or the cut sees an "
            f"image; give at least {needed}."
        )
    return ReadStage(working_size, None if preprocessing is None else views, preprocessing, decode_side)


def bound_cut(config: LocalizeConfig) -> CutStage:
    """The last stage, its segmenter bound: a refusal must come before the first image.

    Raises:
        UserError: if there is no such segmenter, or it cannot be bound.
    """
    method = method_name(config.saliency)
    stage = CutStage(config.segmentation, method, config.compute.device)
    _ = stage.segmenter
    return stage


def localize_images(
    localizer: Localizer,
    images: Iterable[ImageRecord],
    runner: Runner | None = None,
) -> Iterator[ImageResult]:
    """Localize the labeled classes (or the classifier's best) of images, in their order.

    Args:
        localizer: the stages.
        images: any number of them.
        runner: how stages are run; None to read and cut between the batches. It changes no result.

    Yields:
        One result per image. Bad images come as failures, never as exceptions.

    Raises:
        UserError: if the device runs out of memory.
    """
    runner = runner or Runner(window=localizer.window)
    return localizer.cut_maps(localizer.compute_maps(images, runner), runner)


def method_name(settings: SaliencySettings) -> str:
    """Short, for run folders and tables: both names where two methods are combined."""
    if settings.second_method is None:
        return settings.method
    return f"{settings.method}-{'x' if settings.combine == 'product' else 'and'}-{settings.second_method}"
