from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsloc.cli import main
from wsloc.cli.notes import LOG, log_into, noted
from wsloc.errors import UserError
from wsloc.runs.run_folder import RunFolder


def test_what_the_reader_notes_is_counted_and_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    for number, largest in enumerate((4095, 4000, 65535, 900)):
        pixels = np.full((16, 16), largest - number, dtype=np.uint16)
        Image.fromarray(pixels).save(tmp_path / "photos" / "cat" / f"{number}.png")
    assert main(["check-dataset", "--dataset", "folder", "--root", "photos"]) == 0
    said = capsys.readouterr().err
    assert "wsloc: photos/cat/0.png and 1 more: 16-bit pixels of 12-bit values, scaled as such.\n" in said
    assert "wsloc: photos/cat/3.png: 16-bit pixels of 10-bit values, scaled as such.\n" in said
    assert said.count("scaled as such") == 2


@pytest.mark.parametrize("workers", ["0", "2"])
def test_what_pillow_warns_of_is_said_with_the_image(
    tiny: Path, tiny_flags: list[str], capsys: pytest.CaptureFixture[str], workers: str
) -> None:
    """EXIF whose only entry leads behind its end."""
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + b"\x0f\x01\x02\0\xff\0\0\0\xff\xff\0\0"
    for number in (3, 5):
        with Image.open(tiny / "photos" / f"{number:02d}.png") as image:
            image.save(tiny / "photos" / f"{number:02d}.png", "JPEG", exif=exif)
    assert main(["localize", *tiny_flags, "--workers", workers, "--limit", "8", "--out", "run"]) == 0
    said = capsys.readouterr().err
    assert "UserWarning" not in said
    assert "\nwsloc: photos/03.png and 1 more: " in said


def test_other_warnings_are_shown_as_usual() -> None:
    with pytest.warns(UserWarning, match="something else"), noted([]):
        warnings.warn("something else", stacklevel=1)


@pytest.mark.parametrize("level", ["info", "debug"])
def test_the_log_of_a_run_holds_command_notes_and_end_with_their_times(
    tiny: Path, tiny_flags: list[str], capsys: pytest.CaptureFixture[str], level: str
) -> None:
    Image.fromarray(np.full((16, 16), 4095, dtype=np.uint16)).save(tiny / "photos" / "03.png")
    (tiny / "photos" / "05.png").write_bytes(b"no picture")
    flags = [*tiny_flags, "--limit", "8", "--out", "run", "--checkpoint-every", "4", "--workers", "0"]
    assert main(["localize", *flags, "--log-level", level]) == 1
    said = capsys.readouterr().err
    stamped = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (\w+) ([\w.]+): (.*)"
    lines = [re.fullmatch(stamped, line) for line in (tiny / "run" / "log.txt").read_text().splitlines()]
    logged = [line.groups() for line in lines if line is not None]
    assert len(logged) == len(lines)
    assert logged[0][2].startswith("wsloc localize --dataset folder")
    assert ("INFO", "wsloc.deep_pixels", "photos/03.png: 16-bit pixels of 12-bit values, scaled as such") in logged
    assert logged[-1] == ("INFO", "wsloc.cli.notes", "done")
    details = [text for kind, _, text in logged if kind == "DEBUG"]
    assert details == (["part 0: 4 images, 0 failures", "part 1: 4 images, 3 failures"] if level == "debug" else [])
    assert "wsloc: photos/03.png: 16-bit pixels" in said
    assert "done" not in said
    assert "log_level" not in (tiny / "run" / "config.yaml").read_text()


@pytest.mark.usefixtures("tiny")
def test_the_log_of_a_run_tells_what_stopped_it_and_goes_on_when_it_resumes(
    tiny_flags: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ["localize", *tiny_flags, "--limit", "4", "--out", "run", "--workers", "0"]

    def full(*_: object) -> None:
        raise UserError("The disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "write_part", full)
        assert main(flags) == 2
    assert Path("run/log.txt").read_text().endswith("ERROR wsloc.cli.notes: ended by UserError (The disk is full)\n")
    assert main([*flags, "--resume"]) == 0
    assert Path("run/log.txt").read_text().endswith("INFO wsloc.cli.notes: done\n")
    assert Path("run/log.txt").read_text().count("version") == 2
    assert capsys.readouterr().err.count("The disk is full") == 1


def test_a_log_on_a_full_disk_leaves_no_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    full = tmp_path / "full" / LOG
    full.parent.mkdir()
    full.symlink_to("/dev/full")
    with noted(["wsloc"]):
        log_into(full.parent)
    assert capsys.readouterr().err == ""
    with (
        noted(["wsloc"]),
        pytest.raises(UserError, match=r"log\.txt cannot be written: No such file or directory; make"),
    ):
        log_into(tmp_path / "missing")


def test_truncated_images_can_be_accepted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "photos" / "cat" / "a.jpg"
    path.parent.mkdir(parents=True)
    Image.new("RGB", (64, 64), "red").save(path)
    path.write_bytes(path.read_bytes()[:-2])
    flags = ["check-dataset", "--dataset", "folder", "--root", "photos"]
    assert main(flags) == 1
    assert "photos/cat/a.jpg: cannot be decoded: image file is truncated" in capsys.readouterr().out
    assert main([*flags, "--truncated-images", "accept"]) == 0
    assert "wsloc: photos/cat/a.jpg: ends too early, and is gray where it does.\n" in capsys.readouterr().err
