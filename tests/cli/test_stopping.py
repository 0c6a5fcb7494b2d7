"""Ctrl-C and SIGTERM: every long verb stops with one sentence that says how to go on, and nothing is half-written."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import made_splits
import pytest

from wsloc.cli import bars
from wsloc.cli.main import run_verb
from wsloc.runs.run_folder import read_manifest

Kill = Callable[[int, str], None]
STATUS = {signal.SIGINT: (130, "interrupted"), signal.SIGTERM: (143, "terminated")}
BOTH = pytest.mark.parametrize("number", STATUS)


@pytest.fixture
def kill(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kill]:
    """``kill(signal, what)`` lets the process get a signal when the bar of that work is at its first item."""

    own = bars._Bar
    # A shell ignores SIGINT for what it starts in the background, and so would the verb.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def arm(number: int, what: str) -> None:
        class Deadly(own):  # type: ignore[misc, valid-type]
            def __iter__(self) -> Iterator[Any]:
                for count, item in enumerate(super().__iter__()):
                    if count == 0 and re.match(what, self.desc.removesuffix(": ")):
                        os.kill(os.getpid(), number)
                    yield item

        monkeypatch.setattr(bars, "_Bar", Deadly)

    yield arm
    signal.signal(signal.SIGINT, before)


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error.splitlines()[-1]


@BOTH
def test_localize_goes_on_to_the_bytes_of_an_undisturbed_run(
    tiny: Path, tiny_flags: list[str], number: int, kill: Kill, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [*tiny_flags, "--checkpoint-every", "8"]
    assert run_verb("localize", [*flags, "--out", "whole"]) == 0
    before = signal.getsignal(number)
    kill(number, "boxes")
    status, word = STATUS[signal.Signals(number)]
    assert run_verb("localize", [*flags, "--out", "run"]) == status
    assert last_line(capsys) == (
        f"wsloc: {word}; run holds what was written so far, and the same command with --resume continues it."
    )
    assert signal.getsignal(number) is before
    kill(number, "nothing")
    assert run_verb("localize", [*flags, "--out", "run", "--resume"]) == 0
    for name in ("localizations.jsonl", "failures.jsonl"):
        assert (tiny / "run" / name).read_bytes() == (tiny / "whole" / name).read_bytes()


@pytest.mark.parametrize("verb", ["export", "report"])
def test_verbs_that_read_a_run_leave_it_as_it_was(
    tiny_flags: list[str], verb: str, kill: Kill, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_verb("localize", [*tiny_flags, "--out", "run"]) == 0
    files = made_splits.files_of("run")
    kill(signal.SIGTERM, "")
    assert run_verb(verb, ["run", *(["--format", "coco"] if verb == "export" else [])]) == 143
    assert last_line(capsys) == f"wsloc: terminated; wsloc {verb} was not finished, start it again."
    assert made_splits.files_of("run") == files


@pytest.fixture
def splits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    yield from made_splits.entered(tmp_path, monkeypatch)


@pytest.mark.usefixtures("splits")
@pytest.mark.parametrize(
    ("verb", "what", "flags"),
    [
        ("train-detector", "training", [*made_splits.TRUTH, *made_splits.QUICK, "--epochs", "2"]),
        ("self-train", "round 1", ["--boxes-from", "train", *made_splits.QUICK, "--epochs", "2", "--rounds", "1"]),
        (
            "train-classifier",
            "training",
            "--dataset folder --root train --labels train/labels.csv --arch demo --input-size 32 --epochs 2 "
            "--device cpu".split(),
        ),
    ],
)
def test_trainings_say_how_to_go_on(
    verb: str, what: str, flags: list[str], kill: Kill, capsys: pytest.CaptureFixture[str]
) -> None:
    kill(signal.SIGTERM, what)
    status = run_verb(verb, [*flags, "--out", "run"])
    assert last_line(capsys) == (
        "wsloc: terminated; run holds what was written so far, and the same command with --resume continues it."
    )
    assert status == 143
    kill(signal.SIGTERM, "nothing")
    assert run_verb(verb, [*flags, "--out", "run", "--resume"]) == 0


def test_after_the_last_box_it_says_what_is_missing(
    tiny: Path, tiny_flags: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [*tiny_flags, "--out", "run"]
    monkeypatch.setattr("wsloc.main_job.write_summary", made_splits.interrupting)
    assert run_verb("localize", flags) == 130
    assert last_line(capsys) == (
        "wsloc: interrupted; run holds the boxes of all images, without metrics, and the same command with --resume "
        "continues it."
    )
    monkeypatch.undo()
    monkeypatch.chdir(tiny)
    monkeypatch.setattr("wsloc.reporting.writing.write_page", made_splits.interrupting)
    assert run_verb("localize", [*flags, "--resume", "--report", "--export", "coco"]) == 130
    assert last_line(capsys) == (
        "wsloc: interrupted; run is complete but for what wsloc report run and wsloc export run --format coco will "
        "write."
    )
    assert read_manifest(tiny / "run")["complete"]  # type: ignore[index]
    # A run that is complete when its last file is removed says so, too.
    monkeypatch.setattr("wsloc.runs.run_folder.shutil.rmtree", made_splits.interrupting)
    assert run_verb("localize", [*flags, "--overwrite"]) == 130


TWICE = """
import sys, time
from wsloc.cli.stopping import stoppable

with stoppable():
    try:
        print("ready", flush=True)
        time.sleep(60)
    finally:
        print("cleaning", flush=True)
        time.sleep(60)
        print("clean", flush=True)
"""


@BOTH
@pytest.mark.skipif(sys.platform == "win32", reason="signals are others there")
def test_the_second_signal_ends_it_at_once(number: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", TWICE], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=_not_ignored,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.stdout.readline() == "cleaning\n"
        process.send_signal(number)
        printed, error = process.communicate(timeout=50)
    assert process.returncode == 128 + number
    assert (printed, error) == ("", "\nwsloc: stopped at once.\n")


def _not_ignored() -> None:
    """A process that was begun in the background of a script ignores Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_a_signal_that_is_ignored_stays_so() -> None:
    code = "import os, signal, wsloc.cli.stopping as s\nwith s.stoppable():\n    os.kill(os.getpid(), signal.SIGINT)"
    ignoring = f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n{code}"
    assert subprocess.run([sys.executable, "-c", ignoring], check=False).returncode == 0


def test_what_fails_because_it_was_interrupted_counts_as_interrupted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As an import of a compiled module may."""

    def fail(*_: Iterable[object]) -> int:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except KeyboardInterrupt:
            raise ImportError("numpy.core.multiarray failed to import") from None
        return 0

    monkeypatch.setattr("wsloc.cli.check_dataset.run", fail)
    assert run_verb("check-dataset", ["--dataset", "demo"]) == 143
    assert last_line(capsys) == "wsloc: terminated; wsloc check-dataset was not finished, start it again."
