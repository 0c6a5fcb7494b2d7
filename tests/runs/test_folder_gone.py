"""A run whose folder is removed, moved or replaced meanwhile says so at its next part, and touches nobody else's."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from wsloc.cli.main import run_verb
from wsloc.images import read_scaled
from wsloc.records import Source

SCRIPT = Path(__file__).parents[2] / "scripts" / "localize.py"
PARTS = ("--checkpoint-every", "8", "--workers", "0", "--out", "run")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a folder in use cannot be removed there")


def at_image(monkeypatch: pytest.MonkeyPatch, count: int, act: Callable[[], None]) -> None:
    """Do something when the run reads its image of that number."""
    seen: list[Source] = []

    def read(source: Source, least_side: int | None) -> tuple[NDArray[np.uint8], tuple[int, int]]:
        seen.append(source)
        if len(seen) == count:
            act()
        return read_scaled(source, least_side)

    monkeypatch.setattr("wsloc.pipeline.read_stage.read_scaled", read)


def test_removed(
    tiny: Path, tiny_flags: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    at_image(monkeypatch, 20, lambda: shutil.rmtree("run"))
    assert run_verb("localize", [*tiny_flags, *PARTS]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == (
        f"wsloc: {tiny / 'run'} was removed while this process was writing to it, and the results of 16 of 40 images "
        "with it; start again."
    )
    assert not (tiny / "run").exists()
    assert run_verb("localize", [*tiny_flags, *PARTS]) == 0


def test_moved_and_moved_back(
    tiny: Path, tiny_flags: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_verb("localize", [*tiny_flags, *PARTS[:-1], "whole"]) == 0
    at_image(monkeypatch, 20, lambda: Path("run").rename("elsewhere"))
    assert run_verb("localize", [*tiny_flags, *PARTS, "--overlays", "40"]) == 2
    assert "run was moved while this process was writing to it" in capsys.readouterr().err.splitlines()[-1]
    assert not (tiny / "run").exists()
    Path("elsewhere").rename("run")
    assert run_verb("localize", [*tiny_flags, *PARTS, "--overlays", "40", "--resume"]) == 0
    for name in ("localizations.jsonl", "failures.jsonl"):
        assert (tiny / "run" / name).read_bytes() == (tiny / "whole" / name).read_bytes()


def test_two_runs_into_one_name(tiny: Path, tiny_flags: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder is removed and a second process starts into its name: each byte there is the second's."""

    def second() -> None:
        shutil.rmtree("run")
        words = [sys.executable, str(SCRIPT), *tiny_flags, *PARTS, "--limit", "10"]
        subprocess.run(words, check=True, capture_output=True)

    at_image(monkeypatch, 20, second)
    assert run_verb("localize", [*tiny_flags, *PARTS]) == 2
    monkeypatch.undo()
    monkeypatch.chdir(tiny)
    assert run_verb("localize", [*tiny_flags, *PARTS[:-1], "alone", "--limit", "10"]) == 0
    for name in ("localizations.jsonl", "failures.jsonl", "config.yaml"):
        assert (tiny / "run" / name).read_bytes() == (tiny / "alone" / name).read_bytes()
    assert sorted(path.name for path in (tiny / "run").iterdir()) == sorted(
        path.name for path in (tiny / "alone").iterdir()
    )


@pytest.mark.parametrize("more", ["--resume", "--overwrite"])
def test_a_second_process_is_refused_even_without_the_lock_file(
    tiny: Path, tiny_flags: list[str], monkeypatch: pytest.MonkeyPatch, more: str
) -> None:
    refused: list[subprocess.CompletedProcess[str]] = []

    def second() -> None:
        (tiny / "run" / ".lock").unlink()
        words = [sys.executable, str(SCRIPT), *tiny_flags, *PARTS, more]
        refused.append(subprocess.run(words, check=False, capture_output=True, text=True))

    at_image(monkeypatch, 20, second)
    assert run_verb("localize", [*tiny_flags, *PARTS]) == 0
    (process,) = refused
    assert process.returncode == 2
    assert process.stderr.startswith("wsloc: run is in use by another process; wait for it or give another --out.")
    assert process.stderr.count("\n") == 1
