"""``wsloc train-classifier`` and ``wsloc localize --checkpoint``, as they are typed."""

from __future__ import annotations

import itertools
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from wsloc.classifiers.checkpoint import load_checkpoint
from wsloc.classifiers.load import load_classifier
from wsloc.cli.main import run_verb
from wsloc.config import ClassifierSettings
from wsloc.registries import DATASETS
from wsloc.runs.run_folder import read_manifest

COLORS = {"red": (200, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 200)}
BASE = "--dataset voc --root . --batch-size 8".split()
FROZEN = [*BASE, *"--arch demo --input-size 32 --epochs 12".split()]
TUNED = [*BASE, *"--arch small_cnn --fine-tune --input-size 32 --epochs 4".split()]
RESULTS = ("classifier.safetensors", "epochs.csv", "classes.csv", "metrics.json", "failures.jsonl", "config.yaml")


@pytest.fixture
def voc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Colored discs as VOC: 36 images of train, 9 of val; one or two labels an image; no annotations at all."""
    monkeypatch.chdir(tmp_path)
    make_voc(tmp_path, lambda number: list(COLORS)[: 1 + number % 2] if number % 3 else ["blue"])
    return tmp_path


def make_voc(root: Path, labels_of: Callable[[int], list[str]]) -> None:
    folder = root / "VOCdevkit" / "VOC2012"
    lists = folder / "ImageSets" / "Main"
    lists.mkdir(parents=True, exist_ok=True)
    (folder / "JPEGImages").mkdir(exist_ok=True)
    generator = np.random.default_rng(0)
    labels = {f"{number:03d}": labels_of(number) for number in range(45)}
    rows, columns = np.mgrid[:40, :50]
    for image_id, names in labels.items():
        pixels = generator.normal(110, 25, (40, 50, 3))
        for place, name in enumerate(names):
            disc = (rows - generator.integers(12, 28)) ** 2 + (columns - 12 - 24 * place) ** 2 < 90
            pixels[disc] = COLORS.get(name, (200, 200, 40)) + generator.normal(0, 8, 3)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(
            folder / "JPEGImages" / f"{image_id}.jpg", quality=95
        )
    splits = {"train": sorted(labels)[:36], "val": sorted(labels)[36:]}
    for split, ids in splits.items():
        (lists / f"{split}.txt").write_text("".join(f"{image_id}\n" for image_id in ids))
        for name in sorted({name for names in labels.values() for name in names}):
            text = "".join(f"{image_id} {1 if name in labels[image_id] else -1}\n" for image_id in ids)
            (lists / f"{name}_{split}.txt").write_text(text)


def results(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in RESULTS}


def train(*flags: str) -> int:
    return run_verb("train-classifier", list(flags))


@pytest.mark.parametrize("flags", [FROZEN, TUNED], ids=["frozen", "fine-tune"])
def test_trained_and_used_without_any_other_flag(
    voc: Path, flags: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        for name in DATASETS:  # training must never come near true boxes
            kind = replace(DATASETS[name], read_truth=lambda *_: pytest.fail("true boxes were opened"))
            patch.setitem(DATASETS, name, kind)
        patch.setattr("wsloc.datasets.voc_xml.parse_xml", lambda *_: pytest.fail("an annotation was opened"))
        assert train(*flags, "--test-split", "val", "--out", "out/net") == 0
    printed = capsys.readouterr()
    assert "bce on cpu" in printed.err
    assert "test: mAP" in printed.out
    assert (
        "wsloc localize --dataset voc --root . --split val --checkpoint out/net/classifier.safetensors" in printed.out
    )
    assert {path.name for path in (voc / "out/net").iterdir()} >= {*RESULTS, "manifest.json"}
    assert not (voc / "out/net/state.pt").exists()

    _, info = load_checkpoint(voc / "out/net/classifier.safetensors")
    assert info.class_names == ("blue", "green", "red")
    assert (info.arch, info.activation, info.preprocessing.input_size_hw) == ("small_cnn", "sigmoid", (32, 32))
    metrics = json.loads((voc / "out/net/metrics.json").read_text())
    assert metrics["test"]["images"] == 9
    assert 0 <= metrics["test"]["mAP"]["low"] <= metrics["test"]["mAP"]["value"] <= 1
    head, *rows = (voc / "out/net/epochs.csv").read_text().splitlines()
    assert head == "epoch,images,learning_rate,train_loss,val_loss,val_map,val_accuracy"
    assert len(rows) == metrics["epochs"]
    classes = (voc / "out/net/classes.csv").read_text().splitlines()
    assert classes[0].startswith("class,training_images,held_out_images,held_out_ap,test_images,test_ap")
    assert len(classes) == 4

    # No annotation is there, so localize finds no truth and exits with 1; every item has a box.
    assert run_verb("localize", [*BASE, "--split", "val", "--checkpoint", "out/net/classifier.safetensors",
                                 "--out", "boxes"]) == 1  # fmt: skip
    assert (voc / "boxes/failures.jsonl").read_text() == ""
    boxes = [json.loads(line) for line in (voc / "boxes/localizations.jsonl").read_text().splitlines()]
    assert {box["class_name"] for box in boxes} == {"blue", "green", "red"}


def test_the_checkpoint_scores_as_the_training_did(voc: Path) -> None:
    """The figures of cached features with the standardization outside, by the whole network with it folded in."""
    from wsloc.classifiers.preprocessing import whole
    from wsloc.config import DataSettings
    from wsloc.datasets import open_dataset
    from wsloc.fitting.examples import make_examples
    from wsloc.fitting.scoring import ScoredImages, score_images
    from wsloc.images import read_image

    assert train(*FROZEN, "--test-split", "val", "--out", "net") == 0
    classifier = load_classifier(ClassifierSettings(checkpoint=voc / "net/classifier.safetensors"))
    assert classifier.name == "small_cnn-trained"
    test = make_examples(open_dataset(DataSettings(dataset="voc", root=voc, split="val")), classifier.output_names)
    pixels = [whole(read_image(image.path), classifier.preprocessing).views[0].pixels for image in test.images]
    with torch.no_grad():
        scores = classifier.network.eval()(torch.stack(pixels)).numpy()
    metrics = json.loads((voc / "net/metrics.json").read_text())["test"]
    again = score_images(ScoredImages(scores, test.present))
    assert metrics["mAP"]["value"] == pytest.approx(again.mean_ap.value)
    assert metrics["top1_accuracy"]["value"] == pytest.approx(again.accuracy.value)


def test_one_label_an_image_takes_cross_entropy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_voc(tmp_path, lambda number: [list(COLORS)[number % 3]])
    assert train(*FROZEN, "--out", "net") == 0
    assert load_checkpoint(tmp_path / "net/classifier.safetensors")[1].activation == "softmax"
    assert train(*FROZEN, "--loss", "bce", "--out", "other") == 0
    assert load_checkpoint(tmp_path / "other/classifier.safetensors")[1].activation == "sigmoid"


def test_workers_change_no_byte_and_the_seed_does(voc: Path) -> None:
    for name, extra in {"a": ["--workers", "0"], "b": ["--workers", "1"], "c": ["--seed", "1"]}.items():
        assert train(*TUNED, *extra, "--out", name) == 0
    assert results(voc / "a") == results(voc / "b")
    assert results(voc / "a")["epochs.csv"] != results(voc / "c")["epochs.csv"]


KILLED = """
import sys
import wsloc.training.loop as module
from wsloc.cli.main import run_verb
module.SECONDS_BETWEEN_STATES = 0
sys.exit(run_verb("train-classifier", sys.argv[1:]))
"""


@pytest.mark.parametrize("flags", [FROZEN, TUNED], ids=["frozen", "fine-tune"])
def test_kill_9_then_resume_ends_with_the_same_bytes(
    voc: Path, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    count = 40 if flags is FROZEN else 14
    flags = [*flags[:-1], str(count), "--patience", "60"]
    assert train(*flags, "--out", "undisturbed") == 0
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, *flags, "--out", "killed"],
        cwd=voc, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    epochs = voc / "killed" / "epochs.csv"
    while not epochs.exists() or len(epochs.read_text().splitlines()) < 4:
        assert process.poll() is None, "the training ended before it could be killed"
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    manifest = read_manifest(voc / "killed")
    assert manifest is not None
    assert not manifest["complete"]
    assert len(epochs.read_text().splitlines()) < count + 1

    assert train(*flags, "--learning-rate", "0.5", "--out", "killed", "--resume") == 2
    assert "'learning_rate: null' there, 'learning_rate: 0.5' here" in capsys.readouterr().err
    assert train(*flags, "--out", "killed", "--resume") == 0
    assert results(voc / "killed") == results(voc / "undisturbed")
    assert read_manifest(voc / "killed")["complete"]  # type: ignore[index]


def test_changed_labels_are_not_mixed_into_an_unfinished_training(
    voc: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupt_in_epoch(monkeypatch, 2)
    assert train(*FROZEN, "--out", "net") == 130
    assert (
        "net holds what was written so far, and the same command with --resume continues it.\n"
        in capsys.readouterr().err
    )
    monkeypatch.undo()
    monkeypatch.chdir(voc)
    image = voc / "VOCdevkit/VOC2012/JPEGImages/003.jpg"
    os.utime(image, (1, 1))
    assert train(*FROZEN, "--out", "net", "--resume") == 2
    assert "was started with other image files; start a run without --resume" in capsys.readouterr().err
    make_voc(voc, lambda number: list(COLORS)[number % 2 :])
    assert train(*FROZEN, "--out", "net", "--resume") == 2
    assert "was started with other labels" in capsys.readouterr().err
    config = voc / "net" / "config.yaml"
    config.write_text(config.read_text() + "more: 1\n")
    assert train(*FROZEN, "--out", "net", "--resume") == 2
    assert "'more: 1' there, 'nothing' here; give the same settings as before" in capsys.readouterr().err


def interrupt_in_epoch(monkeypatch: pytest.MonkeyPatch, epoch: int) -> None:
    """Ctrl-C while that epoch is trained."""
    from wsloc.fitting.learner import ClassifierLearner

    own, epochs = ClassifierLearner.validate, itertools.count(1)

    def validate(learner: ClassifierLearner[Any]) -> tuple[float, dict[str, float]] | None:
        if next(epochs) == epoch:
            raise KeyboardInterrupt
        return own(learner)

    monkeypatch.setattr(ClassifierLearner, "validate", validate)


def test_bad_images_are_counted_and_stop_nothing(voc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = voc / "VOCdevkit/VOC2012/JPEGImages"
    (images / "004.jpg").write_bytes(b"no image")
    (images / "007.jpg").unlink()
    (images / "040.jpg").write_bytes((images / "040.jpg").read_bytes()[:400])
    for name, flags in {"frozen": FROZEN, "tuned": TUNED}.items():
        assert train(*flags, "--test-split", "val", "--out", name) == 1
        out = capsys.readouterr().out
        assert "3 images could not be read (failures.jsonl)" in out
        assert re.search(r"^  .*JPEGImages/007\.jpg: does not exist$", out, re.MULTILINE)
        failures = [json.loads(line) for line in (voc / name / "failures.jsonl").read_text().splitlines()]
        assert sorted(failure["file"][-7:] for failure in failures) == ["004.jpg", "007.jpg", "040.jpg"]
        assert json.loads((voc / name / "metrics.json").read_text())["test"]["images"] == 8


def test_classes_that_the_checkpoint_lacks_are_named_and_recorded(
    voc: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(*FROZEN, "--classes", "red", "blue", "--out", "net") == 0
    capsys.readouterr()
    localize = [*BASE, "--split", "val", "--checkpoint", "net/classifier.safetensors"]
    assert run_verb("localize", [*localize, "--out", "boxes"]) == 1
    sentence = "green: the checkpoint was not trained on it; its classes are blue, red"
    assert sentence in capsys.readouterr().out
    failures = [json.loads(line) for line in (voc / "boxes/failures.jsonl").read_text().splitlines()]
    assert {failure["class_name"] for failure in failures} == {"green"}
    assert all("was not trained on it" in failure["reason"] for failure in failures)
    boxes = [json.loads(line) for line in (voc / "boxes/localizations.jsonl").read_text().splitlines()]
    assert {box["class_name"] for box in boxes} == {"red", "blue"}
    # With none of its classes left there is nothing to do.
    assert run_verb("localize", [*localize, "--classes", "green", "--out", "none"]) == 2
    assert "None of the classes has an output of small_cnn-trained" in capsys.readouterr().err


class _Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("proof",)


@pytest.mark.parametrize("name", ["net.pth", "net.safetensors"])
def test_a_pickle_is_refused_and_not_run(voc: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (voc / name).write_bytes(pickle.dumps(_Harmful()))
    assert run_verb("localize", [*BASE, "--split", "val", "--checkpoint", name]) == 2
    error = capsys.readouterr().err
    assert "is not a safetensors file, and wsloc opens no other" in error
    assert error.count("\n") == 1
    assert not (voc / "proof").exists()


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ("--checkpoint none.safetensors", "cannot read the checkpoint none.safetensors"),
        ("--checkpoint a.safetensors --weights b.pth", "--checkpoint contains its own weights and classes"),
        ("--checkpoint a.safetensors --classes-file b.txt", "--checkpoint contains its own weights and classes"),
    ],
)
def test_checkpoints_that_localize_refuses(
    voc: Path, flags: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_verb("localize", [*BASE, "--split", "val", *flags.split()]) == 2
    assert sentence in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert not (voc / "runs").exists()


def test_a_file_alone_runs_no_code_of_the_users(voc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (voc / "mynet.py").write_text(
        "from pathlib import Path\nfrom wsloc.classifiers.small_cnn import SmallCNN\n"
        "def make():\n    Path('proof').touch()\n    return SmallCNN(2)\n"
    )
    own = ["--arch", "mynet:make"]
    assert train(*FROZEN, *own, "--out", "net") == 0
    (voc / "proof").unlink()
    capsys.readouterr()
    localize = [*BASE, "--split", "val", "--checkpoint", "net/classifier.safetensors"]
    assert run_verb("localize", localize) == 2
    assert "names code to run as the network, mynet:make; if you know what it does" in capsys.readouterr().err
    assert not (voc / "proof").exists()
    assert run_verb("localize", [*localize, *own, "--out", "boxes"]) == 1
    assert (voc / "boxes/failures.jsonl").read_text() == ""


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ("--test-split train", "36 of the 36 images of --test-split train are also trained on (--split train)"),
        ("--classes red", "All images show the one class red"),
        ("--loss cross-entropy", "--loss cross-entropy takes one label per image"),
        ("--arch small_cnn", "small_cnn has no trained weights to keep"),
        ("--arch vit_b_16 --weights none.pth", "vit_b_16 has no layer called fc, classifier or head"),
        ("--weights none.pth --arch squeezenet1_1", "The weights none.pth do not exist"),
        ("--precision float16", "--precision float16 trains on CUDA only"),
        ("--split nothing", "There is no split 'nothing'"),
        ("--ids none.txt", "The list of ids none.txt does not exist"),
        ("--frozen --fine-tune", "--frozen and --fine-tune exclude each other"),
        ("--learning-rate 1e38", "--learning-rate must be above 0 and at most 1e6, not 1e+38"),
        ("--val-fraction 0.7", "--val-fraction must be between 0 and 0.5, not 0.7"),
        ("--resume --out none", "none is not a run folder"),
    ],
)
def test_bad_input_is_one_sentence(voc: Path, flags: str, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status = train(*FROZEN, *flags.split())
    except SystemExit as stopped:
        status = int(str(stopped.code))
    assert status == 2
    error = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert sentence in error
    assert "Traceback" not in error
    assert not (voc / "runs").exists()


def test_a_class_with_one_image_is_a_users_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make_voc(tmp_path, lambda number: ["lone"] if number == 3 else ["red", "green"][number % 2 :])
    assert train(*FROZEN, "--out", "net") == 2
    assert "The class lone labels one image only" in capsys.readouterr().err
    assert train(*FROZEN, "--out", "net", "--classes", "red", "green") == 0
    assert train(*FROZEN, "--out", "all", "--val-fraction", "0") == 0
    assert "lone" in load_checkpoint(tmp_path / "all/classifier.safetensors")[1].class_names


def test_a_full_disk_is_a_users_error(
    voc: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import wsloc.files.atomic as atomic

    own = atomic.os.fsync

    def full(descriptor: int) -> None:
        if (voc / "net" / "config.yaml").exists() and (voc / "features").exists():
            raise OSError(28, "No space left on device")
        own(descriptor)

    monkeypatch.setattr(atomic.os, "fsync", full)
    assert train(*FROZEN, "--out", "net") == 2
    assert "No space left on device; make room" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.chdir(voc)
    assert train(*FROZEN, "--out", "net", "--resume") == 0


def test_own_images_in_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, color in COLORS.items():
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(5):
            Image.new("RGB", (40, 30), tuple(value - 3 * number for value in color)).save(
                tmp_path / "photos" / name / f"{number}.png"
            )
    flags = "--dataset folder --root photos --arch demo --input-size 32 --epochs 30 --out net".split()
    assert train(*flags) == 0
    assert json.loads((tmp_path / "net/metrics.json").read_text())["held_out"]["images"] == 3
    assert run_verb("localize", "--dataset folder --root photos --checkpoint net/classifier.safetensors".split()) == 0
