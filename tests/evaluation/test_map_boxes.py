"""One pass over the maps of a small set."""

from __future__ import annotations

import numpy as np
import pytest

from wsloc.evaluation import box_curves, wsol
from wsloc.evaluation.bootstrap import estimate
from wsloc.evaluation.items import judged_items, mean_over_classes, mean_over_items
from wsloc.evaluation.judging import true_boxes
from wsloc.evaluation.map_boxes import Protocol, judge_maps
from wsloc.evaluation.map_source import filled, stretched
from wsloc.evaluation.max_box_acc import ORACLE_METRICS
from wsloc.records import GroundTruth

SIZE = (80, 60)


def _truth(image_id: str, names: tuple[str, ...], boxes: list[list[float]], difficult: tuple[bool, ...] = ()):
    flags = np.array(difficult or [False] * len(names))
    return GroundTruth(image_id, np.array(boxes, dtype=float), names, flags, SIZE)


TRUTH = {
    "a": _truth("a", ("dog", "cat", "dog"), [[0, 0, 20, 20], [40, 0, 80, 30], [40, 40, 80, 60]], (False, False, True)),
    "b": _truth("b", ("cat",), [[20, 20, 60, 40]]),
    "c": _truth("c", ("bird", "cat"), [[0, 0, 5, 5], [20, 20, 60, 40]], (True, False)),
}
TRUE = true_boxes(judged_items(TRUTH), TRUTH)
PAIRS = [("a", "cat"), ("a", "dog"), ("b", "cat"), ("c", "cat")]


def _perfect(image_id: str, class_name: str) -> np.ndarray | None:
    """The last box of the class is lit; image c has no map."""
    if image_id == "c":
        return None
    truth = TRUTH[image_id]
    x0, y0, x1, y1 = truth.boxes_xyxy[len(truth.class_names) - 1 - truth.class_names[::-1].index(class_name)]
    saliency = np.zeros((60, 80), dtype=np.float32)
    saliency[int(y0) : int(y1), int(x0) : int(x1)] = 1
    return saliency


def test_every_metric_of_perfect_maps_and_a_missing_one() -> None:
    judged = judge_maps(TRUE, _perfect)
    assert judged.curves.items.pairs() == PAIRS
    assert judged.without_map == (3,)
    assert np.array_equal(judged.curves.largest[:, 1:], np.repeat([[1.0], [1], [1], [0]], 99, axis=1))
    assert np.array_equal(judged.curves.best[:, 1:], judged.curves.largest[:, 1:])
    assert not judged.curves.largest[3].any()
    assert judged.energy.values.tolist() == judged.hits.values.tolist() == [1, 1, 1, 0]
    assert len(judged.curves) == 3
    assert estimate(ORACLE_METRICS["MaxBoxAcc (oracle threshold)"], judged.curves).value == 0.75
    assert estimate(mean_over_items, judged.energy).value == 0.75
    assert estimate(mean_over_classes, judged.hits).value == pytest.approx((2 / 3 + 1) / 2)


@pytest.mark.parametrize(("protocol", "module"), [("wsloc", box_curves), ("wsol", wsol)])
def test_each_item_gets_its_own_boxes_by_the_protocol(protocol: Protocol, module) -> None:
    generator = np.random.default_rng(0)
    maps = {pair: generator.random((15, 20)).astype(np.float32) for pair in PAIRS}
    judged = judge_maps(TRUE, lambda *pair: maps[pair], protocol)
    assert np.array_equal(judged.curves.thresholds, module.THRESHOLDS)
    for number, (image_id, class_name) in enumerate(PAIRS):
        truth = TRUTH[image_id]
        own = truth.boxes_xyxy[[name == class_name for name in truth.class_names]]
        curve = module.curve_of_map(maps[image_id, class_name], own, SIZE)
        assert np.array_equal(judged.curves.largest[number], curve.largest.astype(np.float32))
        assert np.array_equal(judged.curves.best[number], curve.best.astype(np.float32))


def test_each_map_is_asked_for_once_in_order_and_the_items_are_watched() -> None:
    asked: list[tuple[str, str]] = []
    watched: list[int] = []

    def map_of(*pair: str) -> None:
        asked.append((pair[0], pair[1]))

    def count(numbers, *_told):
        for number in numbers:
            watched.append(number)
            yield number

    judged = judge_maps(TRUE, map_of, progress=count)
    assert asked == PAIRS
    assert watched == list(judged.without_map) == [0, 1, 2, 3]
    assert not judged.hits.values.any()
    assert not judged.energy.values.any()


def test_filled_and_stretched() -> None:
    saliency = np.array([[2, np.nan], [np.inf, 6]], dtype=np.float32)
    assert filled(saliency).tolist() == [[2, 2], [2, 6]]
    assert np.isnan(saliency[0, 1])  # the given map stays as it is
    assert stretched(filled(saliency)).tolist() == [[0, 0], [0, 1]]
    assert filled(np.full((1, 2), np.nan)).tolist() == [[0, 0]]
    assert stretched(np.array([[3.0, 3.0]])).tolist() == [[0, 0]]
