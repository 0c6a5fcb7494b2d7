"""Items go by as they are, whether or not a bar counts them."""

from __future__ import annotations

import pytest

from wsloc.cli.bars import bar, kept_bar
from wsloc.progress import Progress, silent


@pytest.mark.parametrize("progress", [silent, bar, kept_bar])
def test_items_are_passed_on_in_order(progress: Progress) -> None:
    assert list(progress(iter("abc"), "work", "letter", 3)) == ["a", "b", "c"]


def test_the_bar_says_what_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    list(kept_bar([1, 2], "maps", "item"))
    out, err = capsys.readouterr()
    assert out == ""
    assert "maps: 100%" in err
    assert "2/2" in err


def test_silence(capsys: pytest.CaptureFixture[str]) -> None:
    list(silent([1, 2], "maps", "item"))
    assert capsys.readouterr() == ("", "")
