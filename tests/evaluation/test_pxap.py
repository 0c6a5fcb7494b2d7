"""PxAP by hand, against a precision-recall curve of sorted pixels, and against the published expression."""

from __future__ import annotations

import numpy as np
import pytest
from dense import items_of
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from wsloc.evaluation.bootstrap import estimate
from wsloc.evaluation.pxap import BINS, EDGES, ScoreHistograms, pxap, score_histograms, scores_at, wsol_mask

NOTHING = np.zeros((4, 4), dtype=bool)


def _set(*histograms: NDArray[np.int32]) -> ScoreHistograms:
    stacked = np.stack(histograms)
    return ScoreHistograms(items_of(np.zeros((len(stacked), 1))), stacked[:, 0], stacked[:, 1])


def _one(scores: NDArray[np.float64], mask: NDArray[np.bool_], ignored: NDArray[np.bool_] = NOTHING) -> float:
    return float(pxap(np.ones((1, 1)), _set(score_histograms(scores, mask, ignored)))[0])


MASK = np.zeros((4, 4), dtype=bool)
MASK[:2, :2] = True
SCORES = np.zeros((4, 4))
SCORES[0, 0], SCORES[0, 1], SCORES[3, 3], SCORES[1, 0] = 1.0, 0.9, 0.8, 0.5


def test_by_hand() -> None:
    # Going down: 1/1, 2/2, (a wrong one), 3/4, then all that is left: 4/16. Each object pixel is a quarter of recall.
    assert _one(SCORES, MASK) == pytest.approx((1 + 1 + 3 / 4 + 4 / 16) / 4, abs=1e-15)


def test_ignored_pixels_are_left_out_unless_they_are_object() -> None:
    ignored = NOTHING.copy()
    ignored[3, 3] = ignored[0, 0] = True
    assert _one(SCORES, MASK, ignored) == pytest.approx((1 + 1 + 1 + 4 / 15) / 4, abs=1e-15)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_constant_map_is_worth_the_share_of_object_pixels(value: float) -> None:
    assert _one(np.full((4, 4), value), MASK) == pytest.approx(4 / 16)


def test_a_perfect_map_is_1() -> None:
    assert _one(MASK * 0.4, MASK) == 1


def test_bins_hold_their_left_edge() -> None:
    scores = np.array([[0.0, 0.0009, 0.001, 0.9989, 0.999, 1.0]])
    histogram = score_histograms(scores, np.ones_like(scores, dtype=bool), np.zeros_like(scores, dtype=bool))
    assert histogram.shape == (2, BINS)
    assert np.flatnonzero(histogram[0]).tolist() == [0, 1, 998, 999, 1000]
    assert histogram[0].sum() == 6
    assert not histogram[1].any()


def _sorted_ap(scores: NDArray[np.float64], on_object: NDArray[np.bool_]) -> float:
    """Average precision of binned scores: at each score the precision of all pixels at or above it."""
    binned = np.array([max(k for k in range(BINS) if EDGES[k] <= score) for score in scores.tolist()])
    area = 0.0
    for value in sorted(set(binned.tolist())):
        at_or_above = on_object[binned >= value]
        area += at_or_above.mean() * (on_object & (binned == value)).sum() / on_object.sum()
    return area


@given(st.integers(0, 10_000), st.integers(1, 4))
@settings(max_examples=25)
def test_against_sorted_pixels_and_the_published_expression(seed: int, images: int) -> None:
    generator = np.random.default_rng(seed)
    scores = np.round(generator.random((images, 6, 5)), 2)
    masks = generator.random((images, 6, 5)) < 0.3
    masks[:, 0, 0] = True
    ignored = (generator.random((images, 6, 5)) < 0.2) & ~masks
    made = _set(*(score_histograms(*one) for one in zip(scores, masks, ignored, strict=True)))
    counted = ~ignored
    expected = _sorted_ap(scores[counted], masks[counted])
    assert pxap(np.ones((1, images)), made)[0] == pytest.approx(expected, abs=1e-12)
    # As the published code puts it: NumPy's own histograms, and differences of recall from the second bin on.
    edges = np.append(np.arange(0, 1, 0.001), [1.0, 2.0, 3.0])
    found = np.histogram(scores[masks], edges)[0][::-1].cumsum()
    wrong = np.histogram(scores[counted & ~masks], edges)[0][::-1].cumsum()
    with np.errstate(invalid="ignore"):
        precision = found / (found + wrong)
    steps = precision[1:] * np.diff(found / found[-1])
    assert pxap(np.ones((1, images)), made)[0] == pytest.approx(steps[(found + wrong)[1:] != 0].sum(), abs=1e-12)


def test_weights_count_images_more_than_once() -> None:
    one, other = score_histograms(SCORES, MASK, NOTHING), score_histograms(1 - SCORES, MASK, NOTHING)
    weights = np.array([[1.0, 1.0], [2, 1], [1, 0], [0, 3]])
    made = pxap(weights, _set(one, other))
    assert made[1] == pytest.approx(pxap(np.ones((1, 3)), _set(one, one, other))[0], abs=1e-12)
    assert made[2] == pytest.approx(_one(SCORES, MASK), abs=1e-12)
    assert made[3] == pytest.approx(_one(1 - SCORES, MASK), abs=1e-12)
    interval = estimate(pxap, _set(one, other))
    assert interval.low == pytest.approx(made[3])
    assert interval.high == pytest.approx(made[2])


def test_no_object_at_all_is_no_number() -> None:
    assert np.isnan(_one(SCORES, NOTHING))


def test_own_scores_are_bilinear_at_the_resolution_of_the_masks() -> None:
    saliency = np.array([[1, np.nan], [1, 5]], dtype=np.float32)
    # Pixel centers of 4 x 4 lie at -0.25, 0.25, 0.75 and 1.25 of the map's; the undecided one counts as 1.
    row = np.array([0, 0.25, 0.75, 1])
    assert np.allclose(scores_at(saliency, (4, 4)), np.outer(row, row), atol=1e-12)
    assert scores_at(saliency, (6, 3)).shape == (3, 6)
    assert np.array_equal(scores_at(saliency * 8 - 3, (4, 4)), scores_at(saliency, (4, 4)))


def test_published_masks_take_the_nearest_pixel_to_the_left_and_above() -> None:
    mask = np.zeros((448, 300), dtype=bool)
    mask[2 * 100, :] = True  # every second row is looked at, from the first
    mask[2 * 150 + 1, :] = True
    small = wsol_mask(mask)
    assert np.flatnonzero(small.all(axis=1)).tolist() == [100]
    assert small.sum() == 224
