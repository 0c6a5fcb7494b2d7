"""How well a classifier tells which classes an image shows.

The average precision is computed as VOC has done since 2010: the area under precision over recall, precision made to
fall monotonically. Equal scores keep the order of the images. An image that is not labeled with a class counts as one
that does not show it. That includes VOC's pairs with difficult objects only, which its own tool leaves out, so the
figures of that tool would be no lower.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsloc.evaluation import Estimate, estimate


@dataclass(frozen=True, slots=True, eq=False)
class ScoredImages:
    """Some images and their scores.

    Attributes:
        scores: float ``(N, K)``, higher for likelier; before any softmax or sigmoid.
        present: bool ``(N, K)``.
    """

    scores: NDArray[np.float32]
    present: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.scores)


def average_precisions(weights: NDArray[np.float64], images: ScoredImages) -> NDArray[np.float64]:
    """Average precision of each class, ``(B, K)`` in [0, 1], under B weightings ``(B, N)`` of the images.

    NaN for a class that no image of positive weight shows. An image of weight 2 counts as two.
    """
    columns = []
    for scores, present in zip(images.scores.T, images.present.T, strict=True):
        order = np.argsort(-scores, kind="stable")
        weight = weights[:, order]
        hit = weight * present[order]
        hits, ranks = hit.cumsum(axis=1), weight.cumsum(axis=1)
        precision = hits / np.maximum(ranks, 1e-12)
        highest_from = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        positives = hit.sum(axis=1)
        area = (highest_from * hit).sum(axis=1)
        columns.append(np.where(positives > 0, area / np.maximum(positives, 1e-12), np.nan))
    return np.stack(columns, axis=1)


def mean_average_precision(weights: NDArray[np.float64], images: ScoredImages) -> NDArray[np.float64]:
    """Mean over the classes that an image shows of :func:`average_precisions`, ``(B,)``."""
    by_class = average_precisions(weights, images)
    there = ~np.isnan(by_class)
    means: NDArray[np.float64] = np.where(there, by_class, 0).sum(axis=1) / np.maximum(there.sum(axis=1), 1)
    return means


def top1_accuracy(weights: NDArray[np.float64], images: ScoredImages) -> NDArray[np.float64]:
    """Fraction of the images with a label whose best-scored class is one of their labels, ``(B,)``; NaN without any."""
    right = np.take_along_axis(images.present, images.scores.argmax(axis=1)[:, None], axis=1)[:, 0]
    labeled = (weights * images.present.any(axis=1)).sum(axis=1)
    fractions: NDArray[np.float64] = np.where(
        labeled > 0, (weights * right).sum(axis=1) / np.maximum(labeled, 1e-12), np.nan
    )
    return fractions


@dataclass(frozen=True, slots=True)
class Scores:
    """The metrics of a classifier on some images.

    Attributes:
        images: how many.
        mean_ap: mean over classes, with its bootstrap interval over images.
        accuracy: fraction of the images with a label whose best-scored class is one of their labels, likewise.
        class_ap: of each class; NaN where no image shows it.
        class_images: images that show each class.
    """

    images: int
    mean_ap: Estimate
    accuracy: Estimate
    class_ap: tuple[float, ...]
    class_images: tuple[int, ...]


def score_images(images: ScoredImages) -> Scores:
    """All figures for at least one image."""
    return Scores(
        len(images),
        estimate(mean_average_precision, images),
        estimate(top1_accuracy, images),
        tuple(average_precisions(np.ones((1, len(images))), images)[0].tolist()),
        tuple(images.present.sum(axis=0).tolist()),
    )
