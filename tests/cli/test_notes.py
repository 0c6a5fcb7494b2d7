from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsloc.cli import main
from wsloc.cli.notes import counted_notes


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
    with pytest.warns(UserWarning, match="something else"), counted_notes():
        warnings.warn("something else", stacklevel=1)


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
