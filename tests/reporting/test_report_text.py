"""The report as Markdown."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_runs import found, hand_run, judged_run, true_of

from wsloc.cli.options import parse_localize
from wsloc.reporting.comparison_report import build_comparison_report
from wsloc.reporting.report_model import build_run_report
from wsloc.reporting.text import comparison_text, plain, run_text


def test_figures_by_hand() -> None:
    text = run_text(build_run_report(hand_run(), None, 0))
    assert re.search(r"^\| CorLoc class-wise \| 25\.0 \\\[", text, re.M)
    assert "| cat | 2 | 50.0 | 62.5 |" in text
    assert "| 1 | read | the image cannot be decoded: it is cut off | c.jpg (dog) |" in text
    assert "3 images, 4 items: 2 boxes, 1 fallback among them, 1 failure." in text
    assert "- found: 1 (25.0 %)" in text
    assert "| VOC mAP, all points | 12.5 |" in text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("a|b", "a\\|b"),
        ("two\nlines", "two lines"),
        ("<script>", "\\<script\\>"),
        ("a_b*c", "a\\_b\\*c"),
        ("# head", "\\# head"),
        ("[a](b)", "\\[a\\](b)"),
        ("&lt;", "\\&lt;"),
        ("猫", "猫"),
    ],
)
def test_words_of_a_run_are_no_marks(text: str, shown: str) -> None:
    assert plain(text) == shown


@given(st.text(max_size=30))
def test_a_table_keeps_its_columns(name: str) -> None:
    run = judged_run([found("a", name, (0, 0, 9, 9))], [true_of("a", {name: [(0, 0, 9, 9)]})])
    text = run_text(build_run_report(run, None, 0))
    (_, table) = text.split("## Classes\n\n")
    rows = table.split("\n\n")[0].splitlines()
    assert len(rows) == 3
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {7}


def test_runs_side_by_side() -> None:
    boxes = {"cat": [(0, 0, 40, 40)]}
    truth = [true_of(image_id, boxes) for image_id in "abc"]
    ours = judged_run([found(image_id, "cat", (0, 0, 40, 40)) for image_id in "abc"], truth)
    theirs = [found(image_id, "cat", (60, 40, 100, 80)) for image_id in "abc"]
    assert ours.truth is not None
    runs = [
        replace(ours.contents, path=Path("runs") / name, localizations=tuple(records))
        for name, records in (("a", ours.contents.localizations), ("b|c", theirs), ("d", theirs))
    ]
    text = comparison_text(build_comparison_report(runs, [parse_localize([])] * 3, ours.truth.images, 0))
    assert text.startswith("# 3 runs\n\n3 items in 3 images.\n")
    second, third = text.split("\n# ")[1:]
    assert second.startswith("b\\|c - a\n")
    assert third.startswith("d - a\n")
    for own, name in ((second, "b\\|c"), (third, "d")):
        assert f"|  | a | {name} | {name} - a |  |" in own
        assert "| 100.0 \\[100.0, 100.0\\] | 0.0 \\[0.0, 0.0\\] | -100.0 \\[-100.0, -100.0\\] |  |" in own
        # One class, which the first run alone finds, three times: 2 / 2^3.
        assert "| cat | 3 | 100.0 | 0.0 | -100.0 \\[-100.0, -100.0\\] | 3 | 0 | 0.250 |  |" in own
    assert "| COCO AP50 | 100.0 | 0.0 | 0.0 |" in third
