"""A run over tars finds what a run over the same images as files finds, and every verb reads it."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from wsloc.cli.main import run_verb

SCRIPT = Path(__file__).parents[2] / "scripts" / "localize.py"
needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="ray is not installed: pip install 'wsloc[ray]'"
)


@pytest.fixture
def flags(tiny: Path, tiny_flags: list[str]) -> list[str]:
    """Two shards of the twelve first images, one of which cannot be read, with true boxes; how to localize them."""
    (tiny / "photos" / "09.png").write_bytes(b"no image")
    rows = [line.split(",") for line in (tiny / "labels.csv").read_text().splitlines()[1:13]]
    names = (tiny / "classes.txt").read_text().split()
    for shard in range(2):
        with tarfile.open(tiny / f"train-{shard}.tar", "w") as tar:
            for file, labels in rows[6 * shard : 6 * shard + 6]:
                document = {"label": [names.index(name) for name in labels.split(";")], "caption": "x"}
                contents = {
                    file: (tiny / "photos" / file).read_bytes(),
                    f"{file[:2]}.json": json.dumps(document).encode(),
                }
                for name, content in contents.items():
                    member = tarfile.TarInfo(f"sub/{name}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    (tiny / "truth.csv").write_text("\n".join(f"{file[:2]},red,5,5,30,30" for file, _ in rows) + "\n")
    start = tiny_flags.index("--arch")
    return [*tiny_flags[start:], "--checkpoint-every", "3", "--boxes", "truth.csv"]


TARS = ["--dataset", "webdataset", "--root", "train-{0..1}.tar", "--labels", "classes.txt"]


def records(run: Path, name: str = "localizations.jsonl") -> list[dict[str, object]]:
    """Without what the images are called."""
    found = [json.loads(line) for line in (run / name).read_text().splitlines()]
    return [{key: value for key, value in record.items() if key not in ("image_id", "file")} for record in found]


def files(run: Path) -> dict[str, bytes]:
    """Everything but what tells times and commands, and the lock."""
    apart = ("manifest.json", "log.txt", ".lock")
    paths = (path for path in run.rglob("*") if path.is_file() and path.name not in apart)
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in paths}


def test_a_run_finds_what_a_run_over_files_finds(tiny: Path, flags: list[str]) -> None:
    folder = ["--dataset", "folder", "--root", "photos", "--labels", "labels.csv", "--limit", "12"]
    assert run_verb("localize", [*folder, *flags, "--save-maps", "--out", "of-files"]) == 1
    assert run_verb("localize", [*TARS, *flags, "--save-maps", "--out", "of-tars"]) == 1
    ours, theirs = tiny / "of-tars", tiny / "of-files"
    assert records(ours) == records(theirs)
    assert records(ours, "failures.jsonl") == records(theirs, "failures.jsonl") != []
    assert (ours / "metrics.json").read_bytes() == (theirs / "metrics.json").read_bytes()
    first = json.loads((ours / "localizations.jsonl").read_text().splitlines()[0])
    assert first["image_id"] == first["file"] == "train-0.tar/sub/00.png"

    for number in (1, 2):
        run_verb("localize", [*TARS, *flags, "--save-maps", "--shard", f"{number}/2", "--out", f"shard-{number}"])
    assert run_verb("merge-runs", ["shard-1", "shard-2", "--out", "merged"]) == 1
    assert files(tiny / "merged") == files(ours)
    shard, before = ["--shard", "1/2", "--out", "shard-1", "--resume"], files(tiny / "shard-1")
    (tiny / "shard-1" / "parts" / "000001.jsonl").unlink()
    assert run_verb("localize", [*TARS, *flags, "--save-maps", *shard]) in (0, 1)
    assert files(tiny / "shard-1") == before
    assert run_verb("localize", ["--maps", "of-tars", "--segmenter", "threshold", "--out", "again"]) == 1


def test_every_verb_reads_a_run_over_tars(tiny: Path, flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_verb("localize", [*TARS, *flags, "--report", "--out", "run"]) == 1
    page = (tiny / "run" / "report.html").read_text()
    assert page.count("data:image/jpeg;base64,") >= 11
    assert "No picture: 09.png is not an image that can be read" in page
    assert run_verb("localize", [*TARS, *flags, "--segmenter", "threshold", "--out", "other"]) == 1
    assert run_verb("compare-runs", ["run", "other"]) == 0
    assert run_verb("evaluate", ["run"]) in (0, 1)
    (tiny / "elsewhere").mkdir()
    for shard in tiny.glob("train-*.tar"):
        shard.rename(tiny / "elsewhere" / shard.name)
    assert run_verb("evaluate", ["run", "--root", "elsewhere"]) in (0, 1)
    capsys.readouterr()
    assert run_verb("check-dataset", [*TARS[:2], "--root", "elsewhere", *TARS[4:]]) == 1
    assert "elsewhere/train-1.tar/sub/09.png: is not an image" in capsys.readouterr().out


def test_exports_copy_images_out_of_tars(tiny: Path, flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_verb("localize", [*TARS, *flags, "--out", "run"]) == 1
    assert run_verb("export", ["run", "--format", "coco", "--out", "coco"]) == 0
    for path in (tiny / "coco" / "train2017").iterdir():
        assert path.read_bytes() == (tiny / "photos" / path.name).read_bytes()
    assert len(list((tiny / "coco" / "train2017").iterdir())) == 11
    assert run_verb("export", ["run", "--format", "yolo", "--media", "hardlink", "--out", "yolo"]) == 0
    assert len(list((tiny / "yolo" / "images" / "train").iterdir())) == 11
    assert "11 images copied, because the file cannot be linked" in capsys.readouterr().out
    assert run_verb("export", ["run", "--format", "cvat", "--out", "cvat"]) == 0
    assert "copies of the images, because they are in tars" in capsys.readouterr().out
    assert len(list((tiny / "cvat" / "images").iterdir())) == 11
    for name in ("cvat", "coco", "voc", "label-studio"):
        assert run_verb("export", ["run", "--format", name, "--media", "none", "--out", "none"]) == 2
        said = capsys.readouterr().err
        assert "train-0.tar/sub/00.png is in a tar, where other programs do not find it; leave --media out" in said
    assert not (tiny / "none").exists()
    (tiny / "train-1.tar").unlink()
    assert run_verb("export", ["run", "--format", "coco", "--out", "half"]) == 1
    problems = (tiny / "half" / "problems.txt").read_text().splitlines()
    assert problems[0] == "train-1.tar/sub/06.png: 06.png does not exist"
    assert len(problems) == 5


def test_classifier_and_detector_are_trained_on_tars(
    tiny: Path, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (tiny / "train-1.tar").rename(tiny / "val-1.tar")
    data = ["--dataset", "webdataset", "--root", ".", "--labels", "classes.txt", "--split", "train"]
    quick = ["--arch", "demo", "--input-size", "32", "--epochs", "2", "--batch-size", "2"]
    assert run_verb("train-classifier", [*data, *quick, "--test-split", "val", "--out", "classifier"]) == 1
    assert "09.png is not an image that can be read" in (tiny / "classifier" / "failures.jsonl").read_text()
    assert run_verb("localize", [*data, *flags, "--out", "run"]) == 0
    quick = ["--arch", "fasterrcnn_small_cnn", "--epochs", "1", "--batch-size", "2"]
    assert run_verb("train-detector", ["--boxes-from", "run", *quick, "--out", "detector"]) == 0
    manifest = json.loads((tiny / "detector" / "manifest.json").read_text())
    assert manifest["labels"]["images"] == 6
    capsys.readouterr()
    detect = ["detector/detector.safetensors", *data[:-2], "--split", "val", "--out", "detected"]
    assert run_verb("detect", detect) == 1


@needs_ray
def test_ray_reads_the_tars_in_its_workers(tiny: Path, flags: list[str]) -> None:
    assert run_verb("localize", [*TARS, *flags, "--out", "local"]) == 1
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES": "200000000"}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *TARS, *flags, "--out", "ray", "--engine", "ray", "--ray-timeout", "600"],
        cwd=tiny, env=environment, capture_output=True, text=True, check=False, timeout=3600,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert files(tiny / "ray") == files(tiny / "local")
