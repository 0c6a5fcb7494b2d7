"""Names of files and classes that are odd, and legal."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from wsloc.cli.main import run_verb


def test_a_file_name_that_is_no_utf_8(tiny: Path, tiny_flags: list[str]) -> None:
    source = (tiny / "photos" / "00.png").read_bytes()
    name = os.fsdecode(b"caf\xe9.png")
    try:
        (tiny / "photos" / name).write_bytes(source)
    except OSError:
        pytest.skip("this file system takes UTF-8 names alone")
    network = tiny_flags[tiny_flags.index("--arch") :]
    flags = ["--images", "photos/caf*.png", "--class", "red", *network, "--overlays", "1", "--out", "run"]
    assert run_verb("localize", flags) == 0
    (record,) = [json.loads(line) for line in (tiny / "run" / "localizations.jsonl").read_text().splitlines()]
    assert record["file"] == name


def test_overlays_of_names_that_look_alike_or_are_too_long(tiny: Path, tiny_flags: list[str]) -> None:
    source = (tiny / "photos" / "00.png").read_bytes()
    folder = tiny / "photos" / ("d" * 150) / ("e" * 150)
    folder.mkdir(parents=True)
    for path in (folder / "a.png", tiny / "photos" / "my photo.png", tiny / "photos" / "my_photo.png"):
        path.write_bytes(source)
    network = tiny_flags[tiny_flags.index("--arch") :]
    flags = ["--images", "photos/**/*[ao].png", "--class", "red", *network, "--overlays", "9", "--out", "run"]
    assert run_verb("localize", flags) == 0
    assert len(list((tiny / "run" / "overlays").iterdir())) == 3


def test_a_class_that_is_named_twice_is_looked_for_once(tiny: Path, tiny_flags: list[str]) -> None:
    flags = [*tiny_flags, "--targets", "top2", "--classes", "red", "blue", "red", "--limit", "3", "--out", "run"]
    assert run_verb("localize", flags) == 0
    assert len((tiny / "run" / "localizations.jsonl").read_text().splitlines()) == 6
