"""``wsloc train-detector`` as a user types it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from made_splits import QUICK, TEST, TRUTH, entered, files_of, interrupt_at_step, interrupting, rows_of

from wsloc.cli.main import run_verb
from wsloc.detection import testing


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    yield from entered(tmp_path, monkeypatch)


@pytest.mark.usefixtures("here")
def test_the_whole_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    """Trained on true boxes until they are learned; evaluate and report read the run."""
    flags = [*TRUTH, *QUICK, *TEST, "--epochs", "40", "--learning-rate", "0.05", "--out", "run"]
    assert run_verb("train-detector", flags) == 0
    out = capsys.readouterr().out
    assert "COCO AP50" in out
    assert "wsloc evaluate run" in out
    manifest = json.loads(Path("run/manifest.json").read_text())
    assert manifest["complete"]
    assert manifest["kind"] == "detector"
    assert manifest["labels"] == {"images": 8, "boxes": 12, "ignored": 0, "empty": 0}
    assert set(files_of("run")) == {
        "detector.safetensors", "epochs.csv", "failures.jsonl", "items.csv", "localizations.jsonl", "metrics.json",
        "metrics_per_class.csv",
    }  # fmt: skip
    rows = rows_of("run/epochs.csv")
    assert [row["epoch"] for row in rows] == [str(epoch) for epoch in range(1, 41)]
    assert float(rows[-1]["train_loss"]) < 0.5 * float(rows[0]["train_loss"])
    own = json.loads(Path("run/metrics.json").read_text())
    assert own["items"] == 6
    assert own["average precision"]["COCO AP50"] > 0.7
    assert run_verb("evaluate", ["run"]) == 0
    again = json.loads(Path("run/metrics.json").read_text())
    assert again["average precision"] == own["average precision"]
    assert again["rows"] == own["rows"]
    assert run_verb("report", ["run", "--gallery", "0"]) == 0


@pytest.mark.usefixtures("here")
def test_a_crash_in_an_epoch_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    flags = [*TRUTH, *QUICK, *TEST, "--epochs", "3"]
    assert run_verb("train-detector", [*flags, "--out", "whole"]) == 0
    with monkeypatch.context() as patched:
        interrupt_at_step(patched, 4)
        assert run_verb("train-detector", [*flags, "--out", "killed"]) == 130
    assert len(rows_of("killed/epochs.csv")) == 1
    assert not json.loads(Path("killed/manifest.json").read_text())["complete"]
    assert run_verb("train-detector", [*flags, "--out", "killed"]) == 2  # exists
    assert run_verb("train-detector", [*flags, "--out", "killed", "--resume", "--seed", "3"]) == 2
    assert run_verb("train-detector", [*flags, "--out", "killed", "--resume"]) == 0
    assert files_of("killed") == files_of("whole")


@pytest.mark.usefixtures("here")
def test_a_crash_after_the_last_epoch_leaves_no_trace(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The training is done and the test is not."""
    flags = [*TRUTH, *QUICK, *TEST, "--epochs", "2"]
    assert run_verb("train-detector", [*flags, "--out", "whole"]) == 0

    with monkeypatch.context() as patched:
        patched.setattr(testing, "write_results", interrupting)
        assert run_verb("train-detector", [*flags, "--out", "killed"]) == 130
    capsys.readouterr()
    assert run_verb("train-detector", [*flags, "--out", "killed", "--resume", "--epochs", "3"]) == 2
    # There is no --config here to give.
    assert "give the same settings as before, or another --out without --resume." in capsys.readouterr().err
    assert run_verb("train-detector", [*flags, "--out", "killed", "--resume"]) == 0
    assert files_of("killed") == files_of("whole")


@pytest.mark.usefixtures("here")
def test_other_labels_are_not_resumed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--boxes-from", "train", *QUICK, "--epochs", "1", "--out", "run"]

    with monkeypatch.context() as patched:
        interrupt_at_step(patched, 1)
        assert run_verb("train-detector", flags) == 130
    text = Path("train/instances_train.json").read_text()
    Path("train/instances_train.json").write_text(text.replace("26, 30]", "26, 29]"))
    assert run_verb("train-detector", [*flags, "--resume"]) == 2
    assert "was started with other labels" in capsys.readouterr().err


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("export", ["train", "train/instances_train.json"])
def test_an_export_and_true_boxes_of_its_images_train_the_same(export: str) -> None:
    flags = [*QUICK, *TEST, "--epochs", "1"]
    assert run_verb("train-detector", ["--boxes-from", export, *flags, "--out", "pseudo"]) == 0
    assert run_verb("train-detector", [*TRUTH, *flags, "--out", "truth"]) == 0
    assert Path("pseudo/detector.safetensors").read_bytes() == Path("truth/detector.safetensors").read_bytes()


@pytest.mark.usefixtures("here")
def test_an_export_of_more_classes_than_were_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """A run on some classes is exported with the numbers of all."""
    document = json.loads(Path("train/instances_train.json").read_text())
    document["categories"].insert(0, {"id": 3, "name": "blue"})
    Path("train/instances_train.json").write_text(json.dumps(document))
    flags = ["--boxes-from", "train", *QUICK, *TEST, "--epochs", "1"]
    assert run_verb("train-detector", [*flags, "--out", "all"]) == 2
    assert "or --classes with those that have boxes" in capsys.readouterr().err
    assert run_verb("train-detector", [*flags, "--classes", "green", "red", "--out", "two"]) == 0
    assert json.loads(Path("two/manifest.json").read_text())["classes"] == ["green", "red"]
    assert run_verb("train-detector", [*flags, "--classes", "green", "pink", "--out", "odd"]) == 2
    assert "--classes: the export has no class 'pink'" in capsys.readouterr().err


@pytest.mark.usefixtures("here")
def test_a_copy_of_a_test_image_is_not_trained_on(capsys: pytest.CaptureFixture[str]) -> None:
    """An export holds copies of its images."""
    shutil.copytree("train", "export")
    test = [word.replace("test/", "train/") for word in TEST]
    test[test.index("test")] = "train"
    assert run_verb("train-detector", ["--boxes-from", "export", *QUICK, *test, "--out", "run"]) == 2
    assert "8 of the 8 test images are also trained on" in capsys.readouterr().err


@pytest.mark.usefixtures("here")
def test_without_images_to_test_on() -> None:
    assert run_verb("train-detector", ["--boxes-from", "train", *QUICK, "--epochs", "1", "--out", "run"]) == 0
    assert Path("run/localizations.jsonl").read_bytes() == b""
    assert json.loads(Path("run/manifest.json").read_text())["complete"]


@pytest.mark.usefixtures("here")
def test_an_image_that_is_no_image_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    Path("train/train-03.png").write_bytes(b"no image")
    Path("test/test-01.png").write_bytes(b"no image")
    assert run_verb("train-detector", ["--boxes-from", "train", *QUICK, *TEST, "--epochs", "1", "--out", "run"]) == 1
    assert "train-03.png" in Path("run/training_problems.txt").read_text()
    assert "training_problems.txt" in capsys.readouterr().out
    (failure,) = Path("run/failures.jsonl").read_text().splitlines()
    assert json.loads(failure)["file"] == "test-01.png"


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ("--boxes-from truth", "--boxes-from truth needs the data set that has true boxes: give --dataset NAME"),
        ("--boxes-from nowhere", "nowhere does not exist; --boxes-from names an export, a run folder, or truth"),
        ("--boxes-from train --test-split val", "need --test-dataset NAME"),
        ("--boxes-from train --image-size 8", "--image-size must be between 64 and 2048"),
        ("--boxes-from train --arch ssdlite320_mobilenet_v3_large --image-size 300", "leave out --image-size"),
        ("--boxes-from train --epochs 0", "--epochs must be at least 1"),
        ("--boxes-from train --resume --overwrite", "exclude each other"),
        ("--boxes-from train --backbone gone.pth", "gone.pth do not exist"),
        ("--boxes-from train --seed -1", "--seed must be at least 0, not -1"),
        ("--boxes-from train --test-dataset folder --test-root test", "the test set has no green, red"),
        (
            "--boxes-from train --test-dataset folder --test-root train --test-labels train/labels.csv "
            "--test-boxes train/boxes.csv",
            "8 of the 8 test images are also trained on",
        ),
        (
            "--boxes-from train --test-dataset folder --test-root test --test-labels test/labels.csv",
            "has no true boxes to test against",
        ),
    ],
)
def test_bad_input_is_a_sentence(flags: str, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = [word for word in QUICK if "--image-size" not in flags or word not in ("--image-size", "64")]
    if "--arch" in flags:
        words = words[2:]
    assert run_verb("train-detector", [*words, *flags.split(), "--out", "run"]) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert sentence in error
    assert not Path("run").exists()


@pytest.mark.usefixtures("here")
def test_other_classes_than_those_of_the_test_set(capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads(Path("train/instances_train.json").read_text())
    document["categories"][0]["name"] = "blue"
    Path("train/instances_train.json").write_text(json.dumps(document))
    assert run_verb("train-detector", ["--boxes-from", "train", *QUICK, *TEST, "--out", "run"]) == 2
    assert (
        "The classes differ: the test set has no blue and the training labels have no green" in capsys.readouterr().err
    )
