import numpy as np
import pytest
from dense import judged_of
from hypothesis import given, settings
from hypothesis import strategies as st

from wsloc.evaluation import METRICS, Estimate, estimate
from wsloc.evaluation.corloc import class_wise, gt_known, image_wise, mean_iou, per_class_corloc, top_k
from wsloc.evaluation.judging import Judged

NAN = float("nan")
STATISTICS = pytest.mark.parametrize("statistic", [class_wise, image_wise, mean_iou, gt_known])


def _random(seed: int, images: int = 40, classes: int = 3) -> Judged:
    generator = np.random.default_rng(seed)
    iou = np.where(generator.random((images, classes)) < 0.5, np.nan, generator.random((images, classes)))
    iou[np.isnan(iou).all(axis=1), 0] = 0.7
    iou[0, np.isnan(iou).all(axis=0)] = 0.3
    return judged_of(iou, generator.random(images))


HAND = judged_of(
    # cat  dog
    [
        [0.5, 0.51],
        [NAN, 0.9],
        [0.6, NAN],
        [NAN, 0.0],
    ],
    [0.5, 0.499, 0.7, 1.0],
)


def test_by_hand() -> None:
    # cat: of 0.5 and 0.6 only the latter is above a half; dog: 0.51 and 0.9 of three.
    assert np.allclose(per_class_corloc(HAND), [1 / 2, 2 / 3])
    assert estimate(class_wise, HAND).value == pytest.approx((1 / 2 + 2 / 3) / 2)
    # Image-wise a half is enough: images 0, 2 and 3.
    assert estimate(image_wise, HAND).value == pytest.approx(3 / 4)
    assert estimate(mean_iou, HAND).value == pytest.approx((0.5 + 0.51 + 0.9 + 0.6 + 0.0) / 5)


def test_the_two_thresholds_at_exactly_a_half() -> None:
    judged = judged_of([[0.5]], [0.5])
    assert estimate(class_wise, judged).value == 0
    assert estimate(image_wise, judged).value == 1
    above = np.nextafter(0.5, 1)
    assert estimate(class_wise, judged_of([[above]], [above])).value == 1
    below = np.nextafter(0.5, 0)
    assert estimate(image_wise, judged_of([[below]], [below])).value == 0


def test_weights_by_hand() -> None:
    weights = np.array([[1, 1, 1, 1], [2, 0, 1, 1], [0, 2, 0, 2], [4, 0, 0, 0]], dtype=np.float64)
    # Second row: cat (0 + 0 + 1) / 3, dog (1 + 1 + 0) / 3; third: no cat, dog 2 of 4; fourth: cat 0, dog 1.
    assert np.allclose(class_wise(weights, HAND), [7 / 12, (1 / 3 + 2 / 3) / 2, 1 / 2, 1 / 2])
    assert np.allclose(image_wise(weights, HAND), [3 / 4, 1, 1 / 2, 1])
    assert np.allclose(mean_iou(weights, HAND), [2.51 / 5, 2.62 / 6, 1.8 / 4, 4.04 / 8])


def test_classes_count_alike_however_many_images_they_have() -> None:
    # A class of 99 hits and a class of one miss.
    iou = [[1.0, NAN]] * 99 + [[NAN, 0.0]]
    assert estimate(class_wise, judged_of(iou, [1.0] * 100)).value == pytest.approx(0.5)


@STATISTICS
@pytest.mark.parametrize("images", [20, 100])
@pytest.mark.parametrize("classes", [1, 4])
def test_the_interval_holds_the_point(statistic, images: int, classes: int) -> None:
    for seed in range(10):
        made = estimate(statistic, _random(seed, images, classes))
        assert 0 <= made.low < made.value < made.high <= 1


@STATISTICS
@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 4))
@settings(max_examples=25)
def test_few_images_and_classes_that_resamples_lack(statistic, seed: int, images: int, classes: int) -> None:
    made = estimate(statistic, _random(seed, images, classes))
    assert 0 <= made.low <= made.high <= 1
    assert 0 <= made.value <= 1


@STATISTICS
def test_deterministic_by_seed(statistic) -> None:
    judged = _random(0, images=500)
    assert estimate(statistic, judged) == estimate(statistic, judged, seed=0)
    assert estimate(statistic, judged, seed=1) != estimate(statistic, judged, seed=0)
    assert estimate(statistic, judged, seed=1).value == estimate(statistic, judged, seed=0).value


@STATISTICS
def test_one_image_has_no_spread(statistic) -> None:
    made = estimate(statistic, judged_of([[0.75]], [0.75]))
    assert made.low == made.value == made.high


@STATISTICS
def test_difference_to_itself_is_exactly_zero(statistic) -> None:
    judged = _random(0)
    assert estimate(statistic, judged, judged) == Estimate(0.0, 0.0, 0.0)


@STATISTICS
def test_difference_is_signed_and_paired(statistic) -> None:
    judged = _random(0, images=200)
    # Where all items differ by the same, no resample differs by anything else.
    better = Judged(judged.items, np.ones(len(judged.items)), np.ones(200))
    worse = Judged(judged.items, np.zeros(len(judged.items)), np.zeros(200))
    assert estimate(statistic, better, worse) == Estimate(1.0, 1.0, 1.0)
    assert estimate(statistic, worse, better) == Estimate(-1.0, -1.0, -1.0)
    # One image gained: the paired interval is far narrower than that of either figure.
    gained = Judged(judged.items, judged.iou.copy(), judged.image_iou.copy())
    gained.iou[np.argmin(gained.iou)], gained.image_iou[np.argmin(gained.image_iou)] = 1.0, 1.0
    difference = estimate(statistic, gained, judged)
    alone = estimate(statistic, judged)
    assert difference.value > 0
    assert difference.high - difference.low < 0.4 * (alone.high - alone.low)


@pytest.mark.parametrize("fraction", [0.1, 0.4, 0.75])
@pytest.mark.parametrize("statistic", [class_wise, image_wise])
def test_interval_of_one_class_is_the_binomial_one(statistic, fraction: float) -> None:
    count = 1000
    hits = (np.arange(count) < fraction * count).astype(np.float64)
    made = estimate(statistic, judged_of(hits[:, None], hits))
    deviation = np.sqrt(fraction * (1 - fraction) / count)
    assert made.value == pytest.approx(fraction)
    # A quantile at 2.5 % of 1000 resamples is itself known to some 8 % of a standard deviation.
    assert made.low == pytest.approx(fraction - 1.96 * deviation, abs=0.3 * deviation)
    assert made.high == pytest.approx(fraction + 1.96 * deviation, abs=0.3 * deviation)


def test_intervals_hold_the_true_share_about_as_often_as_they_say() -> None:
    generator = np.random.default_rng(0)
    fraction, covered, trials = 0.35, 0, 200
    for seed in range(trials):
        hits = (generator.random(150) < fraction).astype(np.float64)
        made = estimate(image_wise, judged_of(hits[:, None], hits), seed=seed)
        covered += made.low <= fraction <= made.high
    # 95 % of 200 is 190 with standard deviation 3.1; the percentile bootstrap is a little short.
    assert 178 <= covered <= 199


RANKED = judged_of(
    # cat  dog
    [[0.5, 0.9], [NAN, 0.7], [0.49, NAN], [0.8, NAN]],
    [0.0] * 4,
    [[2, 1], [NAN, 6], [1, NAN], [5, NAN]],
)


@pytest.mark.parametrize(("k", "hits"), [(1, [1, 0, 0, 0]), (2, [1, 0, 0, 0]), (5, [1, 0, 0, 1]), (6, [1, 1, 0, 1])])
def test_top_k_by_hand(k: int, hits: list[int]) -> None:
    """Image 0 by its dog, 1 from rank 6, 2 never (IoU below a half), 3 from rank 5."""
    assert top_k(k, np.eye(4), RANKED).tolist() == hits
    assert top_k(k, np.ones((1, 4)), RANKED)[0] == pytest.approx(sum(hits) / 4)


def test_a_class_without_a_box_is_in_no_top_k() -> None:
    judged = judged_of([[0.9]], [0.9], [[float("inf")]])
    assert top_k(1000, np.ones((1, 1)), judged) == 0


def test_without_ranks_there_is_no_top_k() -> None:
    assert np.isnan(top_k(1, np.ones((2, 1)), judged_of([[0.9]], [0.9]))).all()


def test_gt_known_counts_items_and_a_half_is_enough() -> None:
    # 0.5, 0.9, 0.7 and 0.8 of five items.
    assert gt_known(np.ones((1, 4)), RANKED)[0] == pytest.approx(4 / 5)


@pytest.mark.parametrize(("name", "value"), [("CorLoc at IoU 0.3", 1.0), ("CorLoc at IoU 0.7", (1 / 3 + 1 / 2) / 2)])
def test_corloc_at_other_thresholds(name: str, value: float) -> None:
    # Above 0.7: of the cats' 0.5, 0.49, 0.8 the last, of the dogs' 0.9 and 0.7 the first.
    assert METRICS[name](np.ones((1, 4)), RANKED)[0] == pytest.approx(value)
