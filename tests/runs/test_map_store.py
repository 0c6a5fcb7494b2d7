"""Maps on disk, as we and as wsolevaluation write them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from wsloc.runs.saved_maps import read_map

from wsloc.cli.main import run_verb
from wsloc.cli.options import parse_localize
from wsloc.datasets import open_dataset
from wsloc.errors import ItemError
from wsloc.files.names import safe_path
from wsloc.pipeline import localize, make_localizer
from wsloc.runs.read_run import read_run


def test_a_run_keeps_its_maps_as_they_are(tiny: Path, tiny_flags: list[str]) -> None:
    flags = [*tiny_flags, "--limit", "5", "--smoothing", "0.05"]
    assert run_verb("localize", [*flags, "--save-maps", "--out", "run"]) == 0
    config = parse_localize(flags)
    dataset = open_dataset(config.data)
    count = 0
    for result in localize(make_localizer(config, dataset), dataset.images):
        for item in result.items:
            saved = np.load(tiny / "run" / "maps" / result.image.image_id / f"{item.class_name}.npy")
            assert item.trace is not None
            assert saved.dtype == np.float32
            assert saved.shape == (32, 32)  # of the network's input, whatever the cut works at
            assert np.array_equal(saved, item.trace.raw_map)
            read = read_map(tiny / "run" / "maps", result.image.image_id, item.class_name)
            assert read is not None
            assert np.array_equal(read, saved)
            count += 1
    assert count == len(list((tiny / "run" / "maps").rglob("*.npy"))) == len(read_run(tiny / "run").localizations)
    assert json.loads((tiny / "run" / "manifest.json").read_text())["maps"] == {"kind": "float32", "exact": True}


def test_half_precision_keeps_small_maps_and_is_called_inexact(tiny: Path, tiny_flags: list[str]) -> None:
    flags = [*tiny_flags, "--limit", "3"]
    for kind in ("float32", "float16"):
        assert run_verb("localize", [*flags, "--save-maps", kind, "--out", kind]) == 0
    exact = np.load(tiny / "float32" / "maps" / "00.png" / "red.npy")
    half = np.load(tiny / "float16" / "maps" / "00.png" / "red.npy")
    assert half.dtype == np.float16
    assert np.allclose(half, exact / exact.max(), atol=2**-11)
    assert json.loads((tiny / "float16" / "manifest.json").read_text())["maps"] == {"kind": "float16", "exact": False}


def test_the_contract_of_wsolevaluation(tiny: Path, tiny_flags: list[str]) -> None:
    (tiny / "labels.csv").write_text("00.png,red\n01.png,blue\n")
    assert run_verb("localize", [*tiny_flags, "--save-maps", "wsol", "--out", "run"]) == 0
    assert sorted(path.name for path in (tiny / "run" / "maps").iterdir()) == ["00.png.npy", "01.png.npy"]
    saved = np.load(tiny / "run" / "maps" / "00.png.npy")
    assert (saved.shape, saved.dtype, saved.min(), saved.max()) == ((224, 224), np.float32, 0.0, 1.0)
    assert read_map(tiny / "run" / "maps", "00.png", "red") is not None


def test_that_contract_holds_one_label_an_image(
    tiny: Path, tiny_flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_verb("localize", [*tiny_flags, "--save-maps", "wsol", "--out", "run"]) == 2
    assert "each image must have exactly one label" in capsys.readouterr().err
    assert not (tiny / "run").exists()


def test_a_run_keeps_no_maps_unless_asked(tiny: Path, tiny_flags: list[str]) -> None:
    assert run_verb("localize", [*tiny_flags, "--limit", "2", "--out", "run"]) == 0
    assert not (tiny / "run" / "maps").exists()


@pytest.mark.parametrize("name", ["a/dog.npy", "a.jpg/dog.npy", "a.npy", "a.jpg.npy"])
def test_maps_of_other_tools(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    np.save(tmp_path / name, np.eye(3, dtype=np.float64))
    read = read_map(tmp_path, "a.jpg", "dog")
    assert read is not None
    assert read.dtype == np.float32
    assert np.array_equal(read, np.eye(3))
    assert read_map(tmp_path, "b.jpg", "dog") is None


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (np.zeros((2, 2, 3)), "no map of two dimensions"),
        (np.zeros((0, 2)), "no map of two dimensions"),
        (np.array([["a"]]), "no map of two dimensions"),
        (np.array([[np.inf, 0.0]]), "holds infinite values"),
        (np.array([[{}]], dtype=object), "is no NumPy array"),
    ],
)
def test_what_is_no_map(tmp_path: Path, values: np.ndarray, sentence: str) -> None:
    np.save(tmp_path / "a.npy", values, allow_pickle=True)
    with pytest.raises(ItemError, match=sentence):
        read_map(tmp_path, "a", "dog")


def test_a_truncated_file(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.eye(9))
    content = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(content[: len(content) // 2])
    with pytest.raises(ItemError, match="is no NumPy array"):
        read_map(tmp_path, "a", "dog")


@pytest.mark.parametrize("class_name", ["../../outside", "K" * 300])
def test_a_class_of_any_name_has_no_map_of_another_tool(tmp_path: Path, class_name: str) -> None:
    np.save(tmp_path / "outside.npy", np.ones((2, 2)))
    (tmp_path / "maps" / "a").mkdir(parents=True)
    assert read_map(tmp_path / "maps", "a.jpg", class_name) is None


@pytest.mark.parametrize("name", ["犬" * 300, "a/" * 3 + "x" * 300, "..", "a b&c", "con/.."])
def test_file_names_that_every_system_takes(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"{safe_path(name)}.npy"
    assert path.resolve().is_relative_to(tmp_path.resolve())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    assert safe_path(name) != safe_path(name + "x")
