"""Shards with a refiner: maps, then what is learned from all of them, then boxes; merged, they are the whole run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from test_refiner import WITH_REFINER, add_refiner
from test_shards import files

from wsloc.cli.main import run_verb
from wsloc.runs.run_folder import RunFolder


@pytest.fixture
def flags(tiny: Path, tiny_flags: list[str]) -> list[str]:
    """40 images in parts of six, one of which cannot be read, and a refiner that adds up features in order."""
    add_refiner(tiny, unreadable="09.png")
    return [*tiny_flags, "--checkpoint-every", "6"]


def of_shard(flags: list[str], number: int, count: int) -> list[str]:
    return [*flags, "--shard", f"{number}/{count}", "--out", f"shard-{number}"]


def run_shards(flags: list[str], count: int, *more: str) -> list[str]:
    """One pass over all shards, the last one first."""
    for number in range(count, 0, -1):
        assert run_verb("localize", [*of_shard(flags, number, count), *more]) in (0, 1)
    return [f"shard-{number}" for number in range(1, count + 1)]


@pytest.mark.parametrize("refiner", ["means:KIND", pytest.param("pixel-classifier", marks=pytest.mark.slow)])
def test_merged_shards_equal_the_whole_run(
    tiny: Path, flags: list[str], refiner: str, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [*flags, "--refiner", refiner, "--save-maps", "--overlays", "15"]
    assert run_verb("localize", [*flags, "--out", "whole"]) == 1
    for name in ("fits.txt", "refined.txt"):
        (tiny / name).unlink(missing_ok=True)
    capsys.readouterr()
    shards = run_shards(flags, 3)
    said = capsys.readouterr().out
    assert "Shard 1/3 has its maps; its boxes follow once the maps of all shards were learned from.\n" in said
    trust = ["--trust"] if ":" in refiner else []
    assert f"    {' '.join(['wsloc fit-refiner shard-*', *trust])}\n" in said
    assert f"wsloc localize {' '.join(of_shard(flags, 1, 3))} --resume\n" in said
    assert not (tiny / "fits.txt").exists()
    # In any order.
    assert run_verb("fit-refiner", [shards[2], shards[0], shards[1], *trust]) == 0
    assert (
        "3 shards, each with refiner.safetensors now; the same commands with --resume draw the boxes.\n"
        in capsys.readouterr().out
    )
    run_shards(flags, 3, "--resume")
    assert "wsloc merge-runs shard-* --out RUN" in capsys.readouterr().out
    assert not any((tiny / shard / "spool").exists() for shard in shards)
    assert run_verb("merge-runs", [shards[1], shards[2], shards[0], "--out", "merged"]) == 1
    whole = files(tiny / "whole")
    assert {"refiner.safetensors", "maps/000006.npz", "pictures/000000.npz"} <= whole.keys()
    assert any(name.startswith("overlays/") for name in whole)
    assert files(tiny / "merged") == whole
    if refiner == "means:KIND":
        assert (tiny / "fits.txt").read_text() == "x"
    manifests = [json.loads((tiny / name / "manifest.json").read_text()) for name in ("merged", "whole")]
    for manifest in manifests:
        del manifest["command"], manifest["timing"]["wall_seconds"], manifest["timing"]["stage_seconds"]
    del manifests[1]["learning_seconds"]
    assert manifests[0] == manifests[1]
    assert "wsloc merge-runs shard-2 shard-3 shard-1 --out merged" in (tiny / "merged" / "log.txt").read_text()


@pytest.mark.parametrize("phase", ["maps", "fit", "refine"])
def test_killed_in_any_phase_they_resume_to_the_same_bytes(tiny: Path, flags: list[str], phase: str) -> None:
    flags = [*flags, *WITH_REFINER]
    assert run_verb("localize", [*flags, "--out", "whole"]) == 1
    for name in ("forward-passes.txt", "fits.txt", "refined.txt"):
        (tiny / name).unlink()

    def typed(verb: str, words: list[str], *, killed: bool) -> None:
        """A command; killed in the middle, then typed again."""
        if killed:
            (tiny / "die-in").write_text(phase)
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            command = [sys.executable, "-c", "import sys; from wsloc.cli.main import main; sys.exit(main())"]
            done = subprocess.run(
                [*command, verb, *words], cwd=tiny, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == -signal.SIGKILL, done.stderr
            (tiny / "die-in").unlink()
            words = [*words, "--resume"] if verb == "localize" and "--resume" not in words else words
        assert run_verb(verb, words) in (0, 1)

    first, second = (of_shard(flags, number, 2) for number in (1, 2))
    typed("localize", first, killed=phase == "maps")
    typed("localize", second, killed=False)
    # Nothing is lost where it is typed once more than needed.
    typed("localize", [*first, "--resume"], killed=False)
    typed("fit-refiner", ["shard-1", "shard-2", "--trust"], killed=phase == "fit")
    typed("localize", [*first, "--resume"], killed=phase == "refine")
    typed("localize", [*second, "--resume"], killed=False)
    typed("localize", [*second, "--resume"], killed=False)
    typed("merge-runs", ["shard-1", "shard-2", "--out", "merged"], killed=False)
    assert files(tiny / "merged") == files(tiny / "whole")
    assert (tiny / "fits.txt").read_text() == ("xx" if phase == "fit" else "x")


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 3])
def test_preset_best_in_shards_is_that_of_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.chdir(tmp_path)
    flags = ["--dataset", "demo", "--limit", "24", "--preset", "best", "--checkpoint-every", "5"]
    assert run_verb("localize", [*flags, "--out", "whole"]) in (0, 1)
    shards = run_shards(flags, count)
    assert run_verb("fit-refiner", shards) == 0
    run_shards(flags, count, "--resume")
    assert run_verb("merge-runs", [*shards, "--out", "merged"]) in (0, 1)
    assert "metrics.json" in files(tmp_path / "whole")
    assert files(tmp_path / "merged") == files(tmp_path / "whole")


def test_a_shard_that_is_begun_anew_gets_what_the_others_have(tiny: Path, flags: list[str]) -> None:
    flags = [*flags, *WITH_REFINER]
    shards = run_shards(flags, 2)
    assert run_verb("fit-refiner", [*shards, "--trust"]) == 0
    run_shards(flags, 2, "--resume")
    before = files(tiny / "shard-2")
    shutil.rmtree(tiny / "shard-2")
    assert run_verb("localize", of_shard(flags, 2, 2)) == 0
    assert run_verb("fit-refiner", [*shards, "--trust"]) == 0
    assert run_verb("localize", [*of_shard(flags, 2, 2), "--resume"]) in (0, 1)
    assert files(tiny / "shard-2") == before
    assert (tiny / "fits.txt").read_text() == "x"


def refused(verb: str, words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one sentence on a command that cannot be."""
    capsys.readouterr()
    assert run_verb(verb, words) == 2
    said = capsys.readouterr().err
    lines = [line for line in said.splitlines() if line.startswith("wsloc: ")]
    assert len(lines) == 1, said
    assert "Traceback" not in said
    return lines[0]


def test_what_cannot_be_learned_from_is_refused_in_a_sentence(
    tiny: Path, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    learning = [*flags, *WITH_REFINER, "--limit", "20"]
    first, second = run_shards(learning, 2)
    other_seed = [*of_shard(learning, 2, 2)[:-1], "seed", "--seed", "7"]
    assert run_verb("localize", other_seed) == 0
    assert run_verb("localize", [*of_shard(learning, 2, 2)[:-1], "killed"]) == 0
    (tiny / "killed" / "spool" / "features" / "000003.npz").unlink()
    plain = [*flags, "--limit", "20", "--shard", "1/1", "--out", "plain"]
    assert run_verb("localize", plain) in (0, 1)
    for folders, sentence in {
        (): "There is nothing to learn from; name the folders of all shards.",
        (first,): "Give the folders of all 2 shards; missing: 2/2.",
        (first, second, first): "shard-1, shard-1 are the same shard",
        (first, "seed"): "have other configurations: 'seed: 0' there, 'seed: 7' here",
        (first, "killed"): "killed is unfinished: 1 of its 2 parts have no maps yet; continue it with --shard 2/2 and "
        "--resume.",
        ("plain",): "plain has no refiner to fit: merge the shards once all are done.",
        (first, "photos"): "photos is not a run folder",
    }.items():
        assert sentence in refused("fit-refiner", [*folders, "--trust"], capsys)
    assert "names code to run as the refiner, means:KIND" in refused("fit-refiner", [first, second], capsys)
    assert "shard-1 has no boxes yet: once all shards have their maps, name them to `wsloc fit-refiner`" in refused(
        "merge-runs", [first, second, "--out", "merged"], capsys
    )
    with RunFolder(tiny / "shard-2"):
        assert "shard-2 is in use by another process" in refused("fit-refiner", [first, second, "--trust"], capsys)
    assert not list(tiny.rglob("refiner.safetensors*"))
    assert not (tiny / "merged").exists()
    with (tiny / "labels.csv").open("a") as file:
        file.write("00.png,blue\n")
    assert "other images or labels than when shard-1 was begun" in refused("fit-refiner", [first, second], capsys)


def test_what_was_learned_elsewhere_is_refused(
    tiny: Path, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    learning = [*flags, *WITH_REFINER, "--limit", "20"]
    first, second = run_shards(learning, 2)
    weights = torch.load(tiny / "tinynet.pth", weights_only=True)
    torch.save({name: 2 * values for name, values in weights.items()}, tiny / "other.pth")
    for name, more in {"fewer": ["--limit", "10"], "other": ["--weights", "other.pth"]}.items():
        assert run_verb("localize", [*learning, *more, "--out", name]) in (0, 1)

    def give(run: str, shard: str) -> None:
        # It may be a link to the file of another shard.
        (tiny / shard / "refiner.safetensors").unlink(missing_ok=True)
        shutil.copy(tiny / run / "refiner.safetensors", tiny / shard)

    give("other", first)
    said = refused("localize", [*of_shard(learning, 1, 2), "--resume"], capsys)
    assert "shard-1/refiner.safetensors was learned from features of" in said
    (tiny / first / "refiner.safetensors").unlink()
    assert run_verb("fit-refiner", [first, second, "--trust"]) == 0
    give("fewer", second)
    run_shards(learning, 2, "--resume")
    for verb, words in {"fit-refiner": ["--trust"], "merge-runs": ["--out", "merged"]}.items():
        said = refused(verb, [first, second, *words], capsys)
        assert "shard-1/refiner.safetensors and shard-2/refiner.safetensors were learned from different" in said
