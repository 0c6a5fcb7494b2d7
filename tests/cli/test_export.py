"""``wsloc export`` as a user types it."""

from __future__ import annotations

import dataclasses
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from wsloc.cli.export import ExportConfig
from wsloc.cli.main import run_verb
from wsloc.exporters.export_settings import LayoutSettings, SelectionSettings

FORMATS = ("coco", "voc", "yolo", "imagefolder", "label-studio", "cvat")


@pytest.fixture
def run(tiny: Path, tiny_flags: list[str], capsys: pytest.CaptureFixture[str]) -> Path:
    """A run over twelve images, with several boxes of a class on some."""
    flags = [*tiny_flags, "--limit", "12", "--components", "all", "--component-area-fraction", "0.001"]
    assert run_verb("localize", [*flags, "--out", "run"]) == 0
    capsys.readouterr()
    return tiny / "run"


def test_all_formats_and_what_to_type_next(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = {
        "coco": ("CocoDetection(", "register_coco_instances('wsloc_train', {}, "),
        "voc": ("VOCDetection('run/exports/voc', year='2012', image_set='train')", "register_pascal_voc("),
        "yolo": (f"yolo train data={run}/exports/yolo/data.yaml model=",),
        "imagefolder": ("datasets.load_dataset('imagefolder', data_dir='run/exports/imagefolder')",),
        "label-studio": ("label-studio start", "interface.xml"),
        "cvat": ("instances_default.json as COCO 1.0",),
    }
    count = len((run / "localizations.jsonl").read_text().splitlines())
    assert count > json.loads((run / "manifest.json").read_text())["counts"]["items"]
    for name in FORMATS:
        assert run_verb("export", ["run", "--format", name]) == 0
        out = capsys.readouterr().out
        assert f"{count} boxes on 12 images (12 train)" in out
        assert f"Export: run/exports/{name}" in out
        assert all(part in out for part in expected[name])
        manifest = json.loads((run / "exports" / name / "export.json").read_text())
        assert (manifest["format"], manifest["counts"]["boxes"]) == (name, count)


@pytest.mark.usefixtures("run")
def test_torchvisions_script_gets_what_it_wants(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_verb("export", "run --format coco --out out --val-fraction 0.3".split()) == 0
    out = capsys.readouterr().out
    assert f"--data-path {Path('out').absolute()}" in out
    for split in ("train2017", "val2017"):
        assert any(Path("out", split).iterdir())
        assert Path("out", "annotations", f"instances_{split}.json").is_file()


def test_with_the_main_job(tiny: Path, tiny_flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_verb("localize", [*tiny_flags, "--limit", "4", "--out", "run", "--export", "yolo"]) == 0
    assert "yolo train data=" in capsys.readouterr().out
    assert (tiny / "run" / "exports" / "yolo" / "data.yaml").is_file()
    assert "export:" not in (tiny / "run" / "config.yaml").read_text()


def test_what_was_left_out_is_said(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = json.loads((run / "localizations.jsonl").read_text().splitlines()[0])
    sure = {**first, "quality": 1.0}  # so that its image is surely one of those that are written
    (run / "localizations.jsonl").write_text(
        "\n".join([json.dumps(sure), *(run / "localizations.jsonl").read_text().splitlines()[1:]]) + "\n"
    )
    shutil.move(f"photos/{first['file']}", "elsewhere.png")
    words = (
        "run --format coco --out out --boxes-per-class 1 --top-fraction 0.5 --uncertain ignore --fallbacks drop".split()
    )
    assert run_verb("export", words) == 1
    out = capsys.readouterr().out
    assert "regions to ignore" in out
    assert "boxes beyond --boxes-per-class" in out
    assert "1 image missing, unreadable or of another size than in the run" in out
    assert Path("out", "problems.txt").read_text().startswith(f"{first['file']}: ")
    selection = json.loads(Path("out", "export.json").read_text())["selection"]
    assert (selection["top_fraction"], selection["uncertain"], selection["boxes_per_class"]) == (0.5, "ignore", 1)
    assert not (run / "exports").exists()


@pytest.mark.usefixtures("run")
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("nowhere --format coco", "nowhere is not a run folder"),
        ("photos --format coco", "photos is not a run folder"),
        ("run --format coco --out photos", "photos exists; give another --out"),
        ("run --format coco --out photos --overwrite", "is not the folder of an export"),
        ("run --format coco --out labels.csv --overwrite", "is not the folder of an export"),
        ("run --format coco --root nowhere", "The folder nowhere does not exist"),
        ("run --format coco --min-score 1", "is left to export"),
        ("run --format coco --min-score 2", "--min-score must be between 0 and 1"),
        ("run --format yolo --uncertain ignore", "has no regions to ignore"),
        ("run --format imagefolder --media none", "give --media copy or --media hardlink"),
    ],
)
def test_what_is_refused(words: str, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_verb("export", words.split()) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert sentence in said
    assert said.startswith("wsloc: ")


def test_the_run_says_where_its_images_are(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["data"] == {
        "root": str(Path("photos").absolute()),
        "class_names": ["blue", "green", "red"],
        "category_ids": None,
    }
    # What it says is what an opened data set says.
    assert run_verb("export", ["run", "--format", "coco"]) == 0
    del manifest["data"]
    (run / "manifest.json").write_text(json.dumps(manifest))
    assert run_verb("export", ["run", "--format", "coco", "--out", "opened"]) == 0
    for file in ("annotations/instances_train2017.json", "images.csv"):
        assert Path("opened", file).read_bytes() == (run / "exports" / "coco" / file).read_bytes()
    assert "12/12" in capsys.readouterr().err


def test_the_data_set_has_moved(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("photos").rename("moved")
    assert run_verb("export", ["run", "--format", "voc"]) == 2
    assert "--root names" in capsys.readouterr().err
    assert run_verb("export", ["run", "--format", "voc", "--root", "moved"]) == 0
    assert len(list((run / "exports/voc/VOCdevkit/VOC2012/JPEGImages").iterdir())) == 12


def test_the_pages_name_flags_that_exist() -> None:
    settings = (ExportConfig, SelectionSettings, LayoutSettings)
    known = {"--" + field.name.replace("_", "-") for one in settings for field in dataclasses.fields(one)}
    used: set[str] = set()
    for page in ("README.md", "docs/formats.md"):
        for line in (Path(__file__).parents[2] / page).read_text(encoding="utf-8").splitlines():
            if line.startswith("wsloc export "):
                used |= {word for word in shlex.split(line, comments=True) if word.startswith("--")}
    assert used <= known
    assert len(used) >= 6


def test_no_torch_is_loaded(run: Path) -> None:
    code = (
        "import sys; from wsloc.cli.main import run_verb; "
        f"status = run_verb('export', [{str(run)!r}, '--format', 'coco']); sys.exit(status or 'torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
