"""PxAP: the area under the precision-recall curve of all pixels of a data set (Choe et al. 2020, section 3.2).

One threshold after the other for the whole set: the pixels of all images are put into histograms of their score first,
apart for those on an object and those on the background, at the bin edges of the code that the authors published
(0, 0.001 ... 0.999, 1). Pixels to be ignored are left out. An image counts once for each of its classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from wsloc.evaluation import wsol
from wsloc.evaluation.items import Items
from wsloc.evaluation.map_source import Map, filled, stretched

EDGES = np.append(wsol.THRESHOLDS, [1.0, 2.0, 3.0])
"""Left edges of the bins, and the right one of the last; nothing lies above 1."""
BINS = len(EDGES) - 1


@dataclass(frozen=True, slots=True, eq=False)
class ScoreHistograms:
    """The pixels of each image by score; its length is the number of images.

    Attributes:
        items: N items in I images.
        on_object: int32 ``(I, BINS)``: pixels on the true masks of the item's class, summed over the items of an image.
        on_background: int32 ``(I, BINS)``: all others that are not ignored, likewise.
    """

    items: Items
    on_object: NDArray[np.int32]
    on_background: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.items.image_ids)


def scores_at(saliency: Map, size_wh: tuple[int, int]) -> NDArray[np.float64]:
    """wsloc's own arithmetic: the map brought to ``size_wh`` bilinearly, then stretched to [0, 1]: ``(H, W)``."""
    return stretched(cv2.resize(filled(saliency), size_wh, interpolation=cv2.INTER_LINEAR).astype(np.float64))


def wsol_mask(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A mask at the 224 x 224 pixels of :func:`wsloc.evaluation.wsol.score_map`: the nearest pixel, as published."""
    return cv2.resize(mask.view(np.uint8), (wsol.SIDE, wsol.SIDE), interpolation=cv2.INTER_NEAREST).astype(bool)


def score_histograms(
    scores: NDArray[np.float64], on_object: NDArray[np.bool_], ignored: NDArray[np.bool_]
) -> NDArray[np.int32]:
    """The pixels of one map by score.

    Args:
        scores: ``(H, W)`` in [0, 1].
        on_object: ``(H, W)``.
        ignored: ``(H, W)``; pixels of the object count all the same.

    Returns:
        ``(2, BINS)``: pixels on the object, and on the background.
    """
    bins = np.searchsorted(EDGES, scores, side="right") - 1
    chosen = on_object, ~(on_object | ignored)
    return np.stack([np.bincount(bins[pixels], minlength=BINS) for pixels in chosen]).astype(np.int32)


def pxap(weights: NDArray[np.float64], histograms: ScoreHistograms) -> NDArray[np.float64]:
    """PxAP in [0, 1], ``(B,)``, under weights of the images; NaN where no pixel lies on an object."""
    found, wrong = (
        np.cumsum((weights @ pixels)[:, ::-1], axis=1) for pixels in (histograms.on_object, histograms.on_background)
    )
    marked = found + wrong
    precision = np.divide(found, marked, out=np.zeros_like(found), where=marked > 0)
    gained = np.diff(found, axis=1, prepend=0)
    whole = found[:, -1]
    area = (precision * gained).sum(axis=1)
    return np.asarray(np.divide(area, whole, out=np.full(len(whole), np.nan), where=whole > 0))
