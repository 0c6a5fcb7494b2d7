"""Last stage: from maps to masks, and from masks to boxes in pixels of the original image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsloc import boxes, run_lengths
from wsloc.config import SegmentationSettings
from wsloc.devices import choose_device
from wsloc.errors import ItemError
from wsloc.pipeline.map_stage import ImageMaps
from wsloc.pipeline.read_stage import ReadImage
from wsloc.pipeline.results import ImageResult, ItemResult, Trace
from wsloc.pipeline.runner import Runner, fan_out
from wsloc.pipeline.stage import Failed
from wsloc.plugins import bind_entry
from wsloc.records import Failure, ImageRecord, Localization
from wsloc.registries import SEGMENTERS
from wsloc.segmentation import (
    Component,
    CutInput,
    Segmentation,
    Segmenter,
    agreement,
    largest_components,
    working_map,
)
from wsloc.segmentation.seeds import FOREGROUND


@dataclass(frozen=True, slots=True, eq=False)
class PairMap:
    """One (image, class) pair with its map.

    Attributes:
        read: the image.
        class_name: what to look for in it.
        saliency: float32 ``(h, w)`` over the whole image; NaN where undecided.
        probability: of the class, in [0, 1].
        rank: of the class among all, from 1; None if there is only one.
    """

    read: ReadImage
    class_name: str
    saliency: NDArray[np.float32]
    probability: float
    rank: int | None


@dataclass(frozen=True, eq=False)
class CutStage:
    """Cuts the object of each pair out of its image.

    Attributes:
        settings: from map to boxes.
        method: saliency method, for the records.
        device: name of the device, for segmenters that use it.
    """

    settings: SegmentationSettings
    method: str
    device: str = "auto"
    name: str = "cut"

    @cached_property
    def segmenter(self) -> Segmenter:
        """The segmenter that the settings name, bound at the first call."""
        device = choose_device(self.device)
        return bind_entry(SEGMENTERS, self.settings.segmenter, Segmenter, self.settings, device)

    @property
    def batch_size(self) -> int:
        """That of the segmenter."""
        return self.segmenter.batch_size

    @property
    def on_device(self) -> bool:
        """Whether the segmenter runs there."""
        return self.segmenter.on_device

    def __getstate__(self) -> dict[str, Any]:
        """The settings alone, so that each process binds its own segmenter."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def group(self, pair: PairMap) -> tuple[int, ...]:
        """Pairs whose working images have one size share a batch."""
        return pair.read.working_rgb.shape

    def __call__(self, pairs: Sequence[PairMap]) -> list[ItemResult | Failed]:
        """The boxes of some pairs; never raises for a bad map."""
        inputs = [self._input(pair) for pair in pairs]
        masks = iter(self.segmenter.segment([given for given in inputs if isinstance(given, CutInput)]))
        return [
            given if isinstance(given, Failed) else self._boxes(pair, given, next(masks))
            for pair, given in zip(pairs, inputs, strict=True)
        ]

    def _input(self, pair: PairMap) -> CutInput | Failed:
        image, rgb = pair.read.image, pair.read.working_rgb
        try:
            saliency = working_map(pair.saliency, (rgb.shape[0], rgb.shape[1]), self.settings.smoothing)
        except ItemError as error:
            return Failed(image, "saliency", str(error))
        return CutInput(rgb, saliency)

    def _boxes(self, pair: PairMap, given: CutInput, cut: Segmentation | ItemError) -> ItemResult | Failed:
        if isinstance(cut, ItemError):
            return Failed(pair.read.image, self.name, str(cut))
        count = None if self.settings.components == "all" else self.settings.components
        components, fallback = components_of(cut, count, self.settings.component_area_fraction)
        if not components:
            return Failed(pair.read.image, self.name, "the cut found no foreground, and the map gave no seeds")
        mask = np.logical_or.reduce([component.mask for component in components])
        localizations = tuple(
            # What the other boxes explain says nothing against this one.
            self._localization(pair, without(given.saliency, mask & ~component.mask), component, index, fallback)
            for index, component in enumerate(components)
        )
        trace = Trace(given.image_rgb, pair.saliency, given.saliency, cut.trimap, mask)
        return ItemResult(pair.class_name, localizations, trace=trace)

    def _localization(
        self, pair: PairMap, saliency: NDArray[np.float32], component: Component, index: int, fallback: str | None
    ) -> Localization:
        image, size_wh = pair.read.image, pair.read.size_wh
        height, width = component.mask.shape
        # Clipped, since the scale may round to just beyond the border.
        box = boxes.clip(boxes.scale(component.box_xyxy, (width, height), size_wh), size_wh)
        x0, y0, x1, y1 = box[0].tolist()
        return Localization(
            image_id=image.image_id,
            file=image.file,
            class_name=pair.class_name,
            box_xyxy=(x0, y0, x1, y1),
            probability=pair.probability,
            quality=agreement(saliency, component.mask),
            area_fraction=float(boxes.area(box)[0] / (size_wh[0] * size_wh[1])),
            method=self.method,
            segmenter=self.settings.segmenter,
            fallback=fallback,
            component=index,
            size_wh=size_wh,
            rank=pair.rank,
            mask_rle=run_lengths.encode(component.mask),
        )


def without(saliency: NDArray[np.float32], pixels: NDArray[np.bool_]) -> NDArray[np.float32]:
    """A map ``(H, W)`` that is undecided (NaN) at some of its pixels."""
    return np.where(pixels, np.float32(np.nan), saliency)


def components_of(
    segmentation: Segmentation, count: int | None, min_area_fraction: float
) -> tuple[tuple[Component, ...], str | None]:
    """The components of the mask; where it is empty, the largest one of the seeds, named as a fallback."""
    if segmentation.mask.any():
        return largest_components(segmentation.mask, count, min_area_fraction), None
    return largest_components(segmentation.trimap == FOREGROUND), "seeds"


def cut_maps(
    stage: CutStage, images: Iterable[ImageMaps | Failed], runner: Runner, why_no_map: Callable[[str], str | None]
) -> Iterator[ImageResult]:
    """The boxes of all classes of all images, in order.

    Args:
        stage: the segmenter.
        images: with their maps.
        runner: how stages are run.
        why_no_map: says why the network has no map of a class.
    """

    def split(image: ImageMaps) -> list[PairMap | Failed]:
        pairs: list[PairMap | Failed] = [
            PairMap(image.read, name, image.maps[name], image.probabilities[name], image.ranks[name])
            if name in image.maps
            else Failed(image.read.image, "saliency", why_no_map(name) or "the class has no map")
            for name in image.read.class_names
        ]
        return pairs or [Failed(image.read.image, "saliency", "nothing was asked for")]

    def join(image: ImageMaps, answers: Sequence[ItemResult | Failed]) -> ImageResult:
        items = (
            failed_item(answer, name, image.ranks.get(name)) if isinstance(answer, Failed) else answer
            for name, answer in zip(image.read.class_names, answers, strict=False)
        )
        return ImageResult(image.read.image, tuple(items), image)

    for result in fan_out(images, split, partial(runner.run, stage), join):
        yield failed_image(result) if isinstance(result, Failed) else result


def failed_image(failed: Failed) -> ImageResult:
    """An image that could not be read: each of its labels fails for the same reason."""
    items = tuple(failed_item(failed, name) for name in failed.image.labels or ("",))
    return ImageResult(failed.image, items)


def failed_item(failed: Failed, class_name: str, rank: int | None = None) -> ItemResult:
    """The record of a failure; ``rank`` is that of the class, where the network was asked."""
    image: ImageRecord = failed.image
    failure = Failure(image.image_id, image.file, class_name, failed.stage, failed.reason, rank)
    return ItemResult(class_name, failure=failure)
