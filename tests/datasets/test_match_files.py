"""Images found again by the names that exports and annotation tools give their files."""

from __future__ import annotations

from pathlib import Path

import pytest

from wsloc.datasets.match_files import match_files
from wsloc.files.names import distinct_stem
from wsloc.records import ImageRecord

FILES = (
    "a.jpg",
    "cat/a.jpg",
    "dog/a.jpg",
    "dog/b.JPG",
    "old/x/c.png",
    "new/x/c.png",
    "odd_näme_#1.jpg",
    "d.jpg",
    "d.png",
)
IMAGES = tuple(ImageRecord(file, file, Path("root", file)) for file in FILES)


@pytest.mark.parametrize(
    ("file", "image"),
    [
        ("a.jpg", "a.jpg"),
        ("./cat/a.jpg", "cat/a.jpg"),
        ("train2017/cat/a.jpg", "cat/a.jpg"),
        ("dog\\a.jpg", "dog/a.jpg"),
        ("images/b.JPG", "dog/b.JPG"),
        ("b.png", "dog/b.JPG"),
        ("images/0123abcd__b.JPG", "dog/b.JPG"),
        ("0123abcd-b.JPG", "dog/b.JPG"),
        ("old/x/c.png", "old/x/c.png"),
        ("copy/new/x/c.png", "new/x/c.png"),
        (f"{distinct_stem('dog/a.jpg')}.jpg", "dog/a.jpg"),
        (f"images/0123abcd__{distinct_stem('dog/a.jpg')}.jpg", "dog/a.jpg"),
        (f"{distinct_stem('odd_näme_#1.jpg')}.jpg", "odd_näme_#1.jpg"),
        ("d.png", "d.png"),
    ],
)
def test_an_image_is_found_by_what_its_file_is_called(file: str, image: str) -> None:
    matches = match_files([file], IMAGES)
    assert {name: found.image_id for name, found in matches.images.items()} == {file: image}
    assert matches.unknown == matches.ambiguous == ()


@pytest.mark.parametrize(
    ("files", "unknown", "ambiguous"),
    [
        (["e.jpg"], ("e.jpg",), ()),
        (["images/a.jpg", "x/c.png", "d.webp"], (), ("images/a.jpg", "x/c.png", "d.webp")),
        (["b.jpg", "dog/b.JPG"], (), ("b.jpg", "dog/b.JPG")),
        (["dog/b.JPG", "dog/b.JPG"], (), ("dog/b.JPG",)),
    ],
)
def test_what_is_not_certain_is_not_taken(files: list[str], unknown: tuple[str], ambiguous: tuple[str]) -> None:
    matches = match_files(files, IMAGES)
    assert (matches.images, matches.unknown, matches.ambiguous) == ({}, unknown, ambiguous)
