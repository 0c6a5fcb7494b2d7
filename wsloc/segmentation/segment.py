"""From working images and their maps to masks, by any of the segmenters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from wsloc.config import SegmentationSettings
from wsloc.errors import ItemError, one_line
from wsloc.segmentation.graphcut import grabcut, grabcut_plain, graphcut_2013, has_samples
from wsloc.segmentation.seeds import is_foreground, make_seeds, value_seeds

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, eq=False)
class CutInput:
    """One item to be segmented.

    Attributes:
        image_rgb: uint8 ``(H, W, 3)``.
        saliency: float32 ``(H, W)``, >= 0, maximum 1; NaN where undecided.
    """

    image_rgb: NDArray[np.uint8]
    saliency: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Segmentation:
    """A mask and where it came from, both at working resolution.

    Attributes:
        mask: bool ``(H, W)``.
        trimap: uint8 ``(H, W)``, the seeds in OpenCV's codes; for a threshold the mask's own pixels.
    """

    mask: NDArray[np.bool_]
    trimap: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Segmenter:
    """A segmenter with its settings.

    Attributes:
        segment: one answer per item, in order; an item without a mask is an :class:`ItemError`. All images of a call
            have one size.
        batch_size: maximum number of items per call.
        on_device: whether it runs on the device; else in any thread.
    """

    segment: Callable[[Sequence[CutInput]], Sequence[Segmentation | ItemError]]
    batch_size: int = 1
    on_device: bool = False


SegmentItem = Callable[[CutInput, SegmentationSettings], Segmentation]
"""``segment(item, settings) -> Segmentation``; may raise ItemError, or an error of OpenCV."""
BindSegmenter = Callable[[SegmentationSettings, "torch.device"], Segmenter]
"""``bind(settings, device) -> Segmenter``: an entry of :data:`wsloc.registries.SEGMENTERS`."""


def one_by_one(segment: SegmentItem, settings: SegmentationSettings) -> Segmenter:
    """A segmenter from a function of one item."""
    return Segmenter(partial(_segment_each, segment, settings))


def _segment_each(
    segment: SegmentItem, settings: SegmentationSettings, items: Sequence[CutInput]
) -> list[Segmentation | ItemError]:
    return [_attempt(segment, settings, item) for item in items]


def _attempt(segment: SegmentItem, settings: SegmentationSettings, item: CutInput) -> Segmentation | ItemError:
    try:
        return segment(item, settings)
    except ItemError as error:
        return error
    except cv2.error as error:
        return ItemError(one_line(error))


def _quantile_seeds(item: CutInput, settings: SegmentationSettings) -> NDArray[np.uint8]:
    return make_seeds(item.saliency, settings.foreground_quantile, settings.background_quantile)


def segment_by_grabcut(item: CutInput, settings: SegmentationSettings) -> Segmentation:
    """Quantile seeds, then GrabCut from coarse to fine."""
    trimap = _quantile_seeds(item, settings)
    return Segmentation(grabcut(item.image_rgb, trimap, settings.cut_iterations), trimap)


def segment_by_grabcut_plain(item: CutInput, settings: SegmentationSettings) -> Segmentation:
    """Quantile seeds, then GrabCut, all iterations at the working resolution."""
    trimap = _quantile_seeds(item, settings)
    return Segmentation(grabcut_plain(item.image_rgb, trimap, settings.cut_iterations), trimap)


def segment_by_grabcut_by_value(item: CutInput, settings: SegmentationSettings) -> Segmentation:
    """Seeds where the map is sure by its values, not by their ranks; then plain GrabCut: it loses fewer small objects.

    Where one side has too few pixels for a color model, as on a close-up that fills the image, there is nothing to
    cut: the mask is the probable foreground.
    """
    trimap = value_seeds(item.saliency, settings.foreground_value, settings.background_value, settings.threshold)
    if not has_samples(trimap):
        return Segmentation(is_foreground(trimap), trimap)
    return Segmentation(grabcut_plain(item.image_rgb, trimap, settings.cut_iterations), trimap)


def segment_by_graphcut_2013(item: CutInput, settings: SegmentationSettings) -> Segmentation:
    """Quantile seeds for the color models, stricter quantiles as clamps, one cut (Simonyan et al. 2013)."""
    trimap = _quantile_seeds(item, settings)
    clamps = make_seeds(item.saliency, settings.clamp_foreground_quantile, settings.clamp_background_quantile)
    return Segmentation(graphcut_2013(item.image_rgb, trimap, clamps), trimap)


def segment_by_threshold(item: CutInput, settings: SegmentationSettings) -> Segmentation:
    """All pixels above a fraction of the map's maximum (Zhou et al. 2016 for CAM); the image is not looked at."""
    mask = item.saliency > settings.threshold * np.nanmax(item.saliency)
    return Segmentation(mask, mask.astype(np.uint8))


def _binder(segment: SegmentItem) -> BindSegmenter:
    return lambda settings, _device: one_by_one(segment, settings)


bind_grabcut = _binder(segment_by_grabcut)
bind_grabcut_plain = _binder(segment_by_grabcut_plain)
bind_grabcut_by_value = _binder(segment_by_grabcut_by_value)
bind_graphcut_2013 = _binder(segment_by_graphcut_2013)
bind_threshold = _binder(segment_by_threshold)
