"""Last stage: from a map to boxes in pixels of the original image."""

from __future__ import annotations

import time

import cv2
import numpy as np
from numpy.typing import NDArray

from wsloc import boxes, run_lengths
from wsloc.errors import ItemError, one_line
from wsloc.pipeline.localizer import Localizer
from wsloc.pipeline.reading import PreparedImage
from wsloc.pipeline.results import ImageResult, ItemResult, StageSeconds, Trace
from wsloc.pipeline.saliency_maps import ImageMaps
from wsloc.records import Failure, Localization
from wsloc.seeding import stable_hash
from wsloc.segmentation import SEGMENTERS, Component, Segmentation, agreement, largest_components, working_map
from wsloc.segmentation.seeds import FOREGROUND


def cut(localizer: Localizer, image_maps: ImageMaps) -> ImageResult:
    """The boxes of all classes of one image; never raises for a bad image or map."""
    start = time.perf_counter()
    prepared = image_maps.prepared
    items = []
    for class_name in prepared.image.labels or tuple(image_maps.maps):
        if prepared.error is not None:
            items.append(_failed(prepared, class_name, "read", prepared.error))
        elif class_name not in image_maps.maps:
            reason = localizer.label_map.why_unusable(class_name) or "the class has no map"
            items.append(_failed(prepared, class_name, "saliency", reason))
        else:
            items.append(_localized(localizer, image_maps, class_name))
    if prepared.error is not None and not items:
        items.append(_failed(prepared, "", "read", prepared.error))
    seconds = StageSeconds(prepared.seconds, image_maps.seconds, time.perf_counter() - start)
    return ImageResult(prepared.image, tuple(items), seconds)


def _localized(localizer: Localizer, image_maps: ImageMaps, class_name: str) -> ItemResult:
    prepared, settings = image_maps.prepared, localizer.segmentation
    rgb = prepared.working_rgb
    assert rgb is not None
    try:
        saliency = working_map(image_maps.maps[class_name], (rgb.shape[0], rgb.shape[1]), settings.smoothing)
    except ItemError as error:
        return _failed(prepared, class_name, "saliency", str(error))
    seed = stable_hash(localizer.seed, prepared.image.image_id, class_name)
    try:
        segmentation = SEGMENTERS[settings.segmenter](rgb, saliency, settings, seed)
    except (ItemError, cv2.error) as error:
        return _failed(prepared, class_name, "cut", one_line(error))
    components, fallback = _components(segmentation, settings.components, settings.component_area_fraction)
    if not components:
        return _failed(prepared, class_name, "cut", "the cut found no foreground, and the map gave no seeds")
    localizations = tuple(
        _localization(localizer, image_maps, class_name, saliency, component, number, fallback)
        for number, component in enumerate(components)
    )
    mask = np.logical_or.reduce([component.mask for component in components])
    return ItemResult(
        class_name, localizations, None, Trace(rgb, image_maps.maps[class_name], saliency, segmentation.trimap, mask)
    )


def _components(
    segmentation: Segmentation, count: int, min_area_fraction: float
) -> tuple[tuple[Component, ...], str | None]:
    """The components of the mask; where it is empty, the largest one of the seeds, named as a fallback."""
    if segmentation.mask.any():
        return largest_components(segmentation.mask, count, min_area_fraction), None
    return largest_components(segmentation.trimap == FOREGROUND), "seeds"


def _localization(
    localizer: Localizer,
    image_maps: ImageMaps,
    class_name: str,
    saliency: NDArray[np.float32],
    component: Component,
    number: int,
    fallback: str | None,
) -> Localization:
    prepared = image_maps.prepared
    height, width = component.mask.shape
    # Clipped, since the scale may round to just beyond the border.
    box = boxes.clip(boxes.scale(component.box_xyxy, (width, height), prepared.size_wh), prepared.size_wh)
    fraction = boxes.area(box)[0] / (prepared.size_wh[0] * prepared.size_wh[1])
    x0, y0, x1, y1 = box[0].tolist()
    return Localization(
        image_id=prepared.image.image_id,
        file=prepared.image.file,
        class_name=class_name,
        box_xyxy=(x0, y0, x1, y1),
        probability=image_maps.probabilities[class_name],
        quality=agreement(saliency, component.mask),
        area_fraction=float(fraction),
        method=localizer.method_name,
        segmenter=localizer.segmentation.segmenter,
        fallback=fallback,
        component=number,
        size_wh=prepared.size_wh,
        rank=image_maps.ranks[class_name],
        mask_rle=run_lengths.encode(component.mask),
    )


def _failed(prepared: PreparedImage, class_name: str, stage: str, reason: str) -> ItemResult:
    failure = Failure(prepared.image.image_id, prepared.image.file, class_name, stage, reason)
    return ItemResult(class_name, failure=failure)
