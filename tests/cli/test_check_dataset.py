from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from wsloc.cli.main import main

SCRIPT = Path(__file__).parents[2] / "scripts" / "check_dataset.py"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    for name, gray in (("cat/1.png", 10), ("cat/2.png", 20), ("dog/1.png", 30)):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), (gray, gray, gray)).save(root / name)
    return root


def test_status_0_when_nothing_is_wrong(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-dataset", "--dataset", "folder", "--root", str(photos)]) == 0
    assert capsys.readouterr().out == "3 images: no problems.\n"


def test_status_1_with_a_line_for_each_problem_and_a_summary(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos / "cat/1.png").write_text("no picture")
    (photos / "cat/2.png").write_bytes((photos / "dog/1.png").read_bytes())
    (photos.parent / "boxes.csv").write_text("dog/1.png,dog,0,0,9,9\nx.png,dog,0,0,9,9\n")
    flags = ["--dataset", "folder", "--root", str(photos), "--boxes", str(photos.parent / "boxes.csv")]
    assert main(["check-dataset", *flags]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{photos}/cat/1.png: is not an image that can be read")
    assert lines[1] == f"{photos}/dog/1.png: has the same bytes as cat/2.png"
    assert lines[2] == "boxes.csv: images that the data set lacks (1): x.png"
    assert lines[3] == "3 images, 3 problems:"
    assert {line.split(maxsplit=1)[1] for line in lines[4:]} == {"annotation", "unreadable image", "equal images"}
    assert all(line.split()[0] == "1" for line in lines[4:])


def test_a_name_that_no_file_system_takes_is_a_missing_image(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos.parent / "labels.csv").write_text(f"{'x' * 300}.png,cat\ncat/1.png,cat\n")
    flags = ["--dataset", "folder", "--root", str(photos), "--labels", str(photos.parent / "labels.csv")]
    assert main(["check-dataset", *flags]) == 1
    assert capsys.readouterr().out.splitlines()[-1].split() == ["1", "missing", "image"]


def test_limit_and_classes_choose_images(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["check-dataset", "--dataset", "folder", "--root", str(photos)]
    assert main([*flags, "--limit", "1"]) == 0
    assert main([*flags, "--classes", "cat"]) == 0
    assert capsys.readouterr().out == "1 image: no problems.\n2 images: no problems.\n"


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ((), "wsloc: Nothing to localize: give --dataset"),
        (("--dataset", "folder", "--root", "none"), "wsloc: The folder none does not exist"),
        (("--dataset", "cub", "--root", "none"), "wsloc: The folder none does not exist"),
        (("--dataset", "cub", "--boxes", "x.csv"), "wsloc: --boxes is only for --dataset folder"),
    ],
)
def test_status_2_and_one_sentence_for_a_users_error(
    flags: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check-dataset", *flags]) == 2
    said = capsys.readouterr().err
    assert said.startswith(sentence)
    assert said.count("\n") == 1


@pytest.mark.parametrize("flags", [("--class", "cat"), ("--targets", "top5")])
def test_what_to_look_for_is_no_matter_here(flags: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-dataset", *flags]) == 2
    assert f"Unrecognized options: {flags[0]}" in capsys.readouterr().err


def test_the_script_is_the_verb(photos: Path) -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, "--dataset", "folder", "--root", photos], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "3 images: no problems.\n")
    assert "3/3" in done.stderr
