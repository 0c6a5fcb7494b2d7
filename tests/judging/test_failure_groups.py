"""Failures that differ in the name of their file alone are one line of the summary."""

from __future__ import annotations

import pytest

from wsloc.judging.run_summary import group_failures
from wsloc.records import Failure


@pytest.mark.parametrize(
    ("file", "reason", "said"),
    [
        ("flat/a.png", "/data/photos/flat/a.png does not exist", "the image does not exist"),
        ("flat/a.png", "flat/a.png does not exist", "the image does not exist"),
        ("a.png", "a.png does not exist", "the image does not exist"),
        ("a.png", "photos/a.png cannot be decoded: it is cut off", "the image cannot be decoded: it is cut off"),
        ("d/a.png", "[Errno 13] Permission denied: '/x/d/a.png'", "[Errno 13] Permission denied: 'the image'"),
        ("is", "the map is flat: his thesis", "the map the image flat: his thesis"),
        ("a.png", "aa.png does not exist", "aa.png does not exist"),
        ("d/(1).png", "(1).png is 1 x 1 pixels", "the image is 1 x 1 pixels"),
        ("my photo.png", "/x/my photo.png does not exist", "the image does not exist"),
    ],
)
def test_the_name_is_replaced_as_a_whole(file: str, reason: str, said: str) -> None:
    (group,) = group_failures([Failure(file, file, "dog", "read", reason)])
    assert group.reason == said
    assert group.files == (f"{file} (dog)",)
