"""The worked examples of CONTRIBUTING.md are tests themselves, and their code runs from the command line."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from wsloc.cli.main import run_verb

PAGE = Path(__file__).parents[1] / "CONTRIBUTING.md"


@pytest.fixture
def examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The files of the page, in the current folder, by their names without suffix."""
    blocks = re.findall(r"^```python\n# (\w+)\.py\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    for name, text in blocks:
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield [name for name, _ in blocks]
    for name, _ in blocks:
        sys.modules.pop(name, None)


def test_their_tests_pass(examples: list[str]) -> None:
    tests = [name for name in examples if name.startswith("test_")]
    assert len(tests) == 2
    for name in tests:
        importlib.import_module(name).test_by_hand()


@pytest.mark.usefixtures("examples")
def test_they_run_from_the_command_line(tiny: Path, tiny_flags: list[str]) -> None:  # noqa: ARG001
    flags = ["--limit", "3", "--method", "pooled_gradient:bind", "--segmenter", "top_tenth:bind", "--out", "run"]
    assert run_verb("localize", [*tiny_flags, *flags]) == 0
