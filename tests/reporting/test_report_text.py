"""The report as Markdown."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_runs import found, hand_run, judged_run, true_of

from wsloc.reporting import build_run_report, run_text
from wsloc.reporting.text import plain


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
