"""Shards of a run, merged, are the run that one process writes, byte for byte."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsloc.cli.main import run_verb
from wsloc.runs.execute_run import parts_of_shard


@given(st.integers(0, 200), st.integers(1, 40))
def test_every_part_is_in_one_shard_and_shares_are_equal(count: int, shards: int) -> None:
    shares = [parts_of_shard(count, number, shards) for number in range(1, shards + 1)]
    assert list(chain.from_iterable(shares)) == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_shares_by_hand() -> None:
    assert [list(parts_of_shard(5, number, 3)) for number in (1, 2, 3)] == [[0], [1, 2], [3, 4]]


def files(run: Path) -> dict[str, bytes]:
    """Everything but what tells times and commands, and the lock."""
    apart = ("manifest.json", "log.txt", ".lock")
    paths = (path for path in run.rglob("*") if path.is_file() and path.name not in apart)
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture
def flags(tiny: Path, tiny_flags: list[str]) -> list[str]:
    """40 images in parts of six, one of which cannot be read; true boxes of one class."""
    (tiny / "photos" / "09.png").write_bytes(b"no image")
    (tiny / "truth.csv").write_text("\n".join(f"{number:02d}.png,red,5,5,30,30" for number in range(40)) + "\n")
    return [*tiny_flags, "--checkpoint-every", "6", "--boxes", "truth.csv"]


def run_shards(flags: list[str], count: int) -> list[str]:
    for number in range(1, count + 1):
        assert run_verb("localize", [*flags, "--shard", f"{number}/{count}", "--out", f"shard-{number}"]) in (0, 1)
    return [f"shard-{number}" for number in range(1, count + 1)]


def test_merged_shards_equal_the_whole_run(tiny: Path, flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    more = [*flags, "--save-maps", "float16", "--overlays", "15"]
    assert run_verb("localize", [*more, "--out", "whole"]) == 1
    shards = run_shards(more, 3)
    assert "wsloc merge-runs shard-* --out RUN" in capsys.readouterr().out
    before = [files(tiny / shard) for shard in shards]
    # In any order.
    assert run_verb("merge-runs", [shards[2], shards[0], shards[1], "--out", "merged"]) == 1
    assert "CorLoc class-wise" in capsys.readouterr().out
    whole = files(tiny / "whole")
    assert {"metrics.json", "items.csv", "maps/000006.npz", "pictures/000000.npz"} <= whole.keys()
    assert any(name.startswith("overlays/") for name in whole)
    assert files(tiny / "merged") == whole
    ours, theirs = (json.loads((tiny / name / "manifest.json").read_text()) for name in ("merged", "whole"))
    for manifest in (ours, theirs):
        del manifest["command"], manifest["timing"]["wall_seconds"], manifest["timing"]["stage_seconds"]
    assert ours == theirs
    assert [files(tiny / shard) for shard in shards] == before


def test_a_finished_share_that_is_resumed_stays_as_it_is(tiny: Path, flags: list[str]) -> None:
    share = [*flags, "--shard", "1/3", "--out", "share"]
    for flag in ([], ["--resume"]):
        assert run_verb("localize", [*share, *flag]) == 1
        timing = json.loads((tiny / "share" / "manifest.json").read_text())["timing"]
        assert timing["images"] == 12
        assert timing["stage_seconds"]


@pytest.mark.parametrize(("out", "named"), [("shards/1", "shards/*"), ("1", "SHARD..."), ("first", "SHARD...")])
def test_a_shard_names_the_folders_of_all_if_its_own_tells_them(
    flags: list[str], capsys: pytest.CaptureFixture[str], out: str, named: str
) -> None:
    assert run_verb("localize", [*flags, "--limit", "8", "--shard", "1/2", "--out", out]) in (0, 1)
    assert f"wsloc merge-runs {named} --out RUN" in capsys.readouterr().out


def test_an_interrupted_shard_resumes_and_merges(
    tiny: Path,
    flags: list[str],
    interrupted_at: Callable[[int], AbstractContextManager[None]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_verb("localize", [*flags, "--out", "whole"]) == 1
    shards = run_shards(flags, 2)
    shutil.rmtree(tiny / "shard-2")
    second = [*flags, "--shard", "2/2", "--out", "shard-2"]
    with interrupted_at(4):
        assert run_verb("localize", second) == 130
    capsys.readouterr()
    assert run_verb("merge-runs", [*shards, "--out", "merged"]) == 2
    assert "shard-2 is unfinished: 3 of its 4 parts are missing" in capsys.readouterr().err
    assert run_verb("localize", [*flags, "--shard", "1/2", "--out", "shard-2", "--resume"]) == 2
    assert "shard-2 was started with another shard" in capsys.readouterr().err
    assert run_verb("localize", [*second, "--resume"]) in (0, 1)
    # A shard that is done has nothing left to do, which is no error: job arrays start again what failed.
    assert run_verb("localize", [*second, "--resume"]) in (0, 1)
    assert run_verb("merge-runs", [*shards, "--out", "merged"]) == 1
    assert files(tiny / "merged") == files(tiny / "whole")


def test_shards_that_do_not_fit_are_refused(tiny: Path, flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    flags = [*flags, "--limit", "12"]
    first, second = run_shards(flags, 2)
    assert run_verb("localize", [*flags, "--shard", "2/2", "--out", "seed", "--seed", "7"]) in (0, 1)
    assert run_verb("localize", [*flags, "--out", "whole"]) == 1
    for folders, sentence in {
        (first,): "Give the folders of all 2 shards; missing: 2/2.",
        (first, second, first): "shard-1, shard-1 are the same shard",
        (first, "seed"): "have other configurations: 'seed: 0' there, 'seed: 7' here",
        (first, "whole"): "whole is no shard: it was made without --shard",
        (first, "photos"): "photos is not a run folder",
    }.items():
        capsys.readouterr()
        assert run_verb("merge-runs", [*folders, "--out", "merged"]) == 2
        assert sentence in capsys.readouterr().err
        assert not (tiny / "merged").exists()
    with (tiny / "labels.csv").open("a") as file:
        file.write("00.png,blue\n")
    assert run_verb("merge-runs", [first, second, "--out", "merged"]) == 2
    assert "other images or labels than when shard-1 was begun" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ("--shard 0/3 --out run", "--shard must be from 1/3 to 3/3, not 0/3"),
        ("--shard 4/3 --out run", "--shard must be from 1/3 to 3/3, not 4/3"),
        ("--shard third --out run", "--shard must be K/N, such as 3/16, not 'third'"),
        ("--shard 1/3", "--shard needs --out"),
        ("--shard 1/3 --out run --report", "--report and --export are of a whole run"),
        ("--shard 2/9 --out run", "The run has 7 parts of 6 images, too few for --shard 2/9"),
    ],
)
def test_what_a_shard_cannot_do_is_refused_in_a_sentence(
    tiny: Path, flags: list[str], capsys: pytest.CaptureFixture[str], more: str, sentence: str
) -> None:
    assert run_verb("localize", [*flags, *more.split()]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
    assert not (tiny / "run").exists()
