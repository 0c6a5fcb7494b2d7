"""``wsloc localize --maps RUN``: the maps of a run are cut again, without its network."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from wsloc.cli.main import run_verb
from wsloc.cli.options import parse_localize
from wsloc.config import OutputSettings
from wsloc.pipeline.model import Model

LABEL_MAP = ["--label-map", "map.yaml"]
RECORDS = ("localizations.jsonl", "failures.jsonl")


def same_records(first: Path, second: Path) -> bool:
    return all((first / name).read_bytes() == (second / name).read_bytes() for name in RECORDS)


@pytest.fixture
def run(tiny: Path, tiny_flags: list[str]) -> Path:
    """A run that kept its maps: two parts, an image that cannot be read and a class without an output."""
    (tiny / "photos" / "01.png").write_bytes(b"no image")
    (tiny / "labels.csv").write_text((tiny / "labels.csv").read_text() + "03.png,unicorn\n")
    lines = ["classes:", "  red: 0", "  green: 1", "  blue: 2", "  unicorn: {relation: none, note: too rare}"]
    (tiny / "map.yaml").write_text("\n".join(lines) + "\n")
    flags = [*tiny_flags, *LABEL_MAP, "--limit", "10", "--views", "mirror", "--checkpoint-every", "6", "--seed", "3"]
    assert run_verb("localize", [*flags, "--save-maps", "--out", "run", "--overlays", "2"]) == 1
    return tiny / "run"


@pytest.mark.usefixtures("run")
@pytest.mark.parametrize(
    "cut",
    [
        [],
        ["--segmenter", "threshold"],
        ["--segmenter", "grabcut-torch"],
        ["--segmenter", "graphcut-2013", "--components", "2"],
        ["--foreground-quantile", "0.9", "--working-size", "64"],
    ],
)
def test_a_cut_of_kept_maps_equals_the_run_that_asked_the_network(
    tiny: Path, tiny_flags: list[str], cut: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = [
        *tiny_flags[:-2],
        *LABEL_MAP,
        "--limit",
        "10",
        "--views",
        "mirror",
        "--checkpoint-every",
        "6",
        "--seed",
        "3",
    ]
    size = [] if "--working-size" in cut else ["--working-size", "48"]
    assert run_verb("localize", [*flags, *size, *cut, "--out", "asked"]) == 1
    monkeypatch.setattr(Model, "bound", property(lambda _self: pytest.fail("a cut loads no network")))
    assert run_verb("localize", ["--maps", "run", *cut, "--out", "again"]) == 1
    assert same_records(tiny / "asked", tiny / "again")
    assert "for class 'unicorn': too rare." in (tiny / "again" / "failures.jsonl").read_text()
    manifests = [json.loads((tiny / name / "manifest.json").read_text()) for name in ("asked", "again")]
    for key in ("network", "network_sha256", "device", "dataset_fingerprint", "without_substitute", "counts"):
        assert manifests[0][key] == manifests[1][key]
    assert not (tiny / "again" / "maps").exists()
    assert not (tiny / "again" / "overlays").exists()


@pytest.mark.parametrize(("targets", "views"), [("top2", "whole"), ("top1", "ten-crop")])
def test_the_classifiers_best_classes_come_from_the_store(
    tiny: Path, tiny_flags: list[str], targets: str, views: str
) -> None:
    flags = [*tiny_flags, "--limit", "8", "--targets", targets, "--views", views]
    assert run_verb("localize", [*flags, "--segmenter", "threshold", "--out", "asked"]) in (0, 1)
    assert run_verb("localize", [*flags, "--save-maps", "--out", "run"]) in (0, 1)
    assert run_verb("localize", ["--maps", "run", "--segmenter", "threshold", "--out", "again"]) in (0, 1)
    assert same_records(tiny / "asked", tiny / "again")


def test_the_settings_of_the_run_are_the_defaults(run: Path) -> None:
    own = parse_localize(["--config", str(run / "config.yaml")])
    config = parse_localize(["--maps", str(run), "--segmenter", "threshold"])
    assert (config.classifier, config.data, config.compute) == (own.classifier, own.data, own.compute)
    assert config.saliency.maps == run
    assert config.output == OutputSettings()
    assert config.segmentation.segmenter == "threshold"
    assert config.segmentation.working_size == 48
    assert parse_localize(["--maps", str(run), "--limit", "4"]).data.limit == 4
    # What equals the run's own may be given.
    assert parse_localize(["--maps", str(run), "--views", "mirror", "--arch", "tinynet:make"]).saliency.maps == run


@pytest.mark.usefixtures("run")
@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--method", "cam"], "run computed its maps with method gradient; leave out --method."),
        (["--views", "whole"], "run computed its maps with views mirror; leave out --views."),
        (["--arch", "resnet50"], "run computed its maps with arch tinynet:make; leave out --arch."),
        (["--targets", "top1"], "run computed its maps with targets labels; leave out --targets."),
        (["--refiner", "mine:KIND"], "--maps and --refiner exclude each other"),
    ],
)
def test_maps_cannot_follow_another_network(
    flags: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_verb("localize", ["--maps", "run", *flags, "--out", "again"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert sentence in line
    assert not Path("again").exists()


def test_what_kept_no_maps_is_a_sentence(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(run / "maps")
    for folder, sentence in {"run": "run kept no maps that can be cut", "photos": "photos"}.items():
        assert run_verb("localize", ["--maps", folder, "--out", "again"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert sentence in line
    assert not Path("again").exists()


def test_half_precision_moves_no_box_by_much(tiny: Path, run: Path) -> None:
    import numpy as np

    del run
    assert run_verb("localize", ["--maps", "run", "--save-maps", "float16", "--out", "half"]) == 1
    assert run_verb("localize", ["--maps", "half", "--segmenter", "threshold", "--out", "a"]) == 1
    assert run_verb("localize", ["--maps", "run", "--segmenter", "threshold", "--out", "b"]) == 1
    boxes = [
        np.array([json.loads(line)["box_xyxy"] for line in (tiny / name / RECORDS[0]).read_text().splitlines()])
        for name in ("a", "b")
    ]
    assert boxes[0].shape == boxes[1].shape
    assert (np.abs(boxes[0] - boxes[1]).max(axis=1) <= 3).mean() >= 0.9


def test_the_next_command_that_a_run_prints_works(
    tiny: Path, tiny_flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_verb("localize", [*tiny_flags, "--limit", "3", "--save-maps", "--overlays", "1", "--out", "run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "Overlays: run/overlays" in lines
    assert "  boxes for a detector  wsloc export run --format yolo" in lines
    (line,) = [line for line in lines if "another segmenter" in line]
    assert "wsloc localize --maps run --segmenter graphcut-2013" in line
    assert run_verb("localize", ["--maps", "run", "--segmenter", "graphcut-2013"]) in (0, 1)
    assert len(list((tiny / "runs").iterdir())) == 1


def test_a_cut_resumes(tiny: Path, run: Path, interrupted_at: Callable[[int], AbstractContextManager[None]]) -> None:
    cut = ["--maps", "run", "--segmenter", "threshold", "--checkpoint-every", "4"]
    assert run_verb("localize", [*cut, "--out", "whole"]) == 1
    with interrupted_at(1):
        assert run_verb("localize", [*cut, "--out", "again"]) == 130
    assert run_verb("localize", [*cut, "--out", "again", "--resume"]) == 1
    assert same_records(tiny / "whole", tiny / "again")
    # A report of it needs the run that kept the maps no longer.
    shutil.rmtree(run)
    assert run_verb("report", ["again"]) == 0
