"""A refiner over the whole set, as a user's plug-in: two phases that resume, and nothing left of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from wsloc.cli.main import run_verb
from wsloc.cli.options import parse_localize
from wsloc.datasets import asked_classes, open_dataset
from wsloc.pipeline import Runner, make_localizer
from wsloc.pipeline.map_stage import ImageMaps
from wsloc.runs.read_run import read_run

SCRIPT = Path(__file__).parents[2] / "scripts" / "localize.py"
MODULE = '''
"""Multiplies each map with the mean map of its class, and with the mean of a layer's features over the set."""

import os
import signal
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from wsloc.errors import ItemError
from wsloc.pipeline.refine_stage import RefinerKind


def killed_here(where):
    if Path("die-in").exists() and Path("die-in").read_text() == where:
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass
class ClassMeans:
    learned: dict

    def __call__(self, image):
        with Path("refined.txt").open("a") as file:
            file.write("x")
        if len(Path("refined.txt").read_text()) > 10:
            killed_here("refine")
        if image.read.image.image_id == "05.png":
            raise ItemError("the refiner does not like it")
        scale = float(self.learned["features"].mean())
        maps = {name: (scale * values * self.learned[name]).astype(np.float32) for name, values in image.maps.items()}
        return replace(image, maps=maps)

    def save(self, path, metadata):
        save_file(self.learned, path, metadata)


def fit(stream, settings, seed):
    with Path("fits.txt").open("a") as file:
        file.write("x")
    # Any number of passes, each over the same items.
    images = [image.read.image.image_id for image in stream()]
    learned, counts = {}, {}
    for image in stream():
        assert image.read.working_rgb.dtype == np.uint8
        features = image.features["body.3"].astype(np.float32)
        learned["features"] = learned.get("features", 0) + features / len(images)
        for name, values in image.maps.items():
            learned[name] = learned.get(name, 0) + values
            counts[name] = counts.get(name, 0) + 1
    killed_here("fit")
    return ClassMeans({name: values / counts.get(name, 1) for name, values in learned.items()})


KIND = RefinerKind(fit, lambda path: ClassMeans(load_file(path)), lambda _scorer, _example: ("body.3",))
'''
DYING = """
    def forward(self, images):
        if Path("die-in").exists() and Path("die-in").read_text() == "maps":
            if Path("forward-passes.txt").exists() and len(Path("forward-passes.txt").read_text()) > 8:
                import os
                os.kill(os.getpid(), 9)
"""


def add_refiner(tiny: Path, unreadable: str) -> None:
    """A refiner that adds up features in order, a network that can be made to die, and an image that is none."""
    (tiny / "means.py").write_text(MODULE)
    tinynet = (tiny / "tinynet.py").read_text()
    (tiny / "tinynet.py").write_text(tinynet.replace("\n    def forward(self, images):\n", DYING))
    (tiny / "photos" / unreadable).write_bytes(b"no image")


@pytest.fixture
def flags(tiny: Path, tiny_flags: list[str]) -> list[str]:
    """A run over 20 images in parts of six; one cannot be read, and a class has no output."""
    add_refiner(tiny, unreadable="01.png")
    (tiny / "labels.csv").write_text((tiny / "labels.csv").read_text() + "03.png,unicorn\n")
    lines = ["classes:", "  red: 0", "  green: 1", "  blue: 2", "  unicorn: {relation: none, note: too rare}"]
    (tiny / "map.yaml").write_text("\n".join(lines) + "\n")
    return [*tiny_flags, "--label-map", "map.yaml", "--limit", "20", "--checkpoint-every", "6"]


WITH_REFINER = ["--refiner", "means:KIND"]


def contents(run: Path) -> dict[str, bytes]:
    names = ("config.yaml", "localizations.jsonl", "failures.jsonl", "refiner.safetensors")
    pictures = {path.name: path.read_bytes() for path in (run / "pictures").iterdir()}
    return {name: (run / name).read_bytes() for name in names} | pictures


def test_it_learns_from_all_maps_and_makes_better_ones(tiny: Path, flags: list[str]) -> None:
    assert run_verb("localize", [*flags, *WITH_REFINER, "--out", "run"]) == 1
    found = {(record.image_id, record.class_name): record for record in read_run(tiny / "run").localizations}
    # The same by hand.
    config = parse_localize(flags)
    dataset = open_dataset(config.data)
    localizer = make_localizer(config, asked_classes(config.data, dataset)).with_layers(("body.3",))
    maps = [one for one in localizer.compute_maps(dataset.images, Runner()) if isinstance(one, ImageMaps)]
    assert len(maps) == 19
    scale = float(np.mean([one.features["body.3"].astype(np.float32) for one in maps]))
    means = {
        name: np.mean([one.maps[name] for one in maps if name in one.maps], axis=0) for name in ("red", "green", "blue")
    }
    assert all(np.ptp(mean) > 0 for mean in means.values())
    refined = [
        replace(
            one, maps={name: (scale * values * means[name]).astype(np.float32) for name, values in one.maps.items()}
        )
        for one in maps
    ]
    items = 0
    for result in localizer.cut_maps(refined, Runner()):
        for item in result.items:
            if item.localizations and result.image.image_id != "05.png":
                expected, ours = item.localizations[0], found[result.image.image_id, item.class_name]
                assert np.abs(np.subtract(ours.box_xyxy, expected.box_xyxy)).max() <= 3
                assert (ours.probability, ours.rank) == (expected.probability, expected.rank)
                items += 1
    assert items == len(found) > 30


def test_what_has_no_map_fails_as_without_a_refiner(tiny: Path, flags: list[str]) -> None:
    assert run_verb("localize", [*flags, "--out", "plain"]) == 1
    assert run_verb("localize", [*flags, *WITH_REFINER, "--out", "run"]) == 1
    plain, refined = (
        {(failure.image_id, failure.class_name): failure for failure in read_run(tiny / name).failures}
        for name in ("plain", "run")
    )
    assert {stage.stage for stage in plain.values()} == {"read", "saliency"}
    assert plain.items() <= refined.items()
    others = [failure for key, failure in refined.items() if key not in plain]
    assert {(failure.image_id, failure.stage, failure.reason) for failure in others} == {
        ("05.png", "refine", "the refiner does not like it")
    }


def test_nothing_of_the_two_phases_is_left(tiny: Path, flags: list[str]) -> None:
    assert run_verb("localize", [*flags, *WITH_REFINER, "--out", "run"]) == 1
    assert not (tiny / "run" / "spool").exists()
    assert not (tiny / "run" / "maps").exists()
    assert not list((tiny / "run").rglob("*.tmp"))
    assert (tiny / "fits.txt").read_text() == "x"
    timing = json.loads((tiny / "run" / "manifest.json").read_text())["timing"]["stage_seconds"]
    assert {"refine", "cut"} <= set(timing)


def test_the_maps_that_are_kept_are_the_refined_ones(tiny: Path, flags: list[str]) -> None:
    assert run_verb("localize", [*flags, *WITH_REFINER, "--save-maps", "--out", "kept"]) == 1
    assert not (tiny / "kept" / "spool").exists()
    assert len(list((tiny / "kept" / "maps").iterdir())) == 4
    assert run_verb("localize", ["--maps", "kept", "--out", "again"]) == 1
    boxes = [(tiny / name / "localizations.jsonl").read_bytes() for name in ("kept", "again")]
    assert boxes[0] == boxes[1] != b""


@pytest.mark.parametrize("phase", ["maps", "fit", "refine"])
def test_killed_in_any_phase_it_resumes_to_the_same_bytes(tiny: Path, flags: list[str], phase: str) -> None:
    assert run_verb("localize", [*flags, *WITH_REFINER, "--out", "undisturbed"]) == 1
    undisturbed_passes = len((tiny / "forward-passes.txt").read_text())
    for name in ("forward-passes.txt", "fits.txt", "refined.txt"):
        (tiny / name).unlink()
    (tiny / "die-in").write_text(phase)
    killed = subprocess.run(
        [sys.executable, str(SCRIPT), *flags, *WITH_REFINER, "--out", "killed"],
        cwd=tiny, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    (tiny / "die-in").unlink()
    run = tiny / "killed"
    stored = len(list((run / "spool" / "maps").glob("*.npz")))
    assert stored == len(list((run / "spool" / "features").glob("*.npz")))
    assert (0 < stored < 4) if phase == "maps" else stored == 4
    assert (run / "refiner.safetensors").exists() == (phase == "refine")
    assert not json.loads((run / "manifest.json").read_text())["complete"]
    (tiny / "forward-passes.txt").unlink()

    assert run_verb("localize", [*flags, *WITH_REFINER, "--out", "killed", "--resume"]) == 1
    assert contents(run) == contents(tiny / "undisturbed")
    assert not (run / "spool").exists()
    assert not list(run.rglob("*.tmp"))
    passes = len((tiny / "forward-passes.txt").read_text())
    # What was stored is not computed again; passes of an example alone look at the network and its layers.
    assert passes < undisturbed_passes if phase == "maps" else passes <= 6
    assert (tiny / "fits.txt").read_text() == {"maps": "x", "fit": "xx", "refine": "x"}[phase]


def test_the_classifiers_best_classes_are_refined(tiny: Path, tiny_flags: list[str]) -> None:
    (tiny / "means.py").write_text(MODULE)
    flags = [*tiny_flags, "--limit", "5", "--targets", "top2"]
    assert run_verb("localize", [*flags, "--out", "plain"]) in (0, 1)
    assert run_verb("localize", [*flags, *WITH_REFINER, "--out", "run"]) in (0, 1)
    asked = [
        [(record.image_id, record.class_name, record.rank) for record in read_run(tiny / name).localizations]
        for name in ("plain", "run")
    ]
    assert asked[0] == asked[1]
    assert len(asked[0]) == 10


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--refiner", "means:NONE"], "has no refiner NONE"),
        (["--refiner", "nowhere:KIND"], "the module nowhere cannot be imported"),
        (["--refiner", "mean"], "There is no refiner 'mean'"),
        ([*WITH_REFINER, "--feature-layers", "body.99"], "body.99"),
    ],
)
def test_bad_settings_are_a_sentence(
    tiny: Path, flags: list[str], more: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run_verb("localize", [*flags, *more, "--out", "run"]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert "Traceback" not in said
    assert not (tiny / "run" / "maps" / "000000.npz").exists()
