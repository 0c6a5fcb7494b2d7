"""Maps on disk, as we and as wsolevaluation write them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from wsloc.cli.main import run_verb
from wsloc.cli.options import parse_localize
from wsloc.datasets import asked_classes, open_dataset
from wsloc.errors import ItemError, UserError
from wsloc.files.names import safe_path
from wsloc.files.part_archive import ArchiveReader
from wsloc.pipeline import localize_images, make_localizer
from wsloc.runs.map_store import SavedMaps
from wsloc.runs.read_run import read_run


def stored(run: Path) -> dict[str, NDArray[np.float32]]:
    """All entries of a run's archives, as np.load reads them."""
    entries: dict[str, NDArray[np.float32]] = {}
    for path in sorted((run / "maps").glob("*.npz")):
        with np.load(path) as archive:
            entries |= {name: archive[name] for name in archive.files if name != "index.jsonl"}
    return entries


def test_a_run_keeps_its_maps_as_they_are(tiny: Path, tiny_flags: list[str]) -> None:
    flags = [*tiny_flags, "--limit", "5", "--smoothing", "0.05"]
    assert run_verb("localize", [*flags, "--save-maps", "--checkpoint-every", "2", "--out", "run"]) == 0
    config = parse_localize(flags)
    dataset = open_dataset(config.data)
    assert sorted(path.name for path in (tiny / "run" / "maps").iterdir()) == [f"{part:06d}.npz" for part in range(3)]
    saved, by_item = stored(tiny / "run"), SavedMaps(tiny / "run" / "maps")
    count = 0
    for result in localize_images(make_localizer(config, asked_classes(config.data, dataset)), dataset.images):
        for item in result.items:
            own = saved[f"{result.image.image_id}/{item.class_name}"]
            assert item.trace is not None
            assert own.dtype == np.float32
            assert own.shape == (32, 32)  # of the network's input, whatever the cut works at
            assert np.array_equal(own, item.trace.raw_map)
            read = by_item.read(result.image.image_id, item.class_name)
            assert read is not None
            assert np.array_equal(read, own)
            row = by_item.rows[result.image.image_id][item.class_name]
            (found,) = item.localizations
            assert (row["probability"], row["rank"]) == (found.probability, found.rank)
            count += 1
    assert count == len(saved) == len(read_run(tiny / "run").localizations)
    assert json.loads((tiny / "run" / "manifest.json").read_text())["maps"] == {"kind": "float32", "exact": True}


def test_half_precision_keeps_small_maps_and_is_called_inexact(tiny: Path, tiny_flags: list[str]) -> None:
    flags = [*tiny_flags, "--limit", "3"]
    for kind in ("float32", "float16"):
        assert run_verb("localize", [*flags, "--save-maps", kind, "--out", kind]) == 0
    exact, half = (stored(tiny / kind)["00.png/red"] for kind in ("float32", "float16"))
    assert half.dtype == np.float16
    assert np.allclose(half, exact / exact.max(), atol=2**-11)
    assert json.loads((tiny / "float16" / "manifest.json").read_text())["maps"] == {"kind": "float16", "exact": False}


def test_the_contract_of_wsolevaluation(tiny: Path, tiny_flags: list[str]) -> None:
    (tiny / "labels.csv").write_text("00.png,red\n01.png,blue\n")
    assert run_verb("localize", [*tiny_flags, "--save-maps", "wsol", "--out", "run"]) == 0
    assert sorted(path.name for path in (tiny / "run" / "maps").iterdir()) == ["00.png.npy", "01.png.npy"]
    saved = np.load(tiny / "run" / "maps" / "00.png.npy")
    assert (saved.shape, saved.dtype, saved.min(), saved.max()) == ((224, 224), np.float32, 0.0, 1.0)
    assert SavedMaps(tiny / "run" / "maps").read("00.png", "red") is not None


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
    read = SavedMaps(tmp_path).read("a.jpg", "dog")
    assert read is not None
    assert read.dtype == np.float32
    assert np.array_equal(read, np.eye(3))
    assert SavedMaps(tmp_path).read("b.jpg", "dog") is None


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (np.zeros((2, 2, 3)), "no map of two dimensions"),
        (np.zeros((0, 2)), "no map of two dimensions"),
        (np.array([["a"]]), "no map of two dimensions"),
        (np.array([[np.inf, 0.0]]), "holds infinite values"),
        (np.array([[{}]], dtype=object), "is not a NumPy array"),
    ],
)
def test_what_is_no_map(tmp_path: Path, values: np.ndarray, sentence: str) -> None:
    np.save(tmp_path / "a.npy", values, allow_pickle=True)
    with pytest.raises(ItemError, match=sentence):
        SavedMaps(tmp_path)("a", "dog")


def test_a_truncated_file(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.eye(9))
    content = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(content[: len(content) // 2])
    with pytest.raises(ItemError, match="is not a NumPy array"):
        SavedMaps(tmp_path)("a", "dog")


@pytest.mark.parametrize("class_name", ["../../outside", "K" * 300])
def test_a_class_of_any_name_has_no_map_of_another_tool(tmp_path: Path, class_name: str) -> None:
    np.save(tmp_path / "outside.npy", np.ones((2, 2)))
    (tmp_path / "maps" / "a").mkdir(parents=True)
    assert SavedMaps(tmp_path / "maps").read("a.jpg", class_name) is None


def test_an_infinite_value_is_told_by_the_cut_not_the_store(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[np.inf, 0.0]]))
    read = SavedMaps(tmp_path).read("a", "dog")
    assert read is not None
    assert np.isinf(read[0, 0])


def test_maps_whose_cut_fails_are_kept_too(tiny: Path, tiny_flags: list[str]) -> None:
    # Strict quantiles and few pixels: no map gives enough seeds.
    flags = [*tiny_flags, "--limit", "4", "--working-size", "32", "--foreground-quantile", "0.999"]
    for kind in ("float32", "float16"):
        assert run_verb("localize", [*flags, "--save-maps", kind, "--out", kind]) == 1
        contents = read_run(tiny / kind)
        assert (len(contents.localizations), {failure.stage for failure in contents.failures}) == (0, {"cut"})
        items = {f"{failure.image_id}/{failure.class_name}" for failure in contents.failures}
        assert len(items) == 7
        assert set(stored(tiny / kind)) == items
    # They can be cut by other settings.
    again = ["--maps", "float32", "--segmenter", "threshold", "--out", "again"]
    assert run_verb("localize", again) == 0
    assert len(read_run(tiny / "again").localizations) == 7


def test_an_image_that_cannot_be_read_has_no_map(tiny: Path, tiny_flags: list[str]) -> None:
    (tiny / "photos" / "01.png").write_bytes(b"no image")
    assert run_verb("localize", [*tiny_flags, "--limit", "3", "--save-maps", "--out", "run"]) == 1
    assert {name.partition("/")[0] for name in stored(tiny / "run")} == {"00.png", "02.png"}


def test_no_folder_of_maps_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no folder of maps"):
        SavedMaps(tmp_path / "maps")


def test_a_damaged_archive_is_a_sentence(tiny: Path, tiny_flags: list[str]) -> None:
    assert run_verb("localize", [*tiny_flags, "--limit", "2", "--save-maps", "--out", "run"]) == 0
    path = tiny / "run" / "maps" / "000000.npz"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UserError, match=r"000000\.npz is damaged"):
        ArchiveReader(tiny / "run" / "maps")


@pytest.mark.parametrize("name", ["犬" * 300, "a/" * 3 + "x" * 300, "..", "a b&c", "con/.."])
def test_file_names_that_every_system_takes(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"{safe_path(name)}.npy"
    assert path.resolve().is_relative_to(tmp_path.resolve())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    assert safe_path(name) != safe_path(name + "x")
