"""Run folders of version 0.1.0: read by every verb, finished or not, and never resumed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from wsloc.cli.main import run_verb
from wsloc.records import Detection, Failure, Localization
from wsloc.runs.read_run import read_run

BOX: dict[str, Any] = {
    "image_id": "0.png", "file": "0.png", "class_name": "cat", "box_xyxy": [0.0, 0.0, 20.0, 30.0], "probability": 0.5,
    "quality": 0.25, "area_share": 0.5, "method": "gradient", "segmenter": "grabcut", "fallback": None,
    "component": 0, "size_wh": [40, 30], "rank": 1, "mask_rle": {"size": [2, 2], "counts": "02N"},
}  # fmt: skip
DETECTED = {**BOX, "method": "detector", "segmenter": "none", "probability": 0.75, "quality": 0.75, "mask_rle": None}
FAILURE = {"image_id": "1.png", "file": "1.png", "class_name": "cat", "stage": "cut", "reason": "the map is flat"}
CONFIG = (
    "dataset: folder\nroot: photos\nlabels: labels.csv\nboxes: boxes.csv\narch: demo\nmethod: gradient\n"
    "rise_share: 0.5\ncomponent_area_share: 0.01\n"
)


def write(run: str, boxes: list[dict[str, Any]], **manifest: Any) -> None:
    """A run folder as 0.1.0 left it; with ``complete=False`` one that was killed after its first part."""
    manifest = {"schema_version": 1, "complete": True, **manifest}
    Path(run, "parts").mkdir(parents=True)
    Path(run, "config.yaml").write_text(CONFIG)
    Path(run, "manifest.json").write_text(json.dumps(manifest))
    lines = [json.dumps(line) + "\n" for line in (*boxes, FAILURE)]
    if manifest["complete"]:
        Path(run, "localizations.jsonl").write_text("".join(lines[:-1]))
        Path(run, "failures.jsonl").write_text(lines[-1])
    else:
        Path(run, "parts", "000000.jsonl").write_text("".join(lines))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for number in range(2):
        Image.new("RGB", (40, 30), (200, 10, 10)).save(f"photos/{number}.png")
    Path("labels.csv").write_text("image,label\n0.png,cat\n1.png,cat\n")
    Path("boxes.csv").write_text("image,class,x0,y0,x1,y1\n0.png,cat,0,0,20,30\n1.png,cat,0,0,20,30\n")
    write("finished", [BOX])
    write("killed", [BOX], complete=False)
    write("detector", [DETECTED, {**DETECTED, "component": 1}], kind="detector")
    write("round", [DETECTED, {**BOX, "image_id": "2.png"}], kind="self-training-round")


def test_the_records() -> None:
    box = Localization(
        "0.png", "0.png", "cat", (0, 0, 20, 30), 0.5, 0.25, 0.5, "gradient", "grabcut", None, 0, (40, 30), 1,
        {"size": [2, 2], "counts": "02N"},
    )  # fmt: skip
    detected = Detection("0.png", "0.png", "cat", (0, 0, 20, 30), 0.75, 0.5, "detector", 0, (40, 30), 1)
    for run in ("finished", "killed"):
        contents = read_run(Path(run))
        assert contents.localizations == (box,)
        assert contents.failures == (Failure(**FAILURE),)
        assert contents.complete == (run == "finished")
    first, second = read_run(Path("detector")).localizations
    assert (first, second.index) == (detected, 1)
    assert [type(record) for record in read_run(Path("round")).localizations] == [Detection, Localization]


@pytest.mark.parametrize("run", ["finished", "killed", "detector", "round"])
def test_every_verb_reads_them(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_verb("evaluate", [run]) == 0
    out = capsys.readouterr().out
    # One of two items has a box, which fits.
    assert out.split("CorLoc class-wise")[1].split()[0] == "50.0"
    assert run_verb("report", [run, "--gallery", "0"]) == 0
    assert run_verb("compare-runs", ["finished", run]) == 0
    assert run_verb("export", [run, "--format", "coco"]) == 0
    annotations = json.loads(Path(run, "exports/coco/annotations/instances_train2017.json").read_text())["annotations"]
    assert {tuple(one["bbox"]) for one in annotations} == {(0, 0, 20, 30)}


def test_they_are_not_resumed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_verb("localize", ["--config", "killed/config.yaml", "--out", "killed", "--resume"]) == 2
    assert "killed is of another version of wsloc, and only that can resume it" in capsys.readouterr().err
