from collections.abc import Sequence
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_records import box_of, truth_of

from wsloc.evaluation import estimate
from wsloc.evaluation.kept_curve import (
    JudgedBoxes,
    Ranking,
    area,
    gain,
    half_difference,
    judge_boxes,
    kept_curve,
    overall,
    rank,
)

NAN = float("nan")
STATISTICS = pytest.mark.parametrize("statistic", [area, gain, half_difference, overall])


def _judged(iou: Sequence[float], image_index: Sequence[int] | None = None) -> JudgedBoxes:
    numbers = np.arange(len(iou)) if image_index is None else np.array(image_index)
    return JudgedBoxes(tuple(box_of("", "", (0, 0, 1, 1)) for _ in iou), np.array(iou), numbers, int(numbers.max()) + 1)


def _ranking(values: Sequence[float], scores: Sequence[float], image_index: Sequence[int] | None = None) -> Ranking:
    judged = _judged(values, image_index)
    return rank(judged, np.array(scores, dtype=np.float64), judged.iou)


def _once(ranking: Ranking) -> np.ndarray:
    return np.ones((1, len(ranking)))


@pytest.mark.parametrize(
    ("values", "scores", "expected_area", "expected_halves"),
    [
        ([1, 0, 1, 0], [4, 3, 2, 1], (1 + 1 / 2 + 2 / 3 + 2 / 4) / 4, 0),
        ([0, 1, 0, 1], [1, 2, 3, 4], (1 + 1 / 2 + 2 / 3 + 2 / 4) / 4, 0),  # the same in another order
        ([1, 1, 0, 0], [4, 3, 2, 1], (1 + 1 + 2 / 3 + 2 / 4) / 4, 1),
        ([0, 0, 1, 1], [4, 3, 2, 1], (0 + 0 + 1 / 3 + 2 / 4) / 4, -1),
        # All alike: no better than a random order.
        ([1, 0, 0, 0], [7, 7, 7, 7], 1 / 4, 0),
        # The middle two are one step, and either may be second: precision 1, (1 + 1/2) / 2, 2/3, 2/4.
        ([1, 1, 0, 0], [3, 2, 2, 1], (1 + 3 / 4 + 2 / 3 + 2 / 4) / 4, 1.5 / 2 - 0.5 / 2),
        ([1, 0, 0], [3, 2, 1], (1 + 1 / 2 + 1 / 3) / 3, 1 / 1.5),
        ([1, 0], [NAN, -5], (0 + 1 / 2) / 2, -1),
        ([0.6], [1], 0.6, 0),
        ([0.9, 0.3], [2, 1], (0.9 + 0.6) / 2, 0.6),
    ],
)
def test_by_hand(values: list[float], scores: list[float], expected_area: float, expected_halves: float) -> None:
    ranking = _ranking(values, scores)
    assert area(_once(ranking), ranking)[0] == pytest.approx(expected_area)
    assert gain(_once(ranking), ranking)[0] == pytest.approx(expected_area - np.mean(values))
    assert half_difference(_once(ranking), ranking)[0] == pytest.approx(expected_halves)
    assert overall(_once(ranking), ranking)[0] == pytest.approx(np.mean(values))


def test_curve_by_hand() -> None:
    judged = _judged([0.9, 0.5, 0.7, 0.0])
    assert judged.right.tolist() == [1, 0, 1, 0]  # a half is not enough
    curve = kept_curve(judged, np.array([3.0, 2, 2, 1]), judged.right)
    assert curve.fraction.tolist() == [1 / 4, 3 / 4, 1]
    assert curve.precision == pytest.approx([1, 2 / 3, 2 / 4])
    assert curve.best == pytest.approx([1, 1, 2 / 3, 2 / 4])


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0.0, 0.5, 1.0])), min_size=1, max_size=6))
@settings(max_examples=60)
def test_ties_are_the_mean_of_all_their_orders(boxes: list[tuple[int, float]]) -> None:
    orders = [order for order in permutations(boxes) if list(order) == sorted(order, key=lambda box: -box[0])]
    means = [np.mean([np.mean([value for _, value in order[: k + 1]]) for k in range(len(order))]) for order in orders]
    ranking = _ranking([value for _, value in boxes], [level for level, _ in boxes])
    assert area(_once(ranking), ranking)[0] == pytest.approx(np.mean(means))
    if len(boxes) % 2 == 0:
        half = len(boxes) // 2
        halves = [np.mean([v for _, v in order[:half]]) - np.mean([v for _, v in order[half:]]) for order in orders]
        assert half_difference(_once(ranking), ranking)[0] == pytest.approx(np.mean(halves))


@STATISTICS
@given(st.integers(0, 10**6))
@settings(max_examples=30)
def test_a_weight_is_so_many_copies_of_an_image(statistic, seed: int) -> None:
    generator = np.random.default_rng(seed)
    images, boxes = 5, int(generator.integers(5, 15))
    image_index = np.concatenate([np.arange(images), generator.integers(0, images, boxes - images)])
    values, scores = generator.random(boxes), generator.integers(0, 6, boxes).astype(float)
    weights = generator.integers(0, 4, images).astype(float)
    weights[0] += 1
    copies = np.repeat(np.arange(boxes), weights[image_index].astype(int))
    repeated = _ranking(values[copies].tolist(), scores[copies].tolist())
    ranking = _ranking(values.tolist(), scores.tolist(), image_index.tolist())
    both = np.stack([weights, np.ones(images)])
    expected = [statistic(_once(repeated), repeated)[0], statistic(_once(ranking), ranking)[0]]
    assert statistic(both, ranking) == pytest.approx(expected)


@given(st.integers(0, 10**6))
@settings(max_examples=30)
def test_no_order_is_better_than_the_best(seed: int) -> None:
    generator = np.random.default_rng(seed)
    judged = _judged(generator.random(12).round(1).tolist())
    scores = generator.integers(0, 5, 12).astype(float)
    for values in (judged.right, judged.iou):
        ranking, best = rank(judged, scores, values), rank(judged, values, values)
        own = area(_once(ranking), ranking)[0]
        assert own <= area(_once(best), best)[0] + 1e-12
        assert area(_once(best), best)[0] == pytest.approx(kept_curve(judged, scores, values).best.mean())
        # A strictly rising function of the score changes nothing.
        assert area(_once(best), rank(judged, np.exp(scores), values))[0] == own


@STATISTICS
def test_intervals(statistic) -> None:
    generator = np.random.default_rng(0)
    iou = generator.random(200)
    image_index = np.concatenate([np.arange(100), generator.integers(0, 100, 100)])
    judged = _judged(iou.tolist(), image_index.tolist())
    good = rank(judged, iou + generator.normal(0, 0.1, 200), judged.right)
    bad = rank(judged, generator.random(200), judged.right)
    made = estimate(statistic, good)
    assert made.low < made.value < made.high
    difference = estimate(statistic, good, bad)
    if statistic is overall:
        assert max(abs(difference.low), abs(difference.high)) < 1e-12
    else:
        assert 0 < difference.low < difference.value < difference.high


def test_judged_boxes() -> None:
    truth = {
        "a": truth_of("a", ("cat", (0, 0, 10, 10)), ("cat", (0, 0, 10, 20)), ("dog", (50, 50, 60, 60), "difficult")),
        "b": truth_of("b"),
    }
    found = [
        box_of("a", "cat", (0, 0, 10, 16)),  # 0.8 with the second
        box_of("a", "cat", (0, 0, 10, 5), component=1),  # 0.5
        box_of("elsewhere", "cat", (0, 0, 10, 10)),
        box_of("a", "dog", (50, 50, 60, 60)),  # a difficult object is one, too
        box_of("b", "cat", (0, 0, 10, 10)),  # on an image without cats
        box_of("a", "cow", (0, 0, 10, 10)),
    ]
    judged = judge_boxes(truth, found)
    assert judged is not None
    assert judged.iou == pytest.approx([0.8, 0.5, 1, 0, 0])
    assert judged.image_index.tolist() == [0, 0, 0, 1, 0]
    assert judged.images == 2
    assert judged.localizations == (*found[:2], *found[3:])
    chosen = judge_boxes(truth, found, ["dog"])
    assert chosen is not None
    assert chosen.iou.tolist() == [1]
    assert judge_boxes(truth, found, ["zebra"]) is None
    assert judge_boxes(truth, []) is None
    assert judge_boxes({}, found) is None
