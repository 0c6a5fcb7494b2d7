import numpy as np
import pytest
from dense import judged_of
from made_records import Box, box_of, truth_of

from wsloc.evaluation.histograms import BoxErrors, box_errors, iou_histogram
from wsloc.evaluation.items import judged_items
from wsloc.evaluation.judging import true_boxes
from wsloc.records import GroundTruth, Localization


def test_bins_hold_their_upper_edge() -> None:
    iou = [0.0, 0.0, 1e-9, 0.05, 0.0501, 0.5, np.nextafter(0.5, 1), 0.999, 1.0, 1.0000000000000002]
    made = iou_histogram(judged_of([[value] for value in iou], iou))
    expected = np.zeros(20)
    expected[0], expected[1], expected[9], expected[10], expected[19] = 2, 1, 1, 1, 3
    assert made.counts.tolist() == expected.tolist()
    assert made.nothing == 2
    assert (made.edges[0], made.edges[10], made.edges[-1], len(made.edges)) == (0, 0.5, 1, 21)
    # What lies above the middle is what CorLoc counts.
    assert made.counts[10:].sum() == np.sum(np.array(iou) > 0.5)


def test_nothing_found() -> None:
    made = iou_histogram(judged_of([[0.0], [0.0]], [0, 0]))
    assert (made.counts.sum(), made.nothing) == (0, 2)


def _errors(truth: list[GroundTruth], *found: Localization) -> BoxErrors:
    by_id = {image.image_id: image for image in truth}
    return box_errors(true_boxes(judged_items(by_id), by_id), found)


@pytest.mark.parametrize(
    ("box", "log2_area", "log2_aspect"),
    [
        ((20, 20, 60, 40), 0, 0),
        ((20, 20, 100, 40), 1, 1),  # twice as wide, to the right
        ((0, 20, 60, 40), np.log2(1.5), np.log2(1.5)),
        ((20, 0, 60, 60), np.log2(3), -np.log2(3)),
        ((30, 25, 50, 35), -2, 0),  # inside
        ((40, 20, 80, 40), 0, 0),  # moved by half its width
    ],
)
def test_errors_by_hand(box: Box, log2_area: float, log2_aspect: float) -> None:
    made = _errors([truth_of("a", ("cat", (20, 20, 60, 40)))], box_of("a", "cat", box))
    assert made.item.tolist() == [0]
    assert made.log2_area == pytest.approx([log2_area])
    assert made.log2_aspect == pytest.approx([log2_aspect])


def test_which_boxes_and_objects() -> None:
    truth = [
        truth_of("a", ("cat", (0, 0, 90, 90)), ("cat", (0, 0, 10, 10), "difficult"), ("dog", (0, 0, 20, 20))),
        truth_of("b", ("cat", (0, 0, 10, 10))),
        truth_of("c", ("cat", (0, 0, 10, 10))),
        truth_of("d", ("cat", (0, 0, 10, 10), "difficult")),
    ]
    made = _errors(
        truth,
        box_of("b", "cat", (50, 50, 60, 60)),  # touches nothing
        box_of("d", "cat", (0, 0, 10, 10)),  # difficult alone: no item
        box_of("a", "dog", (0, 0, 20, 40)),
        box_of("a", "cat", (0, 0, 10, 20)),  # fits the difficult one best
        box_of("a", "cat", (0, 0, 90, 90), component=1),
        box_of("elsewhere", "cat", (0, 0, 10, 10)),
    )
    assert made.item.tolist() == [0, 1]
    assert made.log2_area == pytest.approx([1, 1])
    assert len(_errors(truth).item) == 0
