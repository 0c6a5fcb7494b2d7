"""``wsloc detect`` as a user types it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from made_splits import QUICK, TEST, TRUTH, entered, files_of

from wsloc.cli.main import run_verb
from wsloc.detection import detector_folder as folder

CHECKPOINT = "trained/detector.safetensors"
IMAGES = "--dataset folder --root test --labels test/labels.csv --boxes test/boxes.csv --device cpu".split()
SCRIPT = Path(__file__).parents[2] / "scripts" / "detect.py"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with ``train``, ``test`` and ``trained``, the run of a detector that was tested on ``test``."""
    for place in entered(tmp_path, monkeypatch):
        flags = [*TRUTH, *QUICK, *TEST, "--epochs", "12", "--learning-rate", "0.05", "--out", "trained"]
        assert run_verb("train-detector", flags) == 0
        yield place


@pytest.mark.usefixtures("here")
def test_the_whole_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    """The detections are those of the test after the training, and every later verb reads them."""
    assert run_verb("detect", [CHECKPOINT, *IMAGES, "--batch-size", "4", "--out", "found"]) == 0
    assert "wsloc evaluate found" in capsys.readouterr().out
    found, tested = files_of("found"), files_of("trained")
    assert found["localizations.jsonl"].count(b"\n") > 4
    assert all(found[name] == tested[name] for name in ("localizations.jsonl", "items.csv", "metrics.json"))
    assert b"CorLoc class-wise" in found["metrics.json"]
    assert b"box recall" not in found["metrics.json"]
    manifest = json.loads(Path("found/manifest.json").read_text())
    assert manifest["complete"]
    assert manifest["images"] == 4

    assert run_verb("evaluate", ["found"]) == 0
    assert run_verb("report", ["found", "--gallery", "2"]) == 0
    assert run_verb("export", ["found", "--format", "coco", "--min-score", "0.2"]) == 0
    assert run_verb("compare-runs", ["found", "trained"]) == 0
    assert "Every item has the same IoU." in capsys.readouterr().out


@pytest.mark.usefixtures("here")
def test_own_images_without_truth(capsys: pytest.CaptureFixture[str]) -> None:
    Path("test/broken.png").write_bytes(b"no picture")
    assert run_verb("detect", [CHECKPOINT, "--images", "test/*.png", "--device", "cpu", "--batch-size", "4"]) == 1
    out = capsys.readouterr().out
    assert "wsloc evaluate" not in out
    (run,) = Path("runs").iterdir()
    assert run.name.startswith("detect-")
    (failure,) = map(json.loads, (run / "failures.jsonl").read_text().splitlines())
    assert failure["file"] == "broken.png"
    boxes = {tuple(json.loads(line)["box_xyxy"]) for line in (run / "localizations.jsonl").read_text().splitlines()}
    lines = Path("trained/localizations.jsonl").read_text().splitlines()
    assert len(boxes & {tuple(json.loads(line)["box_xyxy"]) for line in lines}) > 1
    assert run_verb("export", [str(run), "--format", "yolo"]) in (0, 1)
    assert run_verb("report", [str(run), "--gallery", "0"]) == 0


@pytest.mark.usefixtures("here")
def test_a_killed_run_resumes(
    monkeypatch: pytest.MonkeyPatch,
    interrupted_at: Callable[[int], AbstractContextManager[None]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(folder, "_PART", 2)
    flags = [CHECKPOINT, *IMAGES, "--batch-size", "2", "--out", "found"]
    assert run_verb("detect", flags) == 0
    whole = files_of("found")
    shutil.rmtree("found")
    with interrupted_at(1):
        assert run_verb("detect", flags) == 130
    capsys.readouterr()
    assert run_verb("detect", flags) == 2
    assert "found exists; give another --out, or --resume to continue it" in capsys.readouterr().err
    assert run_verb("detect", [*flags, "--resume", "--limit", "3"]) == 2
    assert "found has another configuration" in capsys.readouterr().err
    assert run_verb("detect", [*flags, "--resume"]) == 0
    assert files_of("found") == whole


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["none.safetensors", *IMAGES], "none.safetensors is not a readable safetensors file"),
        (["train/labels.csv", *IMAGES], "train/labels.csv is not a readable safetensors file"),
        ([CHECKPOINT], "Nothing to localize: give --dataset"),
        ([CHECKPOINT, "--images", "none/*.png"], "--images 'none/*.png' matches no image"),
        ([CHECKPOINT, *IMAGES, "--batch-size", "0"], "--batch-size must be at least 1, not 0."),
        ([CHECKPOINT, *IMAGES, "--class", "red"], "Unrecognized options: --class, red"),
        ([], "missing: CHECKPOINT"),
    ],
)
def test_a_users_error_is_one_sentence(
    here: Path, words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run_verb("detect", words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"wsloc: {sentence}")
    assert said.err.count("\n") == 1
    assert not (here / "runs").exists()


def test_the_script_is_the_verb() -> None:
    done = subprocess.run([sys.executable, SCRIPT, "--help"], capture_output=True, text=True, check=True)
    assert "CHECKPOINT" in done.stdout
