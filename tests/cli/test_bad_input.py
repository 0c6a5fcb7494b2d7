"""The command line as a user types it, with everything that can be wrong with what it is given."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from wsloc.cli.main import run_verb
from wsloc.plugins import import_named

SCRIPT = Path(__file__).parents[2] / "scripts" / "localize.py"
MODULE = """
import torch
from torch import nn

def make():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2),
    )
"""
ANNOTATION = """<annotation><size><width>48</width><height>40</height></size><object><name>{name}</name><bndbox>
<xmin>5</xmin><ymin>5</ymin><xmax>30</xmax><ymax>30</ymax></bndbox></object></annotation>"""
NETWORK = ("--arch", "bad_input_net:make", "--classes-file", "names.txt", "--input-size", "32", "--device", "cpu")
FOLDER = ("--dataset", "folder", "--root", "photos", *NETWORK)
VOC = ("--dataset", "voc", "--root", ".", "--split", "val", *NETWORK)


def _photo(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    pixels[10:30, 12:36] = 230
    Image.fromarray(pixels).save(path)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a network, four photographs, and the same four as a VOC data set."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad_input_net.py").write_text(MODULE)
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    voc = tmp_path / "VOCdevkit" / "VOC2012"
    for folder in ("ImageSets/Main", "Annotations"):
        (voc / folder).mkdir(parents=True)
    for number in range(4):
        name = ("cat", "dog")[number % 2]
        _photo(tmp_path / "photos" / name / f"{number}.jpg", number)
        _photo(voc / "JPEGImages" / f"{number}.jpg", number)
        (voc / "Annotations" / f"{number}.xml").write_text(ANNOTATION.format(name=name))
    lists = {"val": "0\n1\n2\n3\n", "cat_val": "0 1\n1 -1\n2 1\n3 -1\n", "dog_val": "0 -1\n1 1\n2 -1\n3 1\n"}
    for name, text in lists.items():
        (voc / "ImageSets" / "Main" / f"{name}.txt").write_text(text)
    return tmp_path


Localize = Callable[..., tuple[int, str, str]]


@pytest.fixture
def localize(here: Path, capsys: pytest.CaptureFixture[str]) -> Localize:  # noqa: ARG001
    """Runs the command; the exit status, standard output and standard error."""

    def run(*words: str) -> tuple[int, str, str]:
        status = run_verb("localize", words)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def _is_one_sentence(error: str) -> bool:
    return error.startswith("wsloc: ") and error.count("\n") == 1 and error.rstrip().endswith((".", "?"))


def _read(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_sound_run_succeeds(here: Path, localize: Localize) -> None:
    """Otherwise the refusals below would prove nothing."""
    for name, flags in (("folder", FOLDER), ("voc", VOC)):
        status, shown, _ = localize(*flags, "--out", name)
        assert status == 0, shown
        assert len(_read(here / name / "localizations.jsonl")) == 4
        assert _read(here / name / "failures.jsonl") == []
        assert json.loads((here / name / "manifest.json").read_text())["complete"] is True
    assert "4 images, 4 items: 4 boxes" in shown


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ((), "Nothing to localize: give --dataset"),
        ((*FOLDER, "--root", "none"), "The folder none does not exist; --root names"),
        ((*VOC, "--root", "none"), "The folder none does not exist; --root names the one that holds VOCdevkit"),
        ((*VOC, "--split", "minival"), "There is no split 'minival' in"),
        ((*VOC, "--year", "2007"), "There is no VOCdevkit/VOC2007/ImageSets/Main in"),
        ((*FOLDER, "--class", "horse"), "none is known to be 'horse' (its outputs are cat, dog)"),
        ((*FOLDER, "--label-map", "map.yaml"), "The label map map.yaml lacks the class dog"),
        ((*FOLDER, "--classes", "cow"), "--classes: the data set has no class 'cow'; it has cat, dog"),
        ((*FOLDER, "--weights", "none.pth"), "The weights none.pth do not exist"),
        ((*FOLDER, "--weights", "other.pth"), "The weights other.pth do not belong to bad_input_net:make"),
        ((*FOLDER, "--weights", "names.txt"), "The weights names.txt cannot be read as a plain state dict"),
        ((*FOLDER, "--classes-file", "three.txt"), "The network has 2 outputs but 3 names; --classes-file needs"),
        ((*FOLDER, "--arch", "nowhere:make"), "the module nowhere cannot be imported"),
        ((*FOLDER, "--arch", "resnet5O"), "did you mean resnet50?"),
        ((*FOLDER, "--mean", "0.5", "--std", "0.5"), "The network cannot take an image of shape (1, 32, 32)"),
        ((*FOLDER, "--config", "none.yaml"), "The configuration none.yaml does not exist"),
        ((*FOLDER, "--labels", "none.csv"), "The table of labels none.csv does not exist"),
        (("--images", "none/*.jpg", "--class", "cat"), "--images 'none/*.jpg' matches no image"),
        ((*FOLDER, "--background-quantile", "2"), "--background-quantile must be below --foreground-quantile"),
        ((*FOLDER, "--resume", "--out", "none"), "none is not a run folder; start a run without --resume"),
        ((*FOLDER, "--resume"), "There is no unfinished run of this configuration in runs"),
        ((*FOLDER, "--out", "photos"), "photos exists; give another --out, or --resume to continue it, or"),
        ((*FOLDER, "--out", "photos", "--overwrite"), "photos is not a run folder, so --overwrite leaves it alone"),
        ((*FOLDER, "--out", "names.txt", "--overwrite"), "names.txt is not a run folder, so --overwrite"),
        ((*FOLDER, "--out", "names.txt/run"), "The run folder names.txt/run cannot be made: Not a directory"),
    ],
    ids=lambda value: " ".join(word for word in value if word not in NETWORK)[-50:] if isinstance(value, tuple) else "",
)
def test_a_users_error_is_one_sentence_and_leaves_nothing(
    here: Path, localize: Localize, flags: tuple[str, ...], sentence: str
) -> None:
    (here / "three.txt").write_text("cat\ndog\ncow\n")
    (here / "map.yaml").write_text("cat: 0\n")
    torch.save({"fc.weight": torch.zeros(2, 2)}, here / "other.pth")
    before = {path for path in here.rglob("*") if "__pycache__" not in path.parts}
    status, shown, error = localize(*flags)
    assert (status, shown) == (2, "")
    assert _is_one_sentence(error), error
    assert sentence in error
    assert {path for path in here.rglob("*") if "__pycache__" not in path.parts} == before


def test_a_note_is_one_sentence_beside_a_run_that_succeeds(here: Path, localize: Localize) -> None:
    state = import_named("bad_input_net:make", "network")().state_dict()
    torch.save({f"model.{key}": value for key, value in state.items()}, here / "net.pth")
    for out in ("one", "two"):  # each run says it anew
        status, _, error = localize(*FOLDER, "--weights", "net.pth", "--out", out)
        assert status == 0
        assert error.count("wsloc: net.pth: model. was taken off the keys.\n") == 1


def test_a_folder_that_was_hardly_begun_can_be_replaced(here: Path, localize: Localize) -> None:
    """Killed between the configuration and the first manifest; one more file and it may be something else's."""
    (here / "run").mkdir()
    for name in (".lock", "config.yaml"):
        (here / "run" / name).write_text("")
    (here / "run" / "thesis.tex").write_text("years of work")
    assert localize(*FOLDER, "--out", "run", "--overwrite")[0] == 2
    (here / "run" / "thesis.tex").unlink()
    assert localize(*FOLDER, "--out", "run", "--overwrite")[0] == 0


def test_a_picture_that_cannot_be_written(here: Path, localize: Localize, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Image.Image, "save", refuse)
    status, _, error = localize(*FOLDER, "--out", "run", "--overlays", "1")
    assert status == 2
    assert "cannot be written: No space left on device; make room" in error
    assert "Traceback" not in error
    monkeypatch.undo()
    monkeypatch.chdir(here)
    assert localize(*FOLDER, "--out", "run", "--overlays", "1", "--resume")[0] == 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there(here: Path, localize: Localize) -> None:
    status, _, error = localize(*FOLDER, "--device", "cuda")
    assert status == 2
    assert _is_one_sentence(error)
    assert "--device cuda: there is no such device; use --device auto or --device cpu" in error
    assert not (here / "runs").exists()


def test_the_script_as_a_user_types_it(here: Path) -> None:
    """The same through a process of its own: a sound run, a user's error, and a misspelled flag."""

    def typed(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, str(SCRIPT), *words], capture_output=True, text=True, check=False)

    assert typed(*FOLDER, "--out", "run").returncode == 0
    assert (here / "run" / "localizations.jsonl").is_file()
    refused = typed(*FOLDER, "--class", "horse", "--out", "other")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert _is_one_sentence(refused.stderr), refused.stderr
    assert not (here / "other").exists()
    misspelled = typed(*FOLDER, "--metod", "gradient")
    assert misspelled.returncode == 2
    assert misspelled.stderr.endswith("; did you mean --method?\n")
    assert "Traceback" not in misspelled.stderr


def test_an_existing_run_is_left_alone_unless_it_may_be_replaced(here: Path, localize: Localize) -> None:
    assert localize(*FOLDER, "--out", "run", "--limit", "1")[0] == 0
    before = {path: path.read_bytes() for path in (here / "run").rglob("*") if path.is_file()}
    for more, sentence in (
        ((), "run exists; give another --out"),
        (("--resume",), "run has another configuration: 'limit: 1' there, 'limit: null' here"),
        (("--resume", "--limit", "1"), "run is complete, there is nothing to resume"),
    ):
        status, _, error = localize(*FOLDER, "--out", "run", *more)
        assert status == 2
        assert _is_one_sentence(error)
        assert sentence in error
        assert {path: path.read_bytes() for path in (here / "run").rglob("*") if path.is_file()} == before
    assert localize(*FOLDER, "--out", "run", "--overwrite")[0] == 0
    assert len(_read(here / "run" / "localizations.jsonl")) == 4


def test_a_run_of_other_images_is_not_gone_on_with(here: Path, localize: Localize) -> None:
    assert localize(*FOLDER, "--out", "run")[0] == 0
    manifest = json.loads((here / "run" / "manifest.json").read_text())
    (here / "run" / "manifest.json").write_text(json.dumps({**manifest, "complete": False}))
    _photo(here / "photos" / "cat" / "9.jpg", 9)
    status, _, error = localize(*FOLDER, "--out", "run", "--resume")
    assert status == 2
    assert _is_one_sentence(error)
    assert "run was started with another dataset fingerprint; start a run without --resume" in error


def _full_disk(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """No more room after this many writes that reached the disk."""
    written = iter(range(after))
    genuine = os.fsync

    def fsync(descriptor: int) -> None:
        if next(written, None) is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        genuine(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.parametrize("out", [("--out", "run"), ()], ids=["named", "default"])
def test_a_disk_that_is_full_from_the_start_leaves_no_run_folder(
    here: Path, localize: Localize, monkeypatch: pytest.MonkeyPatch, out: tuple[str, ...]
) -> None:
    _full_disk(monkeypatch, 0)
    status, _, error = localize(*FOLDER, *out)
    assert status == 2
    assert _is_one_sentence(error), error
    assert "config.yaml cannot be written: No space left on device; make room" in error
    assert not (here / "run").exists()
    assert list((here / "runs").glob("*")) == []
    monkeypatch.undo()
    monkeypatch.chdir(here)
    assert localize(*FOLDER, *out)[0] == 0


@pytest.mark.parametrize("after", range(1, 17))
def test_a_disk_that_fills_up_leaves_a_run_that_goes_on(
    here: Path, localize: Localize, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """Wherever the room ends, the same command with --resume ends with the records of an uninterrupted run."""
    flags = (*VOC, "--checkpoint-every", "2", "--out", "run")
    assert localize(*flags, "--out", "whole")[0] == 0
    _full_disk(monkeypatch, after)
    status, _, error = localize(*flags)
    monkeypatch.undo()
    monkeypatch.chdir(here)
    assert status == 2
    assert _is_one_sentence(error.splitlines()[-1] + "\n"), error
    assert "Traceback" not in error
    assert "No space left on device" in error
    again = "--resume" if (here / "run" / "manifest.json").exists() else "--overwrite"
    status, _, error = localize(*flags, again)
    assert status == 0, error
    for name in ("localizations.jsonl", "failures.jsonl", "metrics.json"):
        assert (here / "run" / name).read_bytes() == (here / "whole" / name).read_bytes()
    assert not list((here / "run").rglob("*.tmp"))
    assert json.loads((here / "run" / "manifest.json").read_text())["complete"] is True


def test_a_run_folder_that_cannot_be_locked(localize: Localize, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    status, _, error = localize(*FOLDER, "--out", "run")
    assert status == 2
    assert _is_one_sentence(error), error
    assert "run cannot be locked: Permission denied" in error


BAD_IMAGES = {
    "missing": (None, "does not exist"),
    "empty": (b"", "is not an image that can be read"),
    "text": (b"<html>404</html>", "is not an image that can be read"),
    "truncated": (b"half", "cannot be decoded"),
    "dot": (b"dot", "is 1 x 1 pixels, less than 8 on a side"),
}


@pytest.mark.parametrize("kind", BAD_IMAGES)
def test_a_bad_image_is_recorded_and_the_run_goes_on(here: Path, localize: Localize, kind: str) -> None:
    content, reason = BAD_IMAGES[kind]
    path = here / "VOCdevkit" / "VOC2012" / "JPEGImages" / "1.jpg"
    if content is None:
        path.unlink()
    elif content == b"half":
        path.write_bytes(path.read_bytes()[:-100])
    elif content == b"dot":
        Image.new("RGB", (1, 1)).save(path)
    else:
        path.write_bytes(content)
    status, shown, error = localize(*VOC, "--out", "run")
    assert status == 1
    assert "Traceback" not in error
    (failure,) = _read(here / "run" / "failures.jsonl")
    assert (failure["image_id"], failure["class_name"], failure["stage"]) == ("1", "dog", "read")
    assert failure["file"] == "JPEGImages/1.jpg"
    assert reason in str(failure["reason"])
    assert [line["image_id"] for line in _read(here / "run" / "localizations.jsonl")] == ["0", "2", "3"]
    assert "4 images, 4 items: 3 boxes, 0 of them fallbacks, 1 failure" in shown
    assert f"1 x failed in read: the image {reason}" in shown
    assert json.loads((here / "run" / "manifest.json").read_text())["complete"] is True


def test_an_image_that_a_csv_file_names_may_be_missing(here: Path, localize: Localize) -> None:
    (here / "labels.csv").write_text("image,label\ncat/0.jpg,cat\nnone.jpg,cat;dog\n")
    assert localize(*FOLDER, "--labels", "labels.csv", "--out", "run")[0] == 1
    failures = _read(here / "run" / "failures.jsonl")
    assert [(failure["file"], failure["class_name"]) for failure in failures] == [
        ("none.jpg", "cat"),
        ("none.jpg", "dog"),
    ]
    assert len(_read(here / "run" / "localizations.jsonl")) == 1


@pytest.mark.parametrize("source", ["labels", "labels with maps", "voc"])
def test_no_image_exists(here: Path, localize: Localize, source: str) -> None:
    (here / "labels.csv").write_text("image,label\nflat/0.jpg,cat\nflat/1.jpg,dog\n")
    flags, first = ((*FOLDER, "--labels", "labels.csv"), "photos/flat/0.jpg")
    if source == "labels with maps":
        (here / "photos" / "flat").mkdir()
        (here / "photos" / "flat" / "0.jpg").write_bytes((here / "photos" / "cat" / "0.jpg").read_bytes())
        assert localize(*flags, "--save-maps", "--out", "maps")[0] == 1
        (here / "photos" / "flat" / "0.jpg").unlink()
        flags = ("--maps", "maps")
    elif source == "voc":
        flags, first = VOC, "VOCdevkit/VOC2012/JPEGImages/0.jpg"
        for path in (here / "VOCdevkit" / "VOC2012" / "JPEGImages").iterdir():
            path.unlink()
    status, _, error = localize(*flags, "--out", "run")
    assert (status, (here / "run").exists(), _is_one_sentence(error)) == (2, False, True)
    assert "exists (" in error
    assert f"{first}); check --root, and the names in the lists of the data set." in error


def test_names_that_begin_at_the_current_folder(here: Path, localize: Localize) -> None:
    (here / "labels.csv").write_text("image,label\nphotos/cat/0.jpg,cat\n")
    status, _, error = localize(*FOLDER, "--labels", "labels.csv", "--out", "run")
    assert (status, (here / "run").exists(), _is_one_sentence(error)) == (2, False, True)
    assert "(photos/cat/0.jpg is there, photos/photos/cat/0.jpg is not); give --root ." in error
    status, _, _ = localize(*FOLDER, "--root", ".", "--labels", "labels.csv", "--out", "run")
    assert status == 0


def test_a_run_in_which_everything_failed_names_the_reasons(here: Path, localize: Localize) -> None:
    for path in (here / "photos").glob("*/*.jpg"):
        path.write_bytes(b"no image")
    status, shown, error = localize(*FOLDER, "--out", "run", "--export", "coco")
    assert (status, "Traceback" in error) == (1, False)
    assert "4 x failed in read: the image is not an image that can be read" in shown
    assert shown.endswith("Next:\n  why nothing has a box head -n 3 run/failures.jsonl\n")


@pytest.mark.parametrize("content", ["<annotation><object>", "", None], ids=["malformed", "empty", "missing"])
def test_a_bad_annotation_is_told_and_the_run_goes_on(here: Path, localize: Localize, content: str | None) -> None:
    path = here / "VOCdevkit" / "VOC2012" / "Annotations" / "1.xml"
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    status, shown, error = localize(*VOC, "--out", "run")
    assert status == 1
    assert "Traceback" not in error
    assert "1.xml: the annotation " in shown
    assert len(_read(here / "run" / "localizations.jsonl")) == 4
    assert (here / "run" / "metrics.json").is_file()


def test_no_annotation_can_be_read(here: Path, localize: Localize) -> None:
    for path in (here / "VOCdevkit" / "VOC2012" / "Annotations").iterdir():
        path.write_text("<")
    status, shown, _ = localize(*VOC, "--out", "run")
    assert status == 1
    assert "4 problems in the annotations" in shown
    assert len((here / "run" / "annotation_problems.txt").read_text().splitlines()) == 4
    assert len(_read(here / "run" / "localizations.jsonl")) == 4
