import numpy as np
import pytest
from dense import table_of

from wsloc import boxes
from wsloc.evaluation.items import judged_items
from wsloc.evaluation.judging import Judged, judge_baseline, judge_localizations, true_boxes
from wsloc.records import GroundTruth, Localization

Box = tuple[float, float, float, float]


def _truth(image_id: str, *objects: tuple[str, Box, bool], size_wh: tuple[int, int] = (100, 50)) -> GroundTruth:
    return GroundTruth(
        image_id,
        np.array([box for _, box, _ in objects], dtype=np.float64).reshape(-1, 4),
        tuple(name for name, _, _ in objects),
        np.array([difficult for _, _, difficult in objects], dtype=bool),
        size_wh,
    )


def _found(image_id: str, class_name: str, box: Box, probability: float = 0.5, component: int = 0) -> Localization:
    return Localization(
        image_id=image_id,
        file=f"{image_id}.jpg",
        class_name=class_name,
        box_xyxy=box,
        probability=probability,
        quality=0.5,
        area_fraction=0.1,
        method="gradient",
        segmenter="grabcut",
        fallback=None,
        component=component,
        size_wh=(100, 50),
    )


TRUTH = {
    truth.image_id: truth
    for truth in (
        _truth("a", ("dog", (0, 0, 10, 10), False), ("dog", (50, 20, 70, 40), True), ("cat", (20, 0, 30, 20), False)),
        _truth("b", ("cat", (0, 0, 40, 40), True)),  # difficult-only: no item
        _truth("c", ("dog", (10, 10, 30, 30), False), ("cat", (60, 0, 80, 20), True)),
        _truth("d"),
    )
}
NAN = float("nan")


def _judged(*localizations: Localization) -> Judged:
    return judge_localizations(true_boxes(judged_items(TRUTH), TRUTH), localizations)


def _assert_iou(judged: Judged, expected: list[list[float]]) -> None:
    assert np.allclose(table_of(judged.items, judged.iou), expected, equal_nan=True)


def test_items_are_pairs_with_a_box_that_is_not_difficult() -> None:
    items = judged_items(TRUTH)
    assert items.image_ids == ("a", "c")
    assert items.class_names == ("cat", "dog")
    assert items.pairs() == [("a", "cat"), ("a", "dog"), ("c", "dog")]


@pytest.mark.parametrize(
    ("class_names", "image_ids", "names", "pairs"),
    [
        (["dog", "cat"], ("a", "c"), ("cat", "dog"), [("a", "cat"), ("a", "dog"), ("c", "dog")]),
        (["dog"], ("a", "c"), ("dog",), [("a", "dog"), ("c", "dog")]),
        (["cat", "zebra"], ("a",), ("cat",), [("a", "cat")]),
        (["zebra"], (), (), []),
        ([], (), (), []),
    ],
)
def test_only_the_classes_asked_for(
    class_names: list[str], image_ids: tuple[str, ...], names: tuple[str, ...], pairs: list[tuple[str, str]]
) -> None:
    items = judged_items(TRUTH, class_names)
    assert (items.image_ids, items.class_names, items.pairs()) == (image_ids, names, pairs)


def test_order_of_the_truth_is_kept() -> None:
    turned = dict(reversed(TRUTH.items()))
    assert judged_items(turned).image_ids == ("c", "a")


def test_iou_by_hand() -> None:
    judged = _judged(
        _found("a", "dog", (0, 0, 10, 5), probability=0.2),  # 50 of 100
        _found("a", "cat", (25, 10, 35, 30), probability=0.3),  # 5 x 10 = 50 of 200 + 200 - 50
        _found("c", "dog", (10, 10, 30, 30), probability=0.4),
    )
    _assert_iou(judged, [[1 / 7, 0.5], [NAN, 1]])
    # The most probable box of image a is the cat's.
    assert np.allclose(judged.image_iou, [1 / 7, 1])


def test_difficult_boxes_are_targets() -> None:
    # Exactly the difficult dog.
    judged = _judged(_found("a", "dog", (50, 20, 70, 40)))
    _assert_iou(judged, [[0, 1], [NAN, 0]])
    assert judged.image_iou.tolist() == [1, 0]


def test_a_box_counts_for_its_own_class_alone() -> None:
    # The dog's answer lies on the cat: no hit for dog; image-wise a hit all the same.
    judged = _judged(_found("a", "dog", (20, 0, 30, 20)))
    _assert_iou(judged, [[0, 0], [NAN, 0]])
    assert judged.image_iou.tolist() == [1, 0]


def test_missing_boxes_are_misses() -> None:
    judged = _judged()
    _assert_iou(judged, [[0, 0], [NAN, 0]])
    assert judged.image_iou.tolist() == [0, 0]


def test_boxes_of_what_is_no_item() -> None:
    judged = _judged(
        _found("b", "cat", (0, 0, 40, 40)),  # difficult-only
        _found("d", "dog", (0, 0, 40, 40)),  # an image without objects
        _found("elsewhere", "dog", (0, 0, 40, 40)),
        _found("c", "cat", (60, 0, 80, 20)),  # difficult-only, but in an image with an item
    )
    _assert_iou(judged, [[0, 0], [NAN, 0]])
    # Of image c the run made no other box, and it lies on an object.
    assert judged.image_iou.tolist() == [0, 1]


def test_further_components_do_not_count() -> None:
    judged = _judged(
        _found("c", "dog", (0, 0, 5, 5), probability=0.5),
        _found("c", "dog", (10, 10, 30, 30), probability=0.5, component=1),
        _found("a", "dog", (0, 0, 10, 10), probability=0.9, component=1),
    )
    _assert_iou(judged, [[0, 0], [NAN, 0]])
    assert judged.image_iou.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("of_dog", "of_cat", "expected"), [(0.2, 0.3, 0.0), (0.3, 0.2, 1.0), (0.3, 0.3, 1.0), (0.0, 0.0, 1.0)]
)
def test_the_one_box_of_an_image(of_dog: float, of_cat: float, expected: float) -> None:
    """Of the most probable class; of equal ones the first."""
    judged = _judged(
        _found("a", "dog", (0, 0, 10, 10), of_dog),
        _found("a", "cat", (90, 40, 100, 50), of_cat),
    )
    assert judged.image_iou.tolist() == [expected, 0]
    _assert_iou(judged, [[0, 1], [NAN, 0]])


def test_baselines_by_hand() -> None:
    true = true_boxes(judged_items(TRUTH), TRUTH)
    full = judge_baseline(true, boxes.full_image)
    # Boxes of the image of 5000 px: dog 100 or 400 (difficult), cat 200; then dog 400, cat 400 (difficult).
    _assert_iou(full, [[0.04, 0.08], [NAN, 0.08]])
    assert np.allclose(full.image_iou, [0.08, 0.08])
    # Center box (15, 7.5, 85, 42.5) of 2450 px: it holds the whole difficult dog of image a.
    center = judge_baseline(true, boxes.centered)
    cat = 10 * 12.5  # of (20, 0, 30, 20) the rows from 7.5
    dog = 15 * 20  # of (10, 10, 30, 30) the columns from 15
    _assert_iou(center, [[cat / (2450 + 200 - cat), 400 / 2450], [NAN, dog / (2450 + 400 - dog)]])


def test_no_items() -> None:
    judged = judge_localizations(true_boxes(judged_items({}), {}), [_found("a", "dog", (0, 0, 1, 1))])
    assert judged.iou.shape == (0,)
    assert judged.image_iou.shape == (0,)
