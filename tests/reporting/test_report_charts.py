"""The numbers behind the charts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_runs import found, hand_run, judged_run, true_of

from wsloc.evaluation.histograms import box_errors
from wsloc.evaluation.judging import TrueBoxes, true_boxes
from wsloc.evaluation.kept_curve import judge_boxes
from wsloc.evaluation.summary import RUN
from wsloc.judging.judged_run import JudgedRun
from wsloc.reporting.charts import count_ticks, thinned
from wsloc.reporting.figures import (
    area_chart,
    found_fraction,
    iou_chart,
    kept_chart,
    miss_kinds,
    run_charts,
    size_groups,
    sweep,
    sweep_chart,
)


def true_of_run(run: JudgedRun) -> TrueBoxes:
    assert run.judged is not None
    assert run.truth is not None
    return true_boxes(run.judged[RUN].items, run.truth.images)


def test_iou_bars_by_hand() -> None:
    run = hand_run()
    assert run.judged is not None
    chart = iou_chart(run.judged[RUN])
    # IoU 1 and 0.25, and two items without a box.
    nothing, quarter, whole = chart.bars
    assert (nothing.y, nothing.x1 < 0) == (2, True)
    assert (round(quarter.x0, 3), round(quarter.x1, 3), quarter.y, quarter.faint) == (0.2, 0.25, 1, True)
    assert (round(whole.x0, 3), round(whole.x1, 3), whole.y, whole.faint) == (0.95, 1.0, 1, False)
    assert chart.summary.startswith("Above IoU 0.5, where a box counts as found: 1 of 4 items.")


def test_the_sweep_by_hand() -> None:
    run = hand_run()
    assert run.judged is not None
    # Class-wise: cat has IoU 1 and 0.25, dog has none; above IoU 1 there is nothing.
    values = sweep(run.judged[RUN])
    assert (len(values), values[0], values[12], values[13], values[49], values[50]) == (51, 0.5, 0.5, 0.25, 0.25, 0.0)
    names = [(line.name, line.dashed) for line in sweep_chart(run.judged).lines]
    assert names == [("wsloc", False), ("center box", True), ("full image", True)]


def test_what_became_of_the_items_by_hand() -> None:
    box = (10.0, 10.0, 50.0, 40.0)
    boxes = {
        "right": box,
        "large": (0.0, 0.0, 80.0, 60.0),
        "small": (10.0, 10.0, 30.0, 25.0),
        "beside": (35.0, 10.0, 75.0, 40.0),
        "nothing": (60.0, 50.0, 70.0, 60.0),
    }
    run = judged_run(
        [found(name, "cat", own) for name, own in boxes.items()],
        [true_of(name, {"cat": [box]}) for name in [*boxes, "no box"]],
    )
    assert run.judged is not None
    kinds = miss_kinds(run.judged[RUN], true_of_run(run), run.contents.localizations)
    assert [(kind.name, kind.count) for kind in kinds] == [
        ("found", 1),
        ("box too large", 1),
        ("box too small", 1),
        ("beside the object", 1),
        ("nothing of the object", 2),
    ]
    assert sum(kind.fraction for kind in kinds) == pytest.approx(1)


def test_size_groups_by_hand() -> None:
    # Of 8000 pixels: 14.9 %, 15 % and 40 %; the largest object of the class counts.
    boxes = {"a": [(0, 0, 100, 11.92)], "b": [(0, 0, 100, 12), (0, 0, 1, 1)], "c": [(0, 0, 100, 32)]}
    run = judged_run([found("c", "cat", (0, 0, 100, 32))], [true_of(name, {"cat": own}) for name, own in boxes.items()])
    assert run.judged is not None
    groups = size_groups(true_of_run(run))
    assert {name: kept.tolist() for name, kept in groups.items()} == {
        "below 15 %": [True, False, False],
        "15 to 40 %": [False, True, False],
        "above 40 %": [False, False, True],
    }
    large = found_fraction(run.judged[RUN], groups["above 40 %"])
    assert large is not None
    assert (large.value, large.low) == (1, 1)
    assert found_fraction(run.judged[RUN], np.zeros(3, dtype=bool)) is None


def test_size_errors_beyond_the_axis_are_counted_at_its_ends() -> None:
    run = judged_run(
        [found("a", "cat", (0, 0, 100, 80)), found("b", "cat", (10, 10, 20, 20))],
        [true_of("a", {"cat": [(0, 0, 1, 1)]}), true_of("b", {"cat": [(10, 10, 20, 20)]})],
    )
    chart = area_chart(box_errors(true_of_run(run), run.contents.localizations))
    assert [(bar.x0, bar.x1, bar.y) for bar in chart.bars] == [(0.0, 0.25, 1), (2.75, 3.0, 1)]


def test_the_kept_curve_by_hand() -> None:
    run = hand_run()
    assert run.truth is not None
    kept = judge_boxes(run.truth.images, run.contents.localizations)
    assert kept is not None
    lines = {line.name: line.points for line in kept_chart(kept).lines}
    # Probability puts the right box first, quality the wrong one.
    assert lines["probability"] == ((0.5, 1.0), (1.0, 0.5))
    assert lines["quality"] == ((0.5, 0.0), (1.0, 0.5))
    assert lines["best possible order"] == ((0.5, 1.0), (1.0, 0.5))
    assert lines["random order"] == ((0.0, 0.5), (1.0, 0.5))


def test_keys_are_unique_and_all_values_lie_on_their_axes() -> None:
    run = hand_run()
    assert run.judged is not None
    assert run.truth is not None
    kept = judge_boxes(run.truth.images, run.contents.localizations)
    charts = run_charts(run.judged, true_of_run(run), kept, run.contents.localizations)
    assert [chart.key for chart in charts] == ["iou", "sweep", "kept", "size", "area", "aspect"]
    for chart in charts:
        for bar in chart.bars:
            assert chart.x_range[0] <= bar.x0 < bar.x1 <= chart.x_range[1] + 1e-9
            assert chart.y_range[0] <= bar.y <= chart.y_range[1]
        for line in chart.lines:
            assert all(0 <= x <= 1 and 0 <= y <= 1 for x, y in line.points)


@given(st.integers(0, 10**7))
def test_ticks_of_counts(most: int) -> None:
    (low, high), ticks = count_ticks(most)
    assert (low, ticks[0][0], ticks[-1][0]) == (0, 0, high)
    assert high >= max(most, 1)
    assert 2 <= len(ticks) <= 6
    assert all(value == int(label.replace(",", "")) for value, label in ticks)


@given(st.integers(1, 3000))
def test_a_thinned_curve_keeps_its_ends(count: int) -> None:
    x = np.arange(1, count + 1) / count
    points = thinned(x, x**2)
    assert len(points) <= 200
    assert (points[0][0], points[-1]) == (x[0], (1.0, 1.0))
    assert set(points) <= set(zip(x.tolist(), (x**2).tolist(), strict=True))
