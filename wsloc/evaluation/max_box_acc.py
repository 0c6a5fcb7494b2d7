"""MaxBoxAcc and MaxBoxAccV2 (Choe et al. 2020, arXiv 2001.07437 and 2007.04178): one threshold for a whole data set.

- *MaxBoxAcc*: the fraction of items whose largest component's box has IoU >= 0.5 with a true box.
- *MaxBoxAccV2*: the mean of such fractions at IoU 0.3, 0.5 and 0.7, each at its own threshold, where the best
  of all components counts.

The authors count images, each of one class; where images have several classes the items are counted. The
threshold is either the best one on the judged items themselves (*oracle*; in the bootstrap it is found anew in each
resample), or one that was chosen on other items (*held out*).
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from wsloc.evaluation.bootstrap import Statistic
from wsloc.evaluation.box_curves import BoxCurves
from wsloc.evaluation.items import Items

DELTA = 0.5
"""IoU that a box must reach for MaxBoxAcc."""
DELTAS_V2 = (0.3, 0.5, 0.7)


def max_box_acc(weights: NDArray[np.float64], curves: BoxCurves) -> NDArray[np.float64]:
    """MaxBoxAcc at the oracle threshold, ``(B,)``, under weights of the images."""
    return _maxima(weights, curves.items, _hits(curves.largest, DELTA))


def max_box_acc_v2(weights: NDArray[np.float64], curves: BoxCurves) -> NDArray[np.float64]:
    """MaxBoxAccV2 at the oracle thresholds, ``(B,)``, under weights of the images."""
    maxima = [_maxima(weights, curves.items, _hits(curves.best, delta)) for delta in DELTAS_V2]
    return np.asarray(np.mean(maxima, axis=0))


def accuracy_by_threshold(curves: BoxCurves) -> NDArray[np.float64]:
    """What MaxBoxAcc is the maximum of: ``(T,)``, the accuracy at each threshold."""
    return np.asarray(_accuracies(np.ones((1, len(curves))), curves.items, _hits(curves.largest, DELTA))[0])


def chosen_threshold(curves: BoxCurves) -> float:
    """The threshold that serves MaxBoxAcc best on a held-out set; of equal ones the lowest."""
    return float(curves.thresholds[accuracy_by_threshold(curves).argmax()])


def chosen_thresholds_v2(curves: BoxCurves) -> tuple[float, ...]:
    """The threshold for each of ``DELTAS_V2``, likewise."""
    weights = np.ones((1, len(curves)))
    by_delta = (_accuracies(weights, curves.items, _hits(curves.best, delta))[0] for delta in DELTAS_V2)
    return tuple(float(curves.thresholds[accuracy.argmax()]) for accuracy in by_delta)


def box_acc_at(threshold: float, weights: NDArray[np.float64], curves: BoxCurves) -> NDArray[np.float64]:
    """MaxBoxAcc's accuracy at one threshold that was chosen elsewhere, ``(B,)``.

    Raises:
        ValueError: if the curves do not have it.
    """
    column = _column(curves, threshold)
    return np.asarray(_accuracies(weights, curves.items, _hits(curves.largest[:, column], DELTA))[:, 0])


def box_acc_v2_at(
    thresholds: tuple[float, ...], weights: NDArray[np.float64], curves: BoxCurves
) -> NDArray[np.float64]:
    """MaxBoxAccV2's accuracy at thresholds that were chosen elsewhere, one for each of ``DELTAS_V2``, ``(B,)``.

    Raises:
        ValueError: if the curves do not have them.
    """
    hits = [
        _hits(curves.best[:, _column(curves, threshold)], delta)
        for threshold, delta in zip(thresholds, DELTAS_V2, strict=True)
    ]
    return np.asarray(_accuracies(weights, curves.items, np.concatenate(hits, axis=1)).mean(axis=1))


ORACLE_METRICS: dict[str, Statistic[BoxCurves]] = {
    "MaxBoxAcc (oracle threshold)": max_box_acc,
    "MaxBoxAccV2 (oracle threshold)": max_box_acc_v2,
}


def held_out_metrics(held_out: BoxCurves, name: str) -> dict[str, Statistic[BoxCurves]]:
    """The metrics at the thresholds that serve a held-out set best.

    Args:
        held_out: curves of the same protocol on images of which none is judged.
        name: what tables call the held-out set.
    """
    return {
        f"MaxBoxAcc (threshold of {name})": partial(box_acc_at, chosen_threshold(held_out)),
        f"MaxBoxAccV2 (threshold of {name})": partial(box_acc_v2_at, chosen_thresholds_v2(held_out)),
    }


def _column(curves: BoxCurves, threshold: float) -> slice:
    indices = np.flatnonzero(curves.thresholds == threshold)
    if not len(indices):
        raise ValueError(f"there is no threshold {threshold} on the curves; were both made by the same protocol?")
    return slice(indices[0], indices[0] + 1)


def _hits(iou: NDArray[np.float32], delta: float) -> NDArray[np.bool_]:
    """In the precision of the curves: 0.7 is rounded down there, and a box of IoU 7/10 must count."""
    return np.asarray(iou >= np.float32(delta))


def _maxima(weights: NDArray[np.float64], items: Items, hits: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The greatest fraction over the thresholds, ``(B,)``."""
    # Only thresholds at which some item differs from the one before: of those of wsol, a quarter.
    kept = np.ones(hits.shape[1], dtype=bool)
    kept[1:] = (hits[:, 1:] != hits[:, :-1]).any(axis=0)
    return np.asarray(_accuracies(weights, items, hits[:, kept]).max(axis=1))


def _accuracies(weights: NDArray[np.float64], items: Items, hits: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Fractions of hits ``(N, T)`` under weights of the images: ``(B, T)``."""
    starts = np.searchsorted(items.image_index, np.arange(len(items.image_ids)))
    counts = np.bincount(items.image_index, minlength=len(items.image_ids))
    by_image = np.add.reduceat(hits, starts, axis=0, dtype=np.float64)
    return np.asarray(weights @ by_image / (weights @ counts)[:, None])
