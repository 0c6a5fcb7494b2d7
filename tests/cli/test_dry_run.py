"""``--dry-run`` as a user types it."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from made_splits import QUICK, TRUTH, entered

from wsloc import OutputSettings, UserError, make_config
from wsloc.cli import dry_run
from wsloc.cli.main import main
from wsloc.config import LocalizeConfig
from wsloc.files.room import in_units
from wsloc.main_job import run_main_job


@pytest.fixture(autouse=True)
def temporary(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made."""
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def everything(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".pyc", ".txt"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def slow(monkeypatch: pytest.MonkeyPatch, seconds: float = 3600) -> None:
    """As if each look at the clock came much later, so that eleven items are enough."""
    now = iter(range(0, 10**9, int(seconds)))
    monkeypatch.setattr(dry_run, "time", SimpleNamespace(monotonic=lambda: float(next(now))))


def test_the_rate_is_that_of_the_items_after_the_first(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first takes 5 s, each of the others 2; after 11 of 100 items, 25 s are over, and 89 are left."""
    times = iter([100, 105, *range(107, 400, 2)])
    monkeypatch.setattr(dry_run, "time", SimpleNamespace(monotonic=lambda: float(next(times))))
    rehearsal = dry_run.Rehearsal(temporary)
    with pytest.raises(dry_run._Enough):
        list(rehearsal(range(100), "boxes", "image"))
    (phase,) = rehearsal.phases
    assert (phase.done, phase.seconds, phase.all_seconds) == (11, 25, 25 + 89 * 2)


def test_ten_items_that_come_at_once_are_not_enough(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of 16, one every 6 s: the first that is 10 s after the first item is the 33rd."""
    times = iter([0, *(6 * (1 + index // 16) for index in range(100))])
    monkeypatch.setattr(dry_run, "time", SimpleNamespace(monotonic=lambda: float(next(times))))
    rehearsal = dry_run.Rehearsal(temporary)
    with pytest.raises(dry_run._Enough):
        list(rehearsal(iter(range(100)), "boxes", "image", 1000))
    (phase,) = rehearsal.phases
    assert phase.done == 33
    assert phase.all_seconds == 18 + 967 * 12 / 32


def test_localize_tells_what_all_images_take_and_keeps_nothing(
    tiny: Path,
    tiny_flags: list[str],
    temporary: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow(monkeypatch)
    before = everything(tiny)
    assert main(["localize", *tiny_flags, "--save-maps", "--dry-run", "--workers", "0"]) == 0
    out, err = capsys.readouterr()
    assert "40 images, 79 items" in err
    lines = out.splitlines()
    assert re.fullmatch(r"boxes: 11 of 40 images in 39600\.0 s; all take about 40:00:00", lines[0])
    # A float32 map of 32 x 32 to 90 x 90 pixels for each of 79 items, and their boxes.
    amount, unit = re.fullmatch(r"disk: about ([\d.]+) (\w+)", lines[1]).groups()  # type: ignore[union-attr]
    assert unit == "KiB"
    assert 79 * 4 < float(amount) < 79 * 40
    assert lines[2] == "What comes after boxes is not in these figures."
    assert re.fullmatch(r"The disk has .* free\. Nothing was kept\.", lines[3])
    assert everything(tiny) == before
    assert list(temporary.iterdir()) == []


def test_a_small_job_is_done_whole_and_not_kept_either(
    tiny: Path, tiny_flags: list[str], temporary: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [*tiny_flags, "--limit", "3", "--out", "run", "--workers", "0"]
    assert main(["localize", *flags, "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert re.match(r"boxes: 3 of 3 images in [\d.]+ s\n", out)
    assert "What comes after" not in out
    assert not (tiny / "run").exists()
    assert list(temporary.iterdir()) == []
    # What is wrong is said as without it.
    assert main(["localize", *flags, "--dry-run", "--classes", "violet"]) == 2
    assert "no class 'violet'" in capsys.readouterr().err


@pytest.fixture
def splits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    yield from entered(tmp_path, monkeypatch)


@pytest.mark.usefixtures("splits")
def test_a_training_tells_its_steps_and_the_size_of_its_state(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    slow(monkeypatch)
    assert main(["train-detector", *TRUTH, *QUICK, "--epochs", "30", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.match(r"\w+: 11 of \d+ steps in 39600\.0 s; all take about \d", lines[0])
    assert re.fullmatch(r"disk: up to [\d.]+ MiB while it trains", lines[1])
    assert not Path("runs").exists()


def test_a_dry_run_that_is_stopped_names_no_folder_to_resume(
    tiny_flags: list[str], temporary: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(dry_run, "_weigh", stop)
    assert main(["localize", *tiny_flags, "--dry-run", "--workers", "0"]) == 130
    assert capsys.readouterr().err.endswith("wsloc: interrupted; nothing of the dry run was kept.\n")
    assert list(temporary.iterdir()) == []


def test_it_is_for_the_command_line_and_not_for_resuming(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["localize", "--dataset", "demo", "--dry-run", "--resume"]) == 2
    assert capsys.readouterr().err == "wsloc: --dry-run and --resume exclude each other: give only one.\n"
    with pytest.raises(UserError, match="no setting 'dry_run'"):
        make_config(LocalizeConfig, {"dry_run": True})
    config = make_config(LocalizeConfig, {"dataset": "demo", "arch": "demo", "limit": 1})
    with pytest.raises(UserError, match="`dry_run` is for the command line"):
        run_main_job(
            LocalizeConfig(data=config.data, classifier=config.classifier, output=OutputSettings(dry_run=True))
        )


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (3 * 2**20, "3.0 MiB"), (2**50, "1024.0 TiB")],
)
def test_bytes_in_units(count: float, shown: str) -> None:
    assert in_units(count) == shown
