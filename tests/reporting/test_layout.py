"""What the style and the script of the page promise where no browser is at hand."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from made_runs import found, judged_run, true_of

import wsloc.reporting
from wsloc.config import LocalizeConfig
from wsloc.reporting.comparison_report import build_comparison_report
from wsloc.reporting.page import comparison_page

TEMPLATES = Path(wsloc.reporting.__file__).parent / "templates"


def test_nothing_is_cut_off() -> None:
    """Twenty classes of 40 pixels a row fit, a phone shows all sections, and the enlarged item has the window."""
    css = (TEMPLATES / "report.css").read_text()
    (tallest,) = re.findall(r"\.tall \{ max-height: max\((\d+)px", css)
    assert int(tallest) > 21 * 40
    phone = css[css.index("@media (max-width: 560px)") :]
    assert ".sections .wrap { flex-wrap: wrap; }" in phone
    assert "dialog { width: calc(100vw - 24px);" in css
    assert "fitPanels()" in (TEMPLATES / "report.js").read_text()


def test_a_difference_says_which_run_minus_which() -> None:
    box = (10.0, 10.0, 50.0, 40.0)
    truth = {"a": true_of("a", {"cat": [box]})}
    runs = [
        replace(judged_run([found("a", "cat", box)], list(truth.values())).contents, path=Path("runs", name))
        for name in ("first", "second", "third")
    ]
    page = comparison_page(build_comparison_report(runs, [LocalizeConfig()] * 3, truth, 5))
    heads = re.findall(r'title="(\w+ minus \w+)"', page)
    assert heads[:2] == ["second minus first", "third minus first"]
    assert "second \N{MINUS SIGN} first" in page
