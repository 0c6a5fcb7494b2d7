"""Last stage: from a map to boxes in pixels of the original image."""

from __future__ import annotations

import time

import cv2
import numpy as np
from numpy.typing import NDArray

from wsloc import boxes
from wsloc.errors import ItemError
from wsloc.pipeline.attributing import Attributed
from wsloc.pipeline.localizer import Localizer
from wsloc.pipeline.results import ImageResult, ItemResult, StageSeconds, Trace
from wsloc.randomness import item_seed
from wsloc.records import Failure, Localization
from wsloc.segmentation import SEGMENTERS, Component, Segmentation, largest_components, working_map
from wsloc.segmentation.seeds import FOREGROUND


def cut(localizer: Localizer, file: str, attributed: Attributed) -> ImageResult:
    """The boxes of all classes of one image; never raises for a bad map.

    Args:
        localizer: of the run.
        file: what the records call the image file.
        attributed: the image and its maps.
    """
    start = time.perf_counter()
    prepared = attributed.prepared
    items = []
    for class_name in prepared.image.labels or attributed.class_names:
        if prepared.error is not None:
            items.append(_failed(attributed, file, class_name, "read", prepared.error))
        elif class_name not in attributed.class_names:
            reason = localizer.label_map.why_unusable(class_name) or "the class has no map"
            items.append(_failed(attributed, file, class_name, "saliency", reason))
        else:
            items.append(_localized(localizer, attributed, file, attributed.class_names.index(class_name)))
    if prepared.error is not None and not items:
        items.append(_failed(attributed, file, "", "read", prepared.error))
    seconds = StageSeconds(prepared.seconds, attributed.seconds, time.perf_counter() - start)
    return ImageResult(prepared.image, tuple(items), seconds)


def _localized(localizer: Localizer, attributed: Attributed, file: str, place: int) -> ItemResult:
    class_name, rgb = attributed.class_names[place], attributed.prepared.working_rgb
    assert rgb is not None
    settings = localizer.segmentation
    try:
        saliency = working_map(attributed.maps[place], (rgb.shape[0], rgb.shape[1]), settings.smoothing)
    except ItemError as error:
        return _failed(attributed, file, class_name, "saliency", str(error))
    seed = item_seed(localizer.seed, attributed.prepared.image.image_id, class_name)
    try:
        segmentation = SEGMENTERS[settings.segmenter](rgb, saliency, settings, seed)
    except (ItemError, cv2.error) as error:
        return _failed(attributed, file, class_name, "cut", " ".join(str(error).split()))
    components, fallback = _components(segmentation, settings.components, settings.component_area_share)
    if not components:
        return _failed(attributed, file, class_name, "cut", "the cut found no foreground, and the map gave no seeds")
    localizations = tuple(
        _localization(localizer, attributed, file, place, component, number, saliency, fallback)
        for number, component in enumerate(components)
    )
    mask = np.logical_or.reduce([component.mask for component in components])
    return ItemResult(class_name, localizations, None, Trace(rgb, saliency, segmentation.trimap, mask))


def _components(
    segmentation: Segmentation, count: int, least_area_share: float
) -> tuple[tuple[Component, ...], str | None]:
    """The components of the mask; where it is empty, the largest one of the seeds, named as a fallback."""
    if segmentation.mask.any():
        return largest_components(segmentation.mask, count, least_area_share), None
    return largest_components(segmentation.trimap == FOREGROUND), "seeds"


def _localization(
    localizer: Localizer,
    attributed: Attributed,
    file: str,
    place: int,
    component: Component,
    number: int,
    saliency: NDArray[np.float32],
    fallback: str | None,
) -> Localization:
    prepared = attributed.prepared
    height, width = component.mask.shape
    box = boxes.scale(component.box_xyxy, (width, height), prepared.size_wh)
    share = boxes.area(box)[0] / (prepared.size_wh[0] * prepared.size_wh[1])
    x0, y0, x1, y1 = box[0].tolist()
    return Localization(
        image_id=prepared.image.image_id,
        file=file,
        class_name=attributed.class_names[place],
        box_xyxy=(x0, y0, x1, y1),
        probability=attributed.probabilities[place],
        quality=contrast(saliency, component.mask),
        area_share=float(share),
        method=localizer.method_name,
        segmenter=localizer.segmentation.segmenter,
        fallback=fallback,
        component=number,
        size_wh=prepared.size_wh,
    )


def contrast(saliency: NDArray[np.float32], mask: NDArray[np.bool_]) -> float:
    """Mean saliency inside the mask over the sum of the means inside and outside.

    Args:
        saliency: float32 ``(H, W)``, >= 0; NaN pixels do not count.
        mask: bool ``(H, W)``.

    Returns:
        In [0, 1]: 1 where all saliency lies inside, 0.5 where the mask says nothing (also where it is empty
        or covers everything).
    """
    covered = ~np.isnan(saliency)
    inside, outside = saliency[mask & covered], saliency[~mask & covered]
    if not inside.size or not outside.size:
        return 0.5
    mean_inside, mean_outside = float(inside.mean(dtype=np.float64)), float(outside.mean(dtype=np.float64))
    total = mean_inside + mean_outside
    return mean_inside / total if total > 0 else 0.5


def _failed(attributed: Attributed, file: str, class_name: str, stage: str, reason: str) -> ItemResult:
    failure = Failure(attributed.prepared.image.image_id, file, class_name, stage, reason)
    return ItemResult(class_name, failure=failure)
