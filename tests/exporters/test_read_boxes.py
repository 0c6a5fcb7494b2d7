"""What is read of a run before it is exported."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from wsloc.exporters.read_boxes import leaves_root


@pytest.mark.parametrize(
    "file",
    [
        "a.jpg",
        "sub/a.jpg",
        "..a/b..jpg",
        "a/...",
        "a/./b",
        "./a",
        "a//b",
        "..",
        "../a",
        "a/../b",
        "a/..",
        "/a",
        "//a",
        "/",
    ],
)
def test_files_outside_the_root(file: str) -> None:
    path = PurePosixPath(file)
    assert leaves_root(file) == (path.is_absolute() or ".." in path.parts)


def test_a_backslash_may_lead_out_on_windows() -> None:
    assert leaves_root("..\\a.jpg")
    assert leaves_root("a\\..\\..\\b.jpg")


def test_a_backslash_in_a_name_stays_inside() -> None:
    assert not leaves_root("back\\slash.jpg")
    assert not leaves_root("sub/a\\..b.jpg")
