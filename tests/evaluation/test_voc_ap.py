import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_records import Box, box_of, score, truth_of

from wsloc.boxes import to_voc
from wsloc.evaluation.voc_ap import ClassVocAp, average_precisions, voc_ap
from wsloc.records import GroundTruth, Localization

LEFT, RIGHT = (0, 0, 20, 20), (60, 60, 80, 80)
HALF_OF_LEFT, LESS_THAN_HALF = (0, 0, 20, 10), (0, 0, 20, 9.99)


@pytest.mark.parametrize(
    ("hit", "objects", "all_points", "eleven_points"),
    [
        ([], 3, 0, 0),
        ([0, 0], 1, 0, 0),
        ([1], 1, 1, 1),
        # One of two found: recall 0 to 0.5 are six of the eleven points.
        ([1], 2, 1 / 2, 6 / 11),
        ([0, 1], 1, 1 / 2, 1 / 2),
        # Precision 1, 1/2, 2/3; the second is lifted to 2/3.
        ([1, 0, 1], 2, (1 + 2 / 3) / 2, (6 * 1 + 5 * 2 / 3) / 11),
        # Recall 0.3 is reached by exactly 3 of 10, and 0.7 by 7.
        ([1, 1, 1], 10, 3 / 10, 4 / 11),
        ([1] * 7, 10, 7 / 10, 8 / 11),
        ([1, 1, 0, 0], 2, 1, 1),
        # Precision 0, 0, 1/3, 2/4, 2/5, 3/6 is lifted to 1/2 up to the last hit.
        ([0, 0, 1, 1, 0, 1], 3, 1 / 2, 1 / 2),
    ],
)
def test_precision_by_hand(hit: list[int], objects: int, all_points: float, eleven_points: float) -> None:
    assert average_precisions(np.array(hit, dtype=bool), objects) == pytest.approx((all_points, eleven_points))


def _ap(truth: list[GroundTruth], *found: Localization) -> float:
    scored = voc_ap({image.image_id: image for image in truth}, found, score)
    assert scored is not None
    assert scored.all_points == scored.classes["cat"].all_points
    return scored.all_points


TWO = truth_of("a", ("cat", LEFT), ("cat", RIGHT))
CLOSE = truth_of("a", ("cat", (0, 0, 20, 20)), ("cat", (0, 0, 20, 30)))


@pytest.mark.parametrize(
    ("truth", "found", "expected"),
    [
        (TWO, [(LEFT, 0.9), (RIGHT, 0.8)], 1),
        (TWO, [], 0),
        # An IoU of exactly a half is enough.
        (TWO, [(HALF_OF_LEFT, 0.9), (RIGHT, 0.8)], 1),
        (TWO, [(LESS_THAN_HALF, 0.9), (RIGHT, 0.8)], 1 / 4),
        # The second box on an object is a miss: precision 1, 1/2, 2/3.
        (TWO, [(LEFT, 0.9), (LEFT, 0.8), (RIGHT, 0.7)], 5 / 6),
        # So it is if it would also do for another object (IoU 2/3), which it fits less.
        (CLOSE, [((0, 0, 20, 20), 0.9), ((0, 0, 20, 20), 0.8)], 1 / 2),
        # Of two objects that fit alike it is the first, so the second box finds nothing new.
        (truth_of("a", ("cat", LEFT), ("cat", LEFT)), [(LEFT, 0.9), (LEFT, 0.8)], 1 / 2),
        # Equal scores: in the order given.
        (truth_of("a", ("cat", LEFT)), [(LEFT, 0.5), (RIGHT, 0.5)], 1),
        (truth_of("a", ("cat", LEFT)), [(RIGHT, 0.5), (LEFT, 0.5)], 1 / 2),
        # A score that is no number comes last.
        (truth_of("a", ("cat", LEFT)), [(RIGHT, float("nan")), (LEFT, -1e9)], 1),
        # Any number of boxes on a difficult object are neither hits nor misses, and it is not to be found.
        (truth_of("a", ("cat", LEFT), ("cat", RIGHT, "difficult")), [(RIGHT, 0.9), (RIGHT, 0.8), (LEFT, 0.7)], 1),
        # A box is compared with the object that it fits best, even if that one is difficult.
        (truth_of("a", ("cat", (0, 0, 20, 30)), ("cat", LEFT, "difficult")), [(LEFT, 0.9)], 0),
        # Misses in a crowd are left out (half of the box is enough), those outside are not, hits in it count.
        (truth_of("a", ("cat", LEFT), ("cat", (50, 50, 100, 100), "crowd")), [(RIGHT, 0.9), (LEFT, 0.8)], 1),
        (truth_of("a", ("cat", LEFT), ("cat", (70, 60, 90, 80), "crowd")), [(RIGHT, 0.9), (LEFT, 0.8)], 1),
        (truth_of("a", ("cat", LEFT), ("cat", (71, 60, 90, 80), "crowd")), [(RIGHT, 0.9), (LEFT, 0.8)], 1 / 2),
        (truth_of("a", ("cat", LEFT), ("dog", (50, 50, 100, 100), "crowd")), [(RIGHT, 0.9), (LEFT, 0.8)], 1 / 2),
        (truth_of("a", ("cat", LEFT), ("cat", (0, 0, 100, 100), "crowd")), [(LEFT, 0.9), (LEFT, 0.8)], 1),
    ],
)
def test_which_boxes_are_hits(truth: GroundTruth, found: list[tuple[Box, float]], expected: float) -> None:
    boxes = [box_of("a", "cat", box, value) for box, value in found]
    assert _ap([truth], *boxes) == pytest.approx(expected)


def test_classes() -> None:
    truth = {
        "a": truth_of("a", ("cat", LEFT), ("dog", RIGHT)),
        "b": truth_of("b", ("dog", LEFT), ("cow", LEFT, "difficult")),
    }
    found = [
        box_of("a", "cat", LEFT),
        box_of("a", "dog", RIGHT, 0.3),
        box_of("b", "dog", RIGHT, 0.9),  # a miss, before the hit
        box_of("b", "dog", LEFT, 0.2, component=1),
        box_of("b", "cow", LEFT),
        box_of("b", "horse", LEFT),
        box_of("elsewhere", "cat", RIGHT, 0.99),
    ]
    scored = voc_ap(truth, found, score)
    assert scored is not None
    # dog: precision 0, 1/2, 2/3; recall 0, 1/2, 1.
    assert scored.classes == {"cat": ClassVocAp(1, 1, 1.0, 1.0), "dog": ClassVocAp(2, 3, 2 / 3, pytest.approx(2 / 3))}
    assert (scored.all_points, scored.eleven_points) == pytest.approx((5 / 6, 5 / 6))
    chosen = voc_ap(truth, found, score, ["dog", "cow", "zebra"])
    assert chosen is not None
    assert chosen.classes == {"dog": scored.classes["dog"]}
    # A box of a class on an image that does not show it is a miss.
    wrong = voc_ap(truth, [*found, box_of("b", "cat", LEFT, 0.9)], score, ["cat"])
    assert wrong is not None
    assert wrong.all_points == 1 / 2


@pytest.mark.parametrize("truth", [{}, {"a": truth_of("a")}, {"a": truth_of("a", ("cat", LEFT, "difficult"))}])
def test_nothing_to_find(truth: dict[str, GroundTruth]) -> None:
    assert voc_ap(truth, [box_of("a", "cat", LEFT)], score) is None


def _inclusive_overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0]) + 1
    height = min(a[3], b[3]) - max(a[1], b[1]) + 1
    if width <= 0 or height <= 0:
        return 0.0

    def size(box: tuple[int, int, int, int]) -> int:
        return (box[2] - box[0] + 1) * (box[3] - box[1] + 1)

    return width * height / (size(a) + size(b) - width * height)


def _slow(truth: dict[str, GroundTruth], found: list[Localization], name: str) -> tuple[float, float] | None:
    """The definition box by box, on 1-based, inclusive, whole numbers."""
    todo = sum(
        known == name and not hard
        for image in truth.values()
        for known, hard in zip(image.class_names, image.difficult, strict=True)
    )
    if not todo:
        return None
    taken: set[tuple[str, int]] = set()
    hits, misses, curve = 0, 0, []
    for record in sorted((record for record in found if record.class_name == name), key=lambda r: -r.probability):
        image = truth[record.image_id]
        best, chosen = 0.0, None
        for place, (box, known) in enumerate(zip(image.boxes_xyxy, image.class_names, strict=True)):
            if known == name and (overlap := _inclusive_overlap(to_voc(record.box_xyxy), to_voc(box))) > best:
                best, chosen = overlap, place
        if best < 0.5 or chosen is None:
            misses += 1
        elif image.difficult[chosen]:
            continue
        elif (record.image_id, chosen) in taken:
            misses += 1
        else:
            hits += 1
            taken.add((record.image_id, chosen))
        curve.append((hits, hits / (hits + misses)))

    def highest(recall_times_ten: int) -> float:
        return max((precision for count, precision in curve if 10 * count >= recall_times_ten * todo), default=0.0)

    rises = [max(precision for count, precision in curve if count >= rise) for rise in range(1, hits + 1)]
    return sum(rises) / todo, sum(map(highest, range(11))) / 11


@given(st.integers(0, 10**6))
@settings(max_examples=100)
def test_the_definition_box_by_box(seed: int) -> None:
    generator = np.random.default_rng(seed)

    def boxes(count: int) -> np.ndarray:
        # A coarse grid, so that IoUs of a half and equal IoUs occur.
        corner, side = generator.integers(0, 4, (count, 2)), generator.integers(1, 4, (count, 2))
        return np.concatenate([corner, corner + side], axis=1).astype(np.float64)

    names = ["cat", "dog"]
    truth = {}
    for image_id in "abc":
        count = int(generator.integers(0, 5))
        truth[image_id] = GroundTruth(
            image_id, boxes(count), tuple(generator.choice(names, count)), generator.random(count) < 0.2, (100, 100)
        )
    found = [
        box_of(
            str(generator.choice(list("abc"))), str(generator.choice(names)), tuple(box), generator.integers(0, 6) / 5
        )
        for box in boxes(int(generator.integers(0, 20)))
    ]
    expected = {name: slow for name in names if (slow := _slow(truth, found, name)) is not None}
    scored = voc_ap(truth, found, score)
    made = {} if scored is None else {k: (v.all_points, v.eleven_points) for k, v in scored.classes.items()}
    assert made.keys() == expected.keys()
    for name, figures in expected.items():
        assert made[name] == pytest.approx(figures, abs=1e-12)
