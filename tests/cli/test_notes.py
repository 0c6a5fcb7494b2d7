from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsloc.cli import main


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
