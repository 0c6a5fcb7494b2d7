"""``wsloc train-detector`` and ``wsloc self-train`` as a user types them."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from wsloc.cli.main import run_verb
from wsloc.detection import loop
from wsloc.detection.inference import localization
from wsloc.records import ImageRecord

QUICK = (
    "--arch fasterrcnn_small_cnn --backbone none --image-size 64 --batch-size 4 --learning-rate 0.02 --zoom 0 "
    "--device cpu"
).split()
TEST = "--test-dataset folder --test-root test --test-image-labels test/labels.csv --test-boxes test/boxes.csv".split()
TRUTH = "--labels truth --dataset folder --root train --image-labels train/labels.csv --boxes train/boxes.csv".split()


def write_split(folder: Path, count: int, seed: int) -> None:
    """Images with a red rectangle at the left and, on every other one, a green one at the right; their tables."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    labels, boxes, annotations, images = ["image,label"], ["image,class,x0,y0,x1,y1"], [], []
    for number in range(count):
        pixels = rng.normal(90, 12, (64, 80, 3))
        names = ["red", "green"][: 1 + number % 2]
        file = f"{folder.name}-{number:02d}.png"
        for place, name in enumerate(names):
            x0, y0 = 40 * place + int(rng.integers(0, 12)), int(rng.integers(0, 30))
            pixels[y0 : y0 + 30, x0 : x0 + 26] = (220, 40, 40) if name == "red" else (40, 220, 40)
            boxes.append(f"{file},{name},{x0},{y0},{x0 + 26},{y0 + 30}")
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number + 1,
                    "category_id": 2 - place,
                    "bbox": [x0, y0, 26, 30],
                    "area": 780,
                    "iscrowd": 0,
                }
            )
        images.append({"id": number + 1, "file_name": file, "width": 80, "height": 64})
        labels.append(f"{file},{';'.join(names)}")
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / file)
    (folder / "labels.csv").write_text("\n".join(labels) + "\n")
    (folder / "boxes.csv").write_text("\n".join(boxes) + "\n")
    # As the classes of a folder's CSV are numbered: by name.
    categories = [{"id": 1, "name": "green"}, {"id": 2, "name": "red"}]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "instances_train.json").write_text(json.dumps(document))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with ``train`` (8 images, an export in it) and ``test`` (4 images)."""
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    write_split(tmp_path / "train", 8, 0)
    write_split(tmp_path / "test", 4, 1)
    yield tmp_path
    torch.set_num_threads(threads)


def rows_of(table: str) -> list[dict[str, str]]:
    return list(csv.DictReader(Path(table).read_text().splitlines()))


def files_of(run: str) -> dict[str, bytes]:
    """All files but the manifest and the lock."""
    return {
        path.relative_to(run).as_posix(): path.read_bytes()
        for path in sorted(Path(run).rglob("*"))
        if path.is_file() and path.name not in ("manifest.json", ".lock", "config.yaml")
    }


@pytest.mark.usefixtures("here")
def test_the_whole_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    """Trained on true boxes until they are learnt; evaluate and report read the run."""
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
        "curves.csv", "detector.safetensors", "failures.jsonl", "items.csv", "localizations.jsonl", "metrics.json",
        "metrics_per_class.csv",
    }  # fmt: skip
    rows = rows_of("run/curves.csv")
    assert [row["epoch"] for row in rows] == [str(epoch) for epoch in range(1, 41)]
    assert float(rows[-1]["loss"]) < 0.5 * float(rows[0]["loss"])
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
    steps = 0

    def crashing(*arguments: object) -> dict[str, float]:
        nonlocal steps
        steps += 1
        if steps == 4:
            raise KeyboardInterrupt
        return step(*arguments)  # type: ignore[arg-type]

    step = loop._step
    monkeypatch.setattr(loop, "_step", crashing)
    assert run_verb("train-detector", [*flags, "--out", "killed"]) == 130
    monkeypatch.setattr(loop, "_step", step)
    assert not json.loads(Path("killed/manifest.json").read_text())["complete"]
    assert run_verb("train-detector", [*flags, "--out", "killed"]) == 2  # exists
    assert run_verb("train-detector", [*flags, "--out", "killed", "--resume", "--seed", "3"]) == 2
    assert run_verb("train-detector", [*flags, "--out", "killed", "--resume"]) == 0
    assert files_of("killed") == files_of("whole")


@pytest.mark.usefixtures("here")
def test_other_labels_are_not_gone_on_with(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--labels", "train", *QUICK, "--epochs", "1", "--out", "run"]

    def crashing(*_: object) -> dict[str, float]:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(loop, "_step", crashing)
        assert run_verb("train-detector", flags) == 130
    text = Path("train/instances_train.json").read_text()
    Path("train/instances_train.json").write_text(text.replace("26, 30]", "26, 29]"))
    assert run_verb("train-detector", [*flags, "--resume"]) == 2
    assert "was begun with other labels" in capsys.readouterr().err


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("export", ["train", "train/instances_train.json"])
def test_an_export_and_true_boxes_of_its_images_train_the_same(export: str) -> None:
    flags = [*QUICK, *TEST, "--epochs", "1"]
    assert run_verb("train-detector", ["--labels", export, *flags, "--out", "pseudo"]) == 0
    assert run_verb("train-detector", [*TRUTH, *flags, "--out", "truth"]) == 0
    assert Path("pseudo/detector.safetensors").read_bytes() == Path("truth/detector.safetensors").read_bytes()


@pytest.mark.usefixtures("here")
def test_without_images_to_test_on() -> None:
    assert run_verb("train-detector", ["--labels", "train", *QUICK, "--epochs", "1", "--out", "run"]) == 0
    assert Path("run/localizations.jsonl").read_bytes() == b""
    assert json.loads(Path("run/manifest.json").read_text())["complete"]


@pytest.mark.usefixtures("here")
def test_an_image_that_is_no_image_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    Path("train/train-03.png").write_bytes(b"no image")
    Path("test/test-01.png").write_bytes(b"no image")
    assert run_verb("train-detector", ["--labels", "train", *QUICK, *TEST, "--epochs", "1", "--out", "run"]) == 1
    assert "train-03.png" in Path("run/training_problems.txt").read_text()
    assert "training_problems.txt" in capsys.readouterr().out
    (failure,) = Path("run/failures.jsonl").read_text().splitlines()
    assert json.loads(failure)["file"] == "test-01.png"


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ("--labels truth", "--labels truth needs the data set that has true boxes: give --dataset NAME"),
        ("--labels nowhere", "nowhere does not exist; --labels names an export, a run folder, or truth"),
        ("--labels train --test-split val", "need --test-dataset NAME"),
        ("--labels train --image-size 8", "--image-size must lie between 64 and 2048"),
        ("--labels train --arch ssdlite320_mobilenet_v3_large --image-size 300", "leave out --image-size"),
        ("--labels train --epochs 0", "--epochs must be at least 1"),
        ("--labels train --resume --overwrite", "exclude each other"),
        ("--labels train --backbone gone.pth", "gone.pth do not exist"),
        ("--labels train --test-dataset folder --test-root test", "the test set has no green, red"),
        (
            "--labels train --test-dataset folder --test-root train --test-image-labels train/labels.csv "
            "--test-boxes train/boxes.csv",
            "8 of the 8 test images are also trained on",
        ),
        (
            "--labels train --test-dataset folder --test-root test --test-image-labels test/labels.csv",
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
    assert not Path("run").exists() or "gone.pth" in flags


@pytest.mark.usefixtures("here")
def test_other_classes_than_those_of_the_test_set(capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads(Path("train/instances_train.json").read_text())
    document["categories"][0]["name"] = "blue"
    Path("train/instances_train.json").write_text(json.dumps(document))
    assert run_verb("train-detector", ["--labels", "train", *QUICK, *TEST, "--out", "run"]) == 2
    assert (
        "The classes differ: the test set has no blue and the training labels have no green" in capsys.readouterr().err
    )


@pytest.fixture
def boxes(here: Path) -> None:
    """A run of boxes on the training images, made by hand: the true ones moved by a few pixels."""
    lines = []
    for row in csv.DictReader((here / "train" / "boxes.csv").read_text().splitlines()):
        image = ImageRecord(row["image"], row["image"], here / row["image"])
        x0, y0, x1, y1 = (float(row[key]) for key in ("x0", "y0", "x1", "y1"))
        record = localization(image, row["class"], (x0 + 3, y0 + 3, x1 + 3, y1 + 3), 0.5, (80, 64), method="cam")
        lines.append(json.dumps(dataclasses.asdict(record)) + "\n")
    run = here / "boxes"
    run.mkdir()
    (run / "localizations.jsonl").write_text("".join(lines))
    (run / "failures.jsonl").touch()
    (run / "manifest.json").write_text(json.dumps({"schema_version": 1, "complete": True, "images": 8}))
    (run / "config.yaml").write_text(
        "dataset: folder\nroot: train\nlabels: train/labels.csv\nboxes: train/boxes.csv\narch: demo\n"
    )


@pytest.mark.usefixtures("boxes")
def test_self_training_in_two_rounds(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--labels", "boxes", *QUICK, "--epochs", "15", "--learning-rate", "0.05", "--rounds", "2"]
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
    # What the figures say, evaluate says of each round.
    assert run_verb("evaluate", ["rounds/round-2"]) == 0
    metrics = json.loads(Path("rounds/round-2/metrics.json").read_text())
    assert metrics["rows"][0]["metrics"]["CorLoc class-wise"]["value"] == float(rows[2]["CorLoc class-wise"])
    assert run_verb("report", ["rounds/round-0", "rounds/round-1", "rounds/round-2", "--gallery", "0"]) == 0
    assert (
        run_verb("train-detector", ["--labels", "rounds/round-2", *QUICK, *TEST, "--epochs", "1", "--out", "last"]) == 0
    )


@pytest.mark.usefixtures("boxes")
def test_self_training_goes_on_after_a_kill(monkeypatch: pytest.MonkeyPatch) -> None:
    flags = ["--labels", "boxes", *QUICK, "--epochs", "2", "--rounds", "2", "--folds", "2"]
    assert run_verb("self-train", [*flags, "--out", "whole"]) == 0
    steps, step = 0, loop._step

    def crashing(*arguments: object) -> dict[str, float]:
        nonlocal steps
        steps += 1
        if steps in (2, 9):
            raise KeyboardInterrupt
        return step(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "_step", crashing)
    assert run_verb("self-train", [*flags, "--out", "killed"]) == 130
    assert run_verb("self-train", [*flags, "--out", "killed", "--resume"]) == 130
    assert run_verb("self-train", [*flags, "--out", "killed", "--resume"]) == 0
    assert files_of("killed") == files_of("whole")


@pytest.mark.usefixtures("boxes")
def test_self_training_of_an_export_knows_no_truth_of_its_own() -> None:
    flags = [*QUICK, "--epochs", "1", "--rounds", "1"]
    assert run_verb("self-train", ["--labels", "train", *flags, "--out", "alone"]) == 0
    assert "CorLoc" not in Path("alone/rounds.csv").read_text()
    data = "--dataset folder --root train --image-labels train/labels.csv --boxes train/boxes.csv".split()
    assert run_verb("self-train", ["--labels", "train", *data, *flags, "--out", "with"]) == 0
    rows = rows_of("with/rounds.csv")
    assert float(rows[0]["CorLoc class-wise"]) == 1


@pytest.mark.usefixtures("boxes")
def test_a_refiner_of_ones_own(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(here)
    Path("mend.py").write_text(
        "def back(image, box, mask):\n    if box[0] > 40:\n        raise ValueError('too far')\n    return box - 3\n"
    )
    flags = ["--labels", "boxes", *QUICK, "--epochs", "1", "--rounds", "1", "--refine", "mend:back", "--out", "run"]
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
        ("--labels truth", "begins with boxes that are not true"),
        ("--labels boxes --rounds 0", "--rounds must be at least 1"),
        ("--labels boxes --refine nothing", "--refine takes package.module:function"),
        ("--labels unfinished", "is unfinished; wsloc localize --resume goes on with it"),
        ("--labels boxes --dataset voc", "boxes is a run and knows its data set; leave out --dataset"),
        ("--labels empty", "folder has no box of green, red to train on"),
    ],
)
def test_bad_input_of_self_training(flags: str, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree("boxes", "empty")
    Path("empty/localizations.jsonl").write_text("")
    shutil.copytree("boxes", "unfinished")
    Path("unfinished/manifest.json").write_text(json.dumps({"schema_version": 1, "complete": False}))
    assert run_verb("self-train", [*QUICK, *flags.split(), "--out", "run"]) == 2
    assert sentence in capsys.readouterr().err
