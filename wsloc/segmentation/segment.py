"""From a working image and its map to a mask, by any of the segmenters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsloc.config import SegmentationSettings
from wsloc.segmentation.graphcut import grabcut, graphcut_2013
from wsloc.segmentation.seeds import make_seeds


@dataclass(frozen=True, slots=True, eq=False)
class Segmentation:
    """A mask and where it came from, both at working resolution.

    Attributes:
        mask: bool ``(H, W)``.
        trimap: uint8 ``(H, W)``, the seeds in OpenCV's codes; for a threshold the mask's own pixels.
    """

    mask: NDArray[np.bool_]
    trimap: NDArray[np.uint8]


Segmenter = Callable[[NDArray[np.uint8], NDArray[np.float32], SegmentationSettings, int], Segmentation]
"""``segmenter(image_rgb (H, W, 3), saliency (H, W), settings, seed) -> Segmentation``; raises ItemError."""


def segment_by_grabcut(
    image_rgb: NDArray[np.uint8], saliency: NDArray[np.float32], settings: SegmentationSettings, seed: int
) -> Segmentation:
    """Quantile seeds, then iterated GrabCut."""
    trimap = make_seeds(saliency, settings.foreground_quantile, settings.background_quantile, seed)
    return Segmentation(grabcut(image_rgb, trimap, seed, settings.cut_iterations), trimap)


def segment_by_graphcut_2013(
    image_rgb: NDArray[np.uint8], saliency: NDArray[np.float32], settings: SegmentationSettings, seed: int
) -> Segmentation:
    """Quantile seeds for the color models, stricter quantiles as clamps, one cut."""
    trimap = make_seeds(saliency, settings.foreground_quantile, settings.background_quantile, seed)
    clamps = make_seeds(saliency, settings.clamp_foreground_quantile, settings.clamp_background_quantile, seed)
    return Segmentation(graphcut_2013(image_rgb, trimap, clamps, seed), trimap)


def segment_by_threshold(
    _image_rgb: NDArray[np.uint8], saliency: NDArray[np.float32], settings: SegmentationSettings, _seed: int
) -> Segmentation:
    """All pixels above a fraction of the map's maximum (Zhou et al. 2016 for CAM); the image is not looked at."""
    mask = saliency > settings.threshold * np.nanmax(saliency)
    return Segmentation(mask, mask.astype(np.uint8))


SEGMENTERS: dict[str, Segmenter] = {
    "grabcut": segment_by_grabcut,
    "graphcut-2013": segment_by_graphcut_2013,
    "threshold": segment_by_threshold,
}
"""All segmenters, by the name that ``segmenter`` takes."""
