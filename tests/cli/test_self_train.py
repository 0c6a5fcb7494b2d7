"""``wsloc self-train`` as a user types it."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml
from made_splits import QUICK, TEST, entered, files_of, interrupt_at_step, interrupting, rows_of

from wsloc.cli.main import run_verb
from wsloc.detection import rounds
from wsloc.detection.inference import detection
from wsloc.records import ImageRecord
from wsloc.runs.record_lines import SCHEMA_VERSION, to_line


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    yield from entered(tmp_path, monkeypatch)


@pytest.fixture
def boxes(here: Path) -> None:
    """A run of boxes on the training images, made by hand: the true ones moved by a few pixels."""
    lines = []
    for row in csv.DictReader((here / "train" / "boxes.csv").read_text().splitlines()):
        image = ImageRecord(row["image"], row["image"], here / row["image"])
        x0, y0, x1, y1 = (float(row[key]) for key in ("x0", "y0", "x1", "y1"))
        record = detection(image, row["class"], (x0 + 3, y0 + 3, x1 + 3, y1 + 3), 0.5, (80, 64), method="cam")
        lines.append(to_line(record))
    run = here / "boxes"
    run.mkdir()
    (run / "localizations.jsonl").write_text("".join(lines))
    (run / "failures.jsonl").touch()
    (run / "manifest.json").write_text(json.dumps({"schema_version": SCHEMA_VERSION, "complete": True, "images": 8}))
    (run / "config.yaml").write_text(
        "dataset: folder\nroot: train\nlabels: train/labels.csv\nboxes: train/boxes.csv\narch: demo\n"
    )


@pytest.mark.usefixtures("boxes")
def test_self_training_in_two_rounds(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--boxes-from", "boxes", *QUICK, "--epochs", "15", "--learning-rate", "0.05", "--rounds", "2"]
    assert run_verb("self-train", [*flags, "--out", "rounds"]) == 0
    out = capsys.readouterr().out
    assert "wsloc report rounds/round-0 rounds/round-1 rounds/round-2" in out
    rows = rows_of("rounds/rounds.csv")
    assert [row["round"] for row in rows] == ["0", "1", "2"]
    assert [row["boxes"] for row in rows] == ["12"] * 3
    assert [float(rows[0][name]) for name in ("CorLoc class-wise", "gain over round 0")] == [1, 0]
    assert int(rows[1]["found"]) > 3
    first = [json.loads(line) for line in Path("rounds/round-1/localizations.jsonl").read_text().splitlines()]
    assert {record["method"] for record in first} <= {"cam", "detector"}
    assert [record["file"] for record in first] == sorted(record["file"] for record in first)
    config = yaml.safe_load(Path("rounds/round-1/config.yaml").read_text())
    assert (config.keys(), config["data"]["root"]) == ({"arch", "data"}, "train")
    # What the figures say, evaluate says of each round.
    assert run_verb("evaluate", ["rounds/round-2"]) == 0
    metrics = json.loads(Path("rounds/round-2/metrics.json").read_text())
    assert metrics["rows"][0]["metrics"]["CorLoc class-wise"]["value"] == float(rows[2]["CorLoc class-wise"])
    assert run_verb("report", ["rounds/round-0", "rounds/round-1", "rounds/round-2", "--gallery", "0"]) == 0
    last = ["--boxes-from", "rounds/round-2", "--ignore-fraction", "0.25", "--ema-decay", "0.9", "--epochs", "1"]
    assert run_verb("train-detector", [*last, *QUICK, *TEST, "--out", "last"]) == 0
    assert "9 boxes, 3 regions to ignore of 2 classes on 8 images" in capsys.readouterr().err


@pytest.mark.usefixtures("boxes")
def test_self_training_resumes_after_a_kill(monkeypatch: pytest.MonkeyPatch) -> None:
    flags = ["--boxes-from", "boxes", *QUICK, "--epochs", "2", "--rounds", "2", "--folds", "2"]
    assert run_verb("self-train", [*flags, "--out", "whole"]) == 0
    for step in (2, 7):
        with monkeypatch.context() as patched:
            interrupt_at_step(patched, step)
            resume = ["--resume"] if Path("killed").exists() else []
            assert run_verb("self-train", [*flags, "--out", "killed", *resume]) == 130
    assert run_verb("self-train", [*flags, "--out", "killed", "--resume"]) == 0
    assert files_of("killed") == files_of("whole")


@pytest.mark.usefixtures("boxes")
def test_self_training_that_is_careful_with_its_boxes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All boxes have the same quality. The first two of 8 red ones and the first of 4 green ones are ignored, which are
    all boxes of the first two images."""
    flags = ["--boxes-from", "boxes", *QUICK, "--epochs", "2", "--rounds", "2", "--folds", "2"]
    careful = ["--ignore-fraction", "0.25", "--ema-decay", "0.99"]
    monkeypatch.setattr(os, "getloadavg", lambda: (9.0, 9.0, 9.0), raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert run_verb("self-train", [*flags, *careful, "--out", "whole"]) == 0
    assert capsys.readouterr().err.count("set the environment variable OMP_NUM_THREADS=1") == 1
    manifest = json.loads(Path("whole/manifest.json").read_text())
    assert manifest["labels"] == {"images": 8, "boxes": 9, "ignored": 3, "empty": 2}
    with monkeypatch.context() as patched:
        interrupt_at_step(patched, 7)
        assert run_verb("self-train", [*flags, *careful, "--out", "killed"]) == 130
    assert run_verb("self-train", [*flags, "--out", "killed", "--resume"]) == 2  # other settings
    assert run_verb("self-train", [*flags, *careful, "--out", "killed", "--resume"]) == 0
    assert files_of("killed") == files_of("whole")


@pytest.mark.usefixtures("boxes")
def test_self_training_resumes_between_the_training_and_the_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("train/train-03.png").write_bytes(b"no image")
    flags = ["--boxes-from", "boxes", *QUICK, "--epochs", "1", "--rounds", "1"]
    assert run_verb("self-train", [*flags, "--out", "whole"]) == 1

    with monkeypatch.context() as patched:
        patched.setattr(rounds, "relocalize", interrupting)
        assert run_verb("self-train", [*flags, "--out", "killed"]) == 130
    assert run_verb("self-train", [*flags, "--out", "killed", "--resume"]) == 1
    assert files_of("killed") == files_of("whole")


@pytest.mark.usefixtures("boxes")
def test_self_training_with_an_image_that_has_moved() -> None:
    Path("train/train-03.png").rename("elsewhere.png")
    flags = ["--boxes-from", "train", *QUICK, "--epochs", "1", "--rounds", "1", "--out", "run"]
    assert run_verb("self-train", flags) == 1
    for number in (0, 1):
        failures = [json.loads(line) for line in Path(f"run/round-{number}/failures.jsonl").read_text().splitlines()]
        assert [(failure["file"][-12:], failure["stage"]) for failure in failures] == [("train-03.png", "read")] * 2
    assert "train-03.png" in Path("run/round-1/training_problems.txt").read_text()


@pytest.mark.usefixtures("boxes")
def test_self_training_of_an_export_knows_no_truth_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    flags = [*QUICK, "--epochs", "1", "--rounds", "1"]
    assert run_verb("self-train", ["--boxes-from", "train", *flags, "--out", "alone"]) == 0
    assert "CorLoc" not in Path("alone/rounds.csv").read_text()
    out = capsys.readouterr().out
    assert "Without a data set no other command reads these rounds" in out
    assert "wsloc report" not in out
    assert run_verb("train-detector", ["--boxes-from", "alone", *QUICK, "--out", "run"]) == 2
    assert "holds rounds of self-training; give one of them" in capsys.readouterr().err
    data = "--dataset folder --root train --labels train/labels.csv --boxes train/boxes.csv".split()
    assert run_verb("self-train", ["--boxes-from", "train", *data, *flags, "--out", "with"]) == 0
    rows = rows_of("with/rounds.csv")
    assert float(rows[0]["CorLoc class-wise"]) == 1


@pytest.mark.usefixtures("boxes")
def test_a_refiner_of_ones_own(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(here)
    Path("my_refiner.py").write_text(
        "def back(image, box, mask):\n    if box[0] > 40:\n        raise ValueError('too far')\n    return box - 3\n"
    )
    flags = [
        "--boxes-from",
        "boxes",
        *QUICK,
        "--epochs",
        "1",
        "--rounds",
        "1",
        "--refine",
        "my_refiner:back",
        "--out",
        "run",
    ]
    assert run_verb("self-train", flags) == 1
    records = [json.loads(line) for line in Path("run/round-0/localizations.jsonl").read_text().splitlines()]
    true = rows_of("train/boxes.csv")
    for record, row in zip(records, true, strict=True):
        moved = 3 if record["box_xyxy"][0] > 40 else 0
        assert record["box_xyxy"][0] == float(row["x0"]) + moved
    assert "the refiner raised ValueError (too far)" in Path("run/round-0/training_problems.txt").read_text()


@pytest.mark.usefixtures("boxes")
@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ("--boxes-from truth", "starts from pseudo-boxes, not truth"),
        ("--boxes-from boxes --rounds 0", "--rounds must be at least 1"),
        ("--boxes-from boxes --refine nothing", "The refiner 'nothing' must be given as package.module:function"),
        ("--boxes-from boxes --backbone gone.pth", "gone.pth do not exist"),
        ("--boxes-from unfinished", "is unfinished; finish it with --resume first"),
        ("--boxes-from boxes --dataset voc", "boxes is a run and knows its data set; leave out --dataset"),
        ("--boxes-from train --ignore-fraction 0.2", "the export train has none; give the run as --boxes-from, or"),
        ("--boxes-from boxes --ignore-fraction 1", "--ignore-fraction must be at least 0 and below 1, not 1.0"),
        ("--boxes-from boxes --ema-decay 1", "--ema-decay must be at least 0 and below 1, not 1.0"),
        ("--boxes-from empty", "folder has no box of green, red to train on"),
    ],
)
def test_bad_input_of_self_training(flags: str, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree("boxes", "empty")
    Path("empty/localizations.jsonl").write_text("")
    shutil.copytree("boxes", "unfinished")
    Path("unfinished/manifest.json").write_text(json.dumps({"schema_version": SCHEMA_VERSION, "complete": False}))
    assert run_verb("self-train", [*QUICK, *flags.split(), "--out", "run"]) == 2
    assert sentence in capsys.readouterr().err
    assert not Path("run").exists()
