"""The boxes of a run in FiftyOne; those in supervision and Hugging Face are in test_front_door and peers."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import wsloc
from wsloc.records import Failure, Localization
from wsloc.runs.record_lines import SCHEMA_VERSION, to_line

BOX: dict[str, Any] = {
    "probability": 0.25, "quality": 0.5, "area_fraction": 0.375, "method": "cam", "segmenter": "grabcut",
    "fallback": None, "component": 0, "size_wh": (80, 40),
}  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Two boxes on one image, 80 x 40 pixels; another image without a box."""
    folder = tmp_path / "run"
    folder.mkdir()
    (tmp_path / "photos").mkdir()
    boxes = [
        Localization("a", "a.jpg", "cat", (20, 10, 60, 40), **BOX),
        Localization("a", "a.jpg", "dog", (0, 0, 8, 4), **{**BOX, "quality": 0.75}),
    ]
    failure = Failure("b", "b.jpg", "cat", "cut", "the map is flat")
    (folder / "localizations.jsonl").write_text("".join(map(to_line, boxes)))
    (folder / "failures.jsonl").write_text(to_line(failure))
    (folder / "config.yaml").write_text(f"dataset: folder\nroot: {tmp_path / 'photos'}\n")
    data = {"root": str(tmp_path / "photos"), "class_names": ["cat", "dog"], "category_ids": None}
    manifest = {"schema_version": SCHEMA_VERSION, "complete": True, "data": data}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def check(samples: Any, photos: Path) -> None:
    boxed, failed = samples
    assert boxed.filepath == str(photos / "a.jpg")
    cat, dog = boxed.boxes.detections
    assert (cat.label, cat.bounding_box, cat.confidence, cat.probability) == ("cat", [0.25, 0.25, 0.5, 0.75], 0.5, 0.25)
    assert (dog.label, dog.bounding_box, dog.confidence) == ("dog", [0, 0, 0.1, 0.1], 0.75)
    assert (list(boxed.failures), list(failed.failures)) == ([], ["cat: the map is flat"])
    assert failed.boxes.detections == []


def test_what_fiftyone_is_given(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Dataset:
        def __init__(self, name: str | None, persistent: bool) -> None:
            self.name, self.persistent, self.samples = name, persistent, []  # type: ignore[var-annotated]

        def add_samples(self, samples: Any) -> None:
            self.samples += samples

    stand_in: Any = ModuleType("fiftyone")
    stand_in.Dataset = Dataset
    stand_in.Sample = stand_in.Detections = stand_in.Detection = SimpleNamespace
    monkeypatch.setitem(sys.modules, "fiftyone", stand_in)
    made: Any = wsloc.to_fiftyone(run)
    check(made.samples, run.parent / "photos")
    assert (made.name, made.persistent) == (None, False)
    assert wsloc.to_fiftyone(run, "kept").persistent


def test_fiftyone_itself(run: Path) -> None:
    pytest.importorskip("fiftyone", reason="fiftyone, which brings a database, is not installed")
    dataset = wsloc.to_fiftyone(run)
    check(list(dataset), run.parent / "photos")
    dataset.delete()


def test_without_fiftyone(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fiftyone", None)
    with pytest.raises(wsloc.UserError, match=r"pip install 'wsloc\[fiftyone\]'"):
        wsloc.to_fiftyone(run)


def test_the_progress_bar_passes_items_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(wsloc.progress_bar(iter("abc"), "letters", "letter", 3)) == ["a", "b", "c"]
    assert "letters: 100%" in capsys.readouterr().err
