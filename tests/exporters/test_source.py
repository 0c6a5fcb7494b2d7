"""Where a run's images are."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from made_run import write_photos

from wsloc.config import DataSettings
from wsloc.errors import UserError
from wsloc.exporters.formats import Format
from wsloc.exporters.source import Source, open_source
from wsloc.registries import FORMATS


def test_every_name_has_a_format() -> None:
    assert set(FORMATS) == {"coco", "voc", "yolo", "imagefolder", "label-studio", "cvat"}
    assert all(isinstance(FORMATS[name], Format) for name in FORMATS)


def test_coco_brings_its_own_numbers(shared: Path) -> None:
    source = open_source(DataSettings(dataset="coco", root=shared / "coco", limit=1))
    assert source.root == shared / "coco"
    assert source.category_ids is not None
    assert dict(zip(source.class_names, source.category_ids, strict=True))["toothbrush"] == 90


def test_a_run_over_some_images_keeps_all_classes(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        write_photos(tmp_path / "photos" / name)
    (tmp_path / "ids.txt").write_text("gone.jpg\n")
    settings = DataSettings(dataset="folder", root=tmp_path / "photos", ids=tmp_path / "ids.txt", classes=("cat",))
    assert open_source(settings) == Source(tmp_path / "photos", ("cat", "dog"))


def test_a_data_set_that_moved(tmp_path: Path) -> None:
    write_photos(tmp_path / "old" / "cat")
    settings = DataSettings(dataset="folder", root=tmp_path / "old")
    (tmp_path / "old").rename(tmp_path / "new")
    with pytest.raises(UserError, match="does not exist; `root` names"):
        open_source(settings)
    assert open_source(settings, tmp_path / "new").root == tmp_path / "new"


def test_a_run_that_wrote_it_down_needs_no_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = {"data": {"root": str(tmp_path), "class_names": ["dog", "cat"], "category_ids": [18, 17]}}
    settings = DataSettings(dataset="coco", root=tmp_path / "gone")

    def fail(_settings: DataSettings) -> None:
        raise AssertionError("the data set was opened")

    monkeypatch.setattr("wsloc.exporters.source.open_images", fail)
    assert open_source(settings, manifest=manifest) == Source(tmp_path, ("dog", "cat"), (18, 17))
    manifest["data"]["category_ids"] = None  # type: ignore[assignment]
    assert open_source(settings, manifest=manifest) == Source(tmp_path, ("dog", "cat"))


def test_a_data_set_that_moved_keeps_the_classes_of_the_run(tmp_path: Path) -> None:
    write_photos(tmp_path / "new" / "cat")
    manifest = {"data": {"root": str(tmp_path / "old"), "class_names": ["dog", "cat"], "category_ids": None}}
    settings = DataSettings(dataset="folder", root=tmp_path / "old")
    assert open_source(settings, tmp_path / "new", manifest) == Source(tmp_path / "new", ("dog", "cat"))
    with pytest.raises(UserError, match="does not exist; `root` names"):
        open_source(settings, None, manifest)


@pytest.mark.parametrize(
    "data",
    [
        None, [], {}, {"root": "."}, {"root": 1, "class_names": ["dog"]}, {"root": ".", "class_names": [1]},
        {"root": ".", "class_names": ["dog"], "category_ids": [1, 2]},
        {"root": ".", "class_names": ["dog"], "category_ids": ["1"]},
        {"root": ".", "class_names": ["dog"], "category_ids": 1},
    ],
)  # fmt: skip
def test_a_run_that_did_not_write_it_down(data: Any, tmp_path: Path) -> None:
    write_photos(tmp_path / "photos" / "cat")
    settings = DataSettings(dataset="folder", root=tmp_path / "photos")
    assert open_source(settings, manifest={"data": data}) == Source(tmp_path / "photos", ("cat",))


def test_a_glob_that_moved(tmp_path: Path) -> None:
    write_photos(tmp_path / "old")
    settings = DataSettings(images=str(tmp_path / "old" / "**" / "*.jpg"), class_name="cat")
    assert open_source(settings) == Source(tmp_path / "old")
    (tmp_path / "old").rename(tmp_path / "new")
    with pytest.raises(UserError, match="matches no image"):
        open_source(settings)
    assert open_source(settings, tmp_path / "new") == Source(tmp_path / "new")
    with pytest.raises(UserError, match="`root` names the one that holds the images"):
        open_source(settings, tmp_path / "nowhere")


def test_nothing_of_the_truth_is_opened(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos" / "cat")
    settings = DataSettings(dataset="folder", root=tmp_path / "photos")
    settings = dataclasses.replace(settings, boxes=tmp_path / "gone.csv", masks=tmp_path / "gone")
    assert open_source(settings).class_names == ("cat",)
