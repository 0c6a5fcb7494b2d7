import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_records import box_of, truth_of

from wsloc import boxes
from wsloc.evaluation.pairing import best_matches, boxes_of, crowds_of, largest_fraction_inside, objects_of, pair_up

KEYS = st.lists(st.sampled_from("abc"), max_size=8)


@given(KEYS, KEYS)
def test_all_pairs_in_order(keys: list[str], true_keys: list[str]) -> None:
    own, other = pair_up(keys, true_keys)
    expected = [(a, b) for a, key in enumerate(keys) for b, true_key in enumerate(true_keys) if key == true_key]
    assert list(zip(own.tolist(), other.tolist(), strict=True)) == expected


@given(st.integers(0, 10**6))
def test_best_match_is_the_first_largest_of_its_row(seed: int) -> None:
    generator = np.random.default_rng(seed)

    def made(count: int) -> tuple[np.ndarray, list[int]]:
        corner, side = generator.integers(0, 3, (count, 2)), generator.integers(1, 3, (count, 2))
        keys = generator.integers(0, 3, count).tolist()
        return np.concatenate([corner, corner + side], axis=1).astype(np.float64), keys

    (own, keys), (true, true_keys) = made(int(generator.integers(0, 7))), made(int(generator.integers(0, 7)))
    match = best_matches(own, keys, true, true_keys)
    for number, key in enumerate(keys):
        same = [place for place, true_key in enumerate(true_keys) if true_key == key]
        if not same:
            assert (match.iou[number], match.true[number]) == (0, -1)
            continue
        row = boxes.iou_matrix(own[number], true[same])[0]
        assert match.iou[number] == row.max()
        assert match.true[number] == same[int(row.argmax())]


def test_objects_and_crowds() -> None:
    truth = {
        "a": truth_of("a", ("cat", (0, 0, 1, 1)), ("dog", (0, 0, 2, 2), "difficult"), ("cat", (0, 0, 9, 9), "crowd")),
        "b": truth_of("b"),
        "c": truth_of("c", ("dog", (0, 0, 3, 3))),
    }
    every = objects_of(truth)
    assert every.keys == [("a", "cat"), ("a", "dog"), ("c", "dog")]
    assert every.boxes_xyxy[:, 2].tolist() == [1, 2, 3]
    assert every.difficult.tolist() == [False, True, False]
    dogs = objects_of(truth, ["dog"])
    assert (dogs.keys, dogs.boxes_xyxy[:, 2].tolist()) == ([("a", "dog"), ("c", "dog")], [2, 3])
    assert dogs.difficult.tolist() == [True, False]
    assert (crowds_of(truth).keys, crowds_of(truth).boxes_xyxy.tolist()) == ([("a", "cat")], [[0, 0, 9, 9]])
    for nothing in (objects_of({}), crowds_of({}), objects_of(truth, [])):
        assert (nothing.keys, nothing.boxes_xyxy.shape, len(nothing.difficult)) == ([], (0, 4), 0)


def test_share_inside() -> None:
    truth = {"a": truth_of("a", ("cat", (0, 0, 10, 10), "crowd"), ("cat", (10, 0, 18, 10), "crowd"))}
    found = [
        box_of("a", "cat", (0, 0, 5, 5)),
        box_of("a", "cat", (5, 0, 25, 10)),  # 5 of 20 columns in the one region, 8 in the other
        box_of("a", "cat", (50, 50, 60, 60)),
        box_of("a", "cat", (5, 5, 5, 8)),  # empty
        box_of("a", "dog", (0, 0, 5, 5)),
    ]
    keys = [(record.image_id, record.class_name) for record in found]
    assert largest_fraction_inside(boxes_of(found), keys, crowds_of(truth)) == pytest.approx([1, 8 / 20, 0, 0, 0])
