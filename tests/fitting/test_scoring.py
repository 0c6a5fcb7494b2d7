"""Average precision of image classification: by hand, by VOC's own definition, and under weights."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from wsloc.evaluation.voc_ap import average_precisions as voc_average_precisions
from wsloc.fitting.scoring import ScoredImages, average_precisions, mean_average_precision, score_images, top1_accuracy


def images(scores: list[list[float]], present: list[list[int]]) -> ScoredImages:
    return ScoredImages(np.array(scores, dtype=np.float32), np.array(present, dtype=bool))


BY_HAND = images(
    [[0.9, 0.1, 0.5], [0.8, 0.9, 0.4], [0.7, 0.8, 0.3], [0.6, 0.2, 0.2]],
    [[1, 0, 0], [0, 0, 0], [1, 1, 0], [0, 1, 0]],
)
"""Class 0: hits at ranks 1 and 3; class 1: at ranks 2 and 3, where precision rises from 1/2 to 2/3; class 2: none."""


def test_by_hand() -> None:
    once = np.ones((1, 4))
    by_class = average_precisions(once, BY_HAND)
    assert by_class.shape == (1, 3)
    assert by_class[0, :2] == pytest.approx([(1 + 2 / 3) / 2, 2 / 3])
    assert math.isnan(by_class[0, 2])
    assert mean_average_precision(once, BY_HAND) == pytest.approx([((1 + 2 / 3) / 2 + 2 / 3) / 2])
    # Best classes are 0, 1, 1 and 0; the labels of the images are {0}, {}, {0, 1} and {1}; the second has none to find.
    assert top1_accuracy(once, BY_HAND) == pytest.approx([2 / 3])
    assert top1_accuracy(np.array([[1, 5, 0, 1], [0, 1, 0, 0]]), BY_HAND) == pytest.approx([1 / 2, np.nan], nan_ok=True)


def test_figures_of_perfect_scores() -> None:
    perfect = images([[3, 1], [1, 2], [5, 4]], [[1, 0], [0, 1], [1, 1]])
    scores = score_images(perfect)
    assert scores.mean_ap.value == scores.mean_ap.low == scores.mean_ap.high == 1
    assert scores.accuracy.value == 1
    assert scores.class_ap == (1, 1)
    assert scores.class_images == (2, 2)
    assert scores.images == 3


def test_equal_scores_keep_the_order_of_the_images() -> None:
    assert average_precisions(np.ones((1, 2)), images([[0], [0]], [[1], [0]]))[0, 0] == 1
    assert average_precisions(np.ones((1, 2)), images([[0], [0]], [[0], [1]]))[0, 0] == 0.5


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans(), st.integers(0, 3)), min_size=1, max_size=25))
def test_as_voc_and_weights_are_copies(rows: list[tuple[int, bool, int]]) -> None:
    scores = np.array([[score] for score, _, _ in rows], dtype=np.float32)
    present = np.array([[hit] for _, hit, _ in rows])
    weights = np.array([[weight for _, _, weight in rows]], dtype=np.float64)
    weighted = average_precisions(weights, ScoredImages(scores, present))[0, 0]
    copies: NDArray[np.int64] = np.repeat(np.arange(len(rows)), weights[0].astype(int))
    objects = int(present[copies].sum())
    if objects == 0:
        assert math.isnan(weighted)
        return
    order = copies[np.argsort(-scores[copies, 0], kind="stable")]
    expected, _ = voc_average_precisions(present[order, 0], objects)
    assert weighted == pytest.approx(expected)
