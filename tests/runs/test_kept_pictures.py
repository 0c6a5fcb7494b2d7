"""Which items of a run get pictures."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from wsloc.cli.main import run_verb
from wsloc.files.part_archive import ArchiveWriter
from wsloc.pipeline.results import ImageResult, ItemResult, Trace
from wsloc.records import ImageRecord
from wsloc.runs.kept_pictures import MAX_ITEMS, PICTURES, add_pictures, choose_pictured, read_pictures
from wsloc.runs.read_run import read_run


def images_of(*labels: tuple[str, ...]) -> list[ImageRecord]:
    return [ImageRecord(f"{n:04d}", f"{n}.png", Path(f"{n}.png"), own) for n, own in enumerate(labels)]


def test_all_items_of_a_small_run() -> None:
    images = images_of(("cat", "dog"), ("cat",), ())
    assert choose_pictured(images) == {("0000", "cat"), ("0000", "dog"), ("0001", "cat"), ("0002", "")}


def test_classes_share_the_places_and_a_rare_class_gets_all_of_its_own() -> None:
    images = images_of(*[("cat",)] * 1000, *[("dog", "cow")] * 300, *[("emu",)] * 3)
    chosen = choose_pictured(images)
    assert len(chosen) == MAX_ITEMS
    assert Counter(name for _, name in chosen) == {"emu": 3, "dog": 65, "cow": 66, "cat": 66}
    # Spread over the images, the first and the last included.
    cats = sorted(int(image_id) for image_id, name in chosen if name == "cat")
    assert (cats[0], cats[-1]) == (0, 999)
    assert np.diff(cats).max() <= 16
    assert chosen == choose_pictured(images)


@pytest.mark.parametrize("classes", [200, 201, 1000])
def test_more_classes_than_places(classes: int) -> None:
    images = images_of(*[(f"class {n % classes}",) for n in range(2 * classes)])
    chosen = choose_pictured(images)
    assert len(chosen) == MAX_ITEMS
    assert max(Counter(name for _, name in chosen).values()) == 1


def test_no_image() -> None:
    assert choose_pictured([]) == frozenset()


def traced(name: str) -> ItemResult:
    grid = np.linspace(0, 1, 400, dtype=np.float32).reshape(20, 20)
    image = np.zeros((20, 20, 3), dtype=np.uint8)
    return ItemResult(name, trace=Trace(image, grid, grid, (grid > 0.5).astype(np.uint8), grid > 0.5))


def test_of_an_image_without_labels_the_best_class_is_shown(tmp_path: Path) -> None:
    image = ImageRecord("a", "a.png", Path("a.png"))
    result = ImageResult(image, (traced("cow"), traced("cat")))
    with ArchiveWriter(tmp_path / PICTURES, 0) as part:
        add_pictures(part, result, choose_pictured([image]))
    assert set(read_pictures(tmp_path)) == {("a", "cow")}


def test_names_that_no_file_could_have(tmp_path: Path) -> None:
    names = ["a/../b", "猫", "x" * 300, 'a "b"']
    images = images_of(*[(name,) for name in names])
    with ArchiveWriter(tmp_path / PICTURES, 0) as part:
        for image in images:
            add_pictures(part, ImageResult(image, (traced(image.labels[0]),)), choose_pictured(images))
    assert set(read_pictures(tmp_path)) == {(image.image_id, image.labels[0]) for image in images}


def test_a_run_keeps_them_in_its_parts(tiny: Path, tiny_flags: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsloc.runs.kept_pictures.choose_pictured.__defaults__", (9,))
    flags = [*tiny_flags, "--checkpoint-every", "15", "--limit", "30"]
    for name, workers in {"a": "0", "b": "2"}.items():
        assert run_verb("localize", [*flags, "--workers", workers, "--out", name]) == 0
    parts = sorted(path.name for path in (tiny / "a" / PICTURES).iterdir())
    assert parts == ["000000.npz", "000001.npz"]
    assert all(
        (tiny / "a" / PICTURES / name).read_bytes() == (tiny / "b" / PICTURES / name).read_bytes() for name in parts
    )
    kept = read_pictures(tiny / "a")
    assert Counter(name for _, name in kept) == {"red": 3, "green": 3, "blue": 3}
    assert set(kept) <= {(record.image_id, record.class_name) for record in read_run(tiny / "a").localizations}
