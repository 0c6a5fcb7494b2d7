"""MaxBoxAcc and MaxBoxAccV2 (Choe et al. 2020, arXiv 2001.07437 and 2007.04178): one threshold for a whole data set.

- *MaxBoxAcc*: the fraction of items whose largest component's box has IoU >= 0.5 with a true box.
- *MaxBoxAccV2*: the mean of such fractions at IoU 0.3, 0.5 and 0.7, each at its own threshold, where the best
  of all components counts.

The authors count images, each of one class; where images have several classes the items are counted. The
threshold is either the best one on the judged items themselves (*oracle*; in the bootstrap it is found anew in each
resample), or one that was chosen on other items (*held out*).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from wsloc.evaluation.bootstrap import Statistic
from wsloc.evaluation.box_curves import BoxCurves
from wsloc.evaluation.items import Items


@dataclass(frozen=True, slots=True)
class BoxAccuracy:
    """Which curves of :class:`~wsloc.evaluation.box_curves.BoxCurves` count, and the IoUs that a box must reach."""

    name: str
    component: Literal["largest", "best"]
    deltas: tuple[float, ...]

    def hits(self, curves: BoxCurves) -> list[NDArray[np.bool_]]:
        """For each delta, which items are found at which threshold: ``(N, T)``."""
        iou: NDArray[np.float32] = getattr(curves, self.component)
        # In the precision of the curves: 0.7 is rounded down there, and a box of IoU 7/10 must count.
        return [np.asarray(iou >= np.float32(delta)) for delta in self.deltas]


V1 = BoxAccuracy("MaxBoxAcc", "largest", (0.5,))
V2 = BoxAccuracy("MaxBoxAccV2", "best", (0.3, 0.5, 0.7))


def max_box_acc(kind: BoxAccuracy, weights: NDArray[np.float64], curves: BoxCurves) -> NDArray[np.float64]:
    """The accuracy at the oracle thresholds, ``(B,)``, under weights of the images ``(B, I)``."""
    maxima = []
    for hits in kind.hits(curves):
        # Only thresholds at which some item differs from the one before: of those of wsol, a quarter.
        kept = np.ones(hits.shape[1], dtype=bool)
        kept[1:] = (hits[:, 1:] != hits[:, :-1]).any(axis=0)
        maxima.append(_accuracies(weights, curves.items, hits[:, kept]).max(axis=1))
    return np.asarray(np.mean(maxima, axis=0))


def accuracy_by_threshold(kind: BoxAccuracy, curves: BoxCurves) -> list[NDArray[np.float64]]:
    """The accuracy at each threshold, ``(T,)``, for each delta."""
    weights = np.ones((1, len(curves)))
    return [_accuracies(weights, curves.items, hits)[0] for hits in kind.hits(curves)]


def chosen_thresholds(kind: BoxAccuracy, curves: BoxCurves) -> tuple[float, ...]:
    """The best threshold of a held-out set for each delta; of equal ones the lowest."""
    return tuple(float(curves.thresholds[accuracy.argmax()]) for accuracy in accuracy_by_threshold(kind, curves))


def box_acc_at(
    kind: BoxAccuracy, thresholds: tuple[float, ...], weights: NDArray[np.float64], curves: BoxCurves
) -> NDArray[np.float64]:
    """The accuracy at thresholds that were chosen elsewhere, one for each delta: ``(B,)``.

    Raises:
        ValueError: if the curves do not have them.
    """
    columns = [np.flatnonzero(curves.thresholds == threshold) for threshold in thresholds]
    if not all(map(len, columns)):
        raise ValueError(f"the curves lack one of the thresholds {thresholds}; were both made by the same protocol?")
    hits = [of_delta[:, column] for of_delta, column in zip(kind.hits(curves), columns, strict=True)]
    return np.asarray(_accuracies(weights, curves.items, np.concatenate(hits, axis=1)).mean(axis=1))


ORACLE_METRICS: dict[str, Statistic[BoxCurves]] = {
    f"{kind.name} (oracle threshold)": partial(max_box_acc, kind) for kind in (V1, V2)
}


def held_out_metrics(held_out: BoxCurves, name: str) -> dict[str, Statistic[BoxCurves]]:
    """The metrics at the thresholds that serve a held-out set best.

    Args:
        held_out: curves of the same protocol on images of which none is judged.
        name: what tables call the held-out set.
    """
    return {
        f"{kind.name} (threshold of {name})": partial(box_acc_at, kind, chosen_thresholds(kind, held_out))
        for kind in (V1, V2)
    }


def _accuracies(weights: NDArray[np.float64], items: Items, hits: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Fractions of hits ``(N, T)`` under weights of the images: ``(B, T)``."""
    starts = np.searchsorted(items.image_index, np.arange(len(items.image_ids)))
    counts = np.bincount(items.image_index, minlength=len(items.image_ids))
    by_image = np.add.reduceat(hits, starts, axis=0, dtype=np.float64)
    return np.asarray(weights @ by_image / (weights @ counts)[:, None])
