"""The page of a run without true boxes."""

from __future__ import annotations

import pytest
from made_runs import Page, found, hand_run, judged_run

from wsloc.config import LocalizeConfig
from wsloc.records import Detection, Failure
from wsloc.reporting.page import run_page
from wsloc.reporting.quality_figures import ClassQuality, class_qualities, quality_charts
from wsloc.reporting.report_model import build_run_report
from wsloc.reporting.text import run_text

BOX = (10.0, 10.0, 50.0, 40.0)
BOXES = [
    found("a", "cat", BOX, quality=0.96),
    found("b", "cat", BOX, quality=0.71, fallback="seeds"),
    found("c", "cat", BOX, quality=0.22),
    found("a", "dog", BOX, quality=0.61),
]
FAILED = [Failure("d", "d.jpg", "cow", "cut", "nothing was found"), Failure("e", "e.jpg", "", "read", "no image")]


def test_classes_by_hand() -> None:
    assert class_qualities(BOXES, FAILED) == (
        ClassQuality("", 0, 0, 1, None, (0, 0, 0, 0, 0)),
        ClassQuality("cat", 3, 1, 0, 0.71, (2, 2, 2, 1, 1)),
        ClassQuality("cow", 0, 0, 1, None, (0, 0, 0, 0, 0)),
        ClassQuality("dog", 1, 0, 0, 0.61, (1, 1, 0, 0, 0)),
    )


def test_the_quality_of_a_detection_is_its_score() -> None:
    detection = Detection("a", "a.jpg", "dog", BOX, 0.75, 0.1, "detector", 0, (100, 80))
    assert class_qualities([detection], []) == (ClassQuality("dog", 1, 0, 0, 0.75, (1, 1, 1, 0, 0)),)


def test_charts_by_hand() -> None:
    histogram, curve = quality_charts(BOXES)
    assert [(round(bar.x0, 2), bar.y) for bar in histogram.bars] == [(0.2, 1), (0.6, 1), (0.7, 1), (0.95, 1)]
    assert "The median is 0.66." in histogram.summary
    (line,) = curve.lines
    assert line.points == ((0.0, 4.0), (0.22, 4.0), (0.61, 3.0), (0.71, 2.0), (0.96, 1.0), (1.0, 0.0))
    assert quality_charts([]) == ()


@pytest.mark.parametrize("boxes", [BOXES, []])
def test_the_page_has_them(boxes: list[object]) -> None:
    run = judged_run(boxes, None, FAILED, manifest={"without_substitute": [["cow", "a bull"]]})  # type: ignore[arg-type]
    report = build_run_report(run, LocalizeConfig(), 10)
    html, text = run_page(report), run_text(report)
    assert "≥ 0.8" in html
    assert "a bull" in html
    assert ('id="charts"' in html) == bool(boxes)
    assert Page(html)
    assert ("| cat | 3 | 0.71 | 2 | 2 | 2 | 1 | 1 | 1 | 0 |" in text) == bool(boxes)
    assert "| cow | 0 |  | 0 | 0 | 0 | 0 | 0 | 0 | 1 |" in text


def test_with_true_boxes_there_are_better_figures() -> None:

    report = build_run_report(hand_run(), LocalizeConfig(), 10)
    assert report.qualities == ()
    assert "median quality" not in run_text(report)
