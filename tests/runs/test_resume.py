"""A run that is killed resumes, keeps the parts that are written, and ends with the same bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from wsloc.cli.main import run_verb
from wsloc.runs.run_folder import read_manifest

PART = 4
KILLED_AT = 8
KILLED = f"""
import os, signal, sys
from wsloc.cli.main import main
from wsloc.runs.run_folder import RunFolder

own = RunFolder.write_part

def write_part(self, number, results):
    if number == {KILLED_AT}:
        os.kill(os.getpid(), signal.SIGKILL)
    own(self, number, results)

RunFolder.write_part = write_part
sys.exit(main())
"""
"""Of ten parts, the last two are not written, though the images of the last one were perhaps begun."""
CHECKS = 4
"""Passes of single images that look at the network before any image."""
ROWS_A_PART = 8
"""Images 0 to 3 have 1, 2, 3 and 1 labels: 7 to 9 rows, so 2 or 3 batches of 4."""


def contents(run: Path) -> dict[str, bytes]:
    names = ("config.yaml", "localizations.jsonl", "failures.jsonl")
    return {name: (run / name).read_bytes() for name in names}


def passes(folder: Path) -> int:
    file = folder / "forward-passes.txt"
    return len(file.read_text()) if file.exists() else 0


def test_kill_9_then_resume(tiny: Path, tiny_flags: list[str]) -> None:
    flags = [*tiny_flags, "--checkpoint-every", str(PART)]
    assert run_verb("localize", [*flags, "--out", "undisturbed"]) == 0
    undisturbed_passes = passes(tiny) - CHECKS
    (tiny / "forward-passes.txt").unlink()

    killed = subprocess.run(
        [sys.executable, "-c", KILLED, "localize", *flags, "--out", "killed"],
        cwd=tiny, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    parts = tiny / "killed" / "parts"
    assert sorted(path.stem for path in parts.glob("*.jsonl")) == [f"{number:06d}" for number in range(KILLED_AT)]
    manifest = read_manifest(tiny / "killed")
    assert manifest is not None
    assert not manifest["complete"]
    (tiny / "forward-passes.txt").unlink()

    assert run_verb("localize", [*flags, "--out", "killed", "--resume"]) == 0
    assert passes(tiny) - CHECKS <= 2 * 3 < undisturbed_passes / 2
    assert contents(tiny / "killed") == contents(tiny / "undisturbed")
    assert read_manifest(tiny / "killed")["complete"]  # type: ignore[index]
    assert not parts.exists()


def test_resume_without_out_takes_the_newest_unfinished_run(
    tiny_flags: list[str],
    interrupted_at: Callable[[int], AbstractContextManager[None]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    with interrupted_at(2):
        assert run_verb("localize", [*tiny_flags, "--checkpoint-every", "8"]) == 130
        assert run_verb("localize", [*tiny_flags, "--checkpoint-every", "8", "--seed", "5"]) == 130
    capsys.readouterr()
    assert run_verb("localize", [*tiny_flags, "--checkpoint-every", "8", "--resume"]) == 0
    assert "Resuming runs/folder-tinynet-make-gradient-001" in capsys.readouterr().err
    assert run_verb("localize", [*tiny_flags, "--checkpoint-every", "8", "--resume"]) == 2
    assert "no unfinished run of this configuration" in capsys.readouterr().err


def test_workers_and_part_size_leave_the_results_alone(tiny: Path, tiny_flags: list[str]) -> None:
    for name, extra in {"a": ["--workers", "0"], "b": ["--workers", "1"], "c": ["--checkpoint-every", "7"]}.items():
        assert run_verb("localize", [*tiny_flags, "--out", name, *extra]) == 0
    assert contents(tiny / "a") == contents(tiny / "b")
    for name in ("localizations.jsonl", "failures.jsonl"):
        assert (tiny / "a" / name).read_bytes() == (tiny / "c" / name).read_bytes()


def test_changed_images_are_not_mixed_into_an_unfinished_run(
    tiny: Path,
    tiny_flags: list[str],
    interrupted_at: Callable[[int], AbstractContextManager[None]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    with interrupted_at(2):
        assert run_verb("localize", [*tiny_flags, "--checkpoint-every", "8", "--out", "run"]) == 130
    with (tiny / "labels.csv").open("a") as file:
        file.write("00.png,blue\n")
    assert run_verb("localize", [*tiny_flags, "--checkpoint-every", "8", "--out", "run", "--resume"]) == 2
    assert "started with another dataset fingerprint" in capsys.readouterr().err


def test_what_a_process_killed_at_the_very_end_leaves_is_removed(
    tiny: Path, tiny_flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """It has declared the run complete, and not yet removed what only an unfinished one needs."""
    flags = [*tiny_flags, "--limit", "4", "--out", "run"]
    assert run_verb("localize", flags) == 0
    before = contents(tiny / "run")
    left = [tiny / "run" / "parts" / "000000.jsonl", tiny / "run" / "state.pt"]
    left[0].parent.mkdir()
    for path in left:
        path.write_text("left")
    assert run_verb("localize", [*flags, "--resume"]) == 2
    assert "run is complete, there is nothing to resume" in capsys.readouterr().err
    assert not left[0].parent.exists()
    assert not left[1].exists()
    assert contents(tiny / "run") == before


def test_a_run_folder_in_use_is_left_alone(
    tiny: Path, tiny_flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    from wsloc.runs.run_folder import RunFolder

    assert run_verb("localize", [*tiny_flags, "--out", "run"]) == 0
    with RunFolder(tiny / "run"):
        assert run_verb("localize", [*tiny_flags, "--out", "run", "--overwrite"]) == 2
    assert "in use by another process" in capsys.readouterr().err
