"""MaxBoxAcc by hand, under weights of images, and in the bootstrap."""

from __future__ import annotations

import numpy as np
import pytest
from dense import items_of
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from wsloc.evaluation.bootstrap import estimate
from wsloc.evaluation.box_curves import BoxCurves
from wsloc.evaluation.max_box_acc import (
    ORACLE_METRICS,
    V1,
    V2,
    accuracy_by_threshold,
    box_acc_at,
    chosen_thresholds,
    held_out_metrics,
    max_box_acc,
)


def _curves(largest: ArrayLike, best: ArrayLike | None = None, table: ArrayLike | None = None) -> BoxCurves:
    iou = np.asarray(largest, dtype=np.float32)
    items = items_of(np.zeros((len(iou), 1)) if table is None else table)
    thresholds = np.arange(iou.shape[1]) / 10
    return BoxCurves(items, thresholds, iou, iou if best is None else np.asarray(best, dtype=np.float32))


# Thresholds 0, 0.1, 0.2; one item an image.
HAND = _curves(
    [[0.5, 0.2, 0.9], [0.49, 0.6, 0.2], [0.3, 0.8, 0.5], [0.0, 0.0, 0.7]],
    [[0.5, 0.3, 0.9], [0.5, 0.7, 0.2], [0.3, 0.8, 0.7], [0.1, 0.2, 0.7]],
)
ONE = np.ones((1, 4))


def test_by_hand() -> None:
    # At 0: one hit (0.5 counts); at 0.1: two; at 0.2: three.
    assert [accuracy.tolist() for accuracy in accuracy_by_threshold(V1, HAND)] == [[0.25, 0.5, 0.75]]
    assert max_box_acc(V1, ONE, HAND).tolist() == [0.75]
    assert chosen_thresholds(V1, HAND) == (0.2,)
    # V2 at 0.3: 3, 3, 3 of 4; at 0.5: 2, 2, 3; at 0.7: 0, 2, 3.
    assert max_box_acc(V2, ONE, HAND) == pytest.approx([0.75])
    assert chosen_thresholds(V2, HAND) == (0.0, 0.2, 0.2)


def test_each_iou_of_v2_has_its_own_threshold() -> None:
    # 0.3 is served by the first threshold (2 of 2), 0.5 and 0.7 by the second (1 of 2).
    curves = _curves([[0, 0], [0, 0]], [[0.3, 0.75], [0.45, 0.1]])
    assert max_box_acc(V2, np.ones((1, 2)), curves) == pytest.approx([(1 + 0.5 + 0.5) / 3])
    assert max_box_acc(V1, np.ones((1, 2)), curves).tolist() == [0]


@pytest.mark.parametrize("delta", V2.deltas)
def test_an_iou_of_exactly_delta_counts_although_the_curves_are_rounded(delta: float) -> None:
    curves = _curves([[0.0]], [[round(delta * 10) / 10]])
    lower = _curves([[0.0]], [[delta - 1e-6]])
    index = V2.deltas.index(delta)
    assert max_box_acc(V2, np.ones((1, 1)), curves) == pytest.approx([(index + 1) / 3])
    assert max_box_acc(V2, np.ones((1, 1)), lower) == pytest.approx([index / 3])


def test_the_maximum_is_taken_again_in_each_resample() -> None:
    weights = np.array([[1, 1, 1, 1], [0, 2, 1, 1], [0, 4, 0, 0], [0, 3, 1, 0]], dtype=np.float64)
    # Second row: (0, 3, 2) of 4; third: only the second image, hit at 0.1; fourth: (0, 4, 1) of 4.
    assert max_box_acc(V1, weights, HAND).tolist() == [0.75, 0.75, 1, 1]
    assert box_acc_at(V1, (0.2,), weights, HAND).tolist() == [0.75, 0.5, 0, 0.25]


def test_items_of_one_image_count_each() -> None:
    nan = np.nan
    curves = _curves([[0.9], [0.1], [0.8]], table=[[1, 1], [nan, 1]])
    assert max_box_acc(V1, np.ones((1, 2)), curves) == pytest.approx([2 / 3])
    assert max_box_acc(V1, np.array([[2.0, 1.0]]), curves) == pytest.approx([3 / 5])


def test_the_held_out_threshold_is_used_and_named() -> None:
    held_out = _curves([[0.9, 0.1, 0.2], [0.8, 0.6, 0.1]])
    metrics = held_out_metrics(held_out, "val")
    assert list(metrics) == ["MaxBoxAcc (threshold of val)", "MaxBoxAccV2 (threshold of val)"]
    # Its best threshold is 0, at which one of the four judged items is hit; for V2 0 at all three.
    assert metrics["MaxBoxAcc (threshold of val)"](ONE, HAND).tolist() == [0.25]
    assert metrics["MaxBoxAccV2 (threshold of val)"](ONE, HAND) == pytest.approx([(0.75 + 0.5 + 0) / 3])
    assert list(ORACLE_METRICS) == ["MaxBoxAcc (oracle threshold)", "MaxBoxAccV2 (oracle threshold)"]


def test_of_equal_thresholds_the_lowest() -> None:
    assert chosen_thresholds(V1, _curves([[0.1, 0.9, 0.9]])) == (0.1,)


def test_a_threshold_of_another_protocol_is_refused() -> None:
    with pytest.raises(ValueError, match="same protocol"):
        box_acc_at(V1, (0.05,), ONE, HAND)
    with pytest.raises(ValueError, match="same protocol"):
        box_acc_at(V2, (0.0, 0.1, 0.15), ONE, HAND)


@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 9))
@settings(max_examples=40)
def test_against_loops(seed: int, images: int, thresholds: int) -> None:
    generator = np.random.default_rng(seed)
    iou = np.round(generator.random((images, thresholds)), 1)
    weights = generator.integers(0, 4, (3, images)).astype(np.float64)
    weights[:, 0] += 1
    expected = [
        max(
            sum(w for w, value in zip(row, iou[:, t], strict=True) if value >= 0.5) / row.sum()
            for t in range(thresholds)
        )
        for row in weights
    ]
    curves = _curves(iou)
    assert np.allclose(max_box_acc(V1, weights, curves), expected, rtol=0, atol=1e-12)
    # No chosen threshold does better than the oracle.
    assert (box_acc_at(V1, chosen_thresholds(V1, curves), weights, curves) <= max_box_acc(V1, weights, curves)).all()


@pytest.mark.parametrize("metric", ORACLE_METRICS.values())
def test_in_the_bootstrap(metric) -> None:
    generator = np.random.default_rng(0)
    curves, better = _curves(generator.random((60, 10))), _curves(np.ones((60, 10)))
    made = estimate(metric, curves)
    assert 0 < made.low <= made.value <= made.high < 1
    assert estimate(metric, curves, curves) == type(made)(0, 0, 0)
    assert estimate(metric, better, curves).low > 0
