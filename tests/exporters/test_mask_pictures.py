"""The masks of an export as pictures, and their way back as truth."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from made_run import CLASSES, record, scene_records, write_photo, write_photos, write_run
from PIL import Image

from wsloc.datasets.own_images import open_labeled_images
from wsloc.datasets.own_truth import mask_files, mask_place, read_folder_ground_truth
from wsloc.exporters.export_settings import LayoutSettings, Media
from wsloc.exporters.exporting import export_run
from wsloc.exporters.outlines import full_size, mask_of
from wsloc.exporters.source import Source
from wsloc.files.names import distinct_stem

ODD = (*CLASSES, "traffic light", "..", ".hidden", "50%", "ends.", "so long" * 100)


def test_mask_pictures(tmp_path: Path) -> None:
    source, run = write_photos(tmp_path / "photos"), write_run(tmp_path / "run", scene_records())
    layout = LayoutSettings(mask_pictures=True)
    export = export_run(run, source, "yolo", tmp_path / "out", layout=layout)
    assert len(list((export.path / "mask_pictures").rglob("*.png"))) == 5
    mask = np.asarray(Image.open(export.path / "mask_pictures" / "no" / f"{distinct_stem('a.jpg')}.jpg.png"))
    assert mask.shape == (40, 60)
    assert set(np.unique(mask)) == {0, 255}
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    # At 16 pixels a side the box (10, 5, 40, 30) reaches from (2, 2) to (11, 12).
    assert (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1) == (8, 5, 42, 30)
    assert not (export.path / "masks").exists()


@pytest.mark.parametrize("media", ["copy", "none"])
def test_they_come_back_as_truth(media: Media, tmp_path: Path) -> None:
    """Whatever the classes are called, and though images differ in folder or suffix alone, or have none."""
    source = Source(tmp_path / "photos", ODD)
    files = ["a.jpg", "a.png", "sub/a.png", "nosuffix", "other", "x.y.jpg", *(f"{place}.png" for place in range(4))]
    boxes = [(4 * place, 2 * place, 4 * place + 20, 2 * place + 20) for place in range(len(files))]
    for file, box in zip(files, boxes, strict=True):
        path = source.root / file
        write_photo(path.with_name(f"{path.name}.new.png"), (60, 40), box)
        path.with_name(f"{path.name}.new.png").rename(path)
    records = [record(file, name, box, (60, 40)) for file, name, box in zip(files, ODD, boxes, strict=True)]
    # One image with two labels, of which MASKS/IMAGE.png can be neither.
    records.insert(1, record("a.jpg", ODD[1], (30, 20, 50, 40), (60, 40)))
    layout = LayoutSettings(media=media, mask_pictures=True)
    export = export_run(write_run(tmp_path / "run", records), source, "coco", tmp_path / "out", layout=layout)
    rows = csv.DictReader((export.path / "images.csv").open(encoding="utf-8"))
    name_of = {row["file"]: row["exported_file"] for row in rows}
    with (tmp_path / "labels.csv").open("w", newline="", encoding="utf-8") as labels:
        csv.writer(labels).writerows([name_of[one.file], one.class_name] for one in records)
    dataset = open_labeled_images(export.image_folders["train"], tmp_path / "labels.csv")
    truth = read_folder_ground_truth(dataset, dataset, None, export.path / "mask_pictures")
    assert truth is not None
    assert truth.read_masks is not None
    assert truth.problems == ()
    assert len(truth.images) == len(files)
    for one in records:
        masks = truth.read_masks(name_of[one.file])
        expected = mask_of(one)
        assert expected is not None
        found = masks.masks[masks.class_names.index(one.class_name)]
        np.testing.assert_array_equal(found, full_size(expected, (60, 40)))


@pytest.mark.parametrize(
    "class_name", ["cat", "traffic light", "a/b <c>", "..", "../up", "C:", "\\", "é" * 300, ".", "%2E"]
)
def test_each_class_has_one_folder_below_that_of_the_masks(class_name: str) -> None:
    place = mask_place(class_name, "sub/a.png")
    folder, *rest = place.parts
    assert rest == ["sub", "a.png.png"]
    assert folder not in (".", "..")
    assert len(folder.encode()) <= 255
    assert not set(folder) & set('<>:"/\\|?*')


def test_no_two_classes_share_a_folder() -> None:
    names = ["a/b", "a%2Fb", "a%252Fb", "a_b", ".", "%2E", "x" * 300, "x" * 301, *ODD]
    assert len({mask_place(name, "a") for name in names}) == len(names)


def test_masks_made_by_hand_need_no_suffix(tmp_path: Path) -> None:
    for file in ("traffic light/a.png", "a/b <c>/a.png", "only.png"):
        write_photo(tmp_path / file, (8, 8), (0, 0, 4, 4))
    assert mask_files(tmp_path, "a.jpg", ("traffic light", "a/b <c>", "cat")) == {
        "traffic light": tmp_path / "traffic light/a.png",
        "a/b <c>": tmp_path / "a/b <c>/a.png",
    }
    assert mask_files(tmp_path, "only.jpg", ("cat",)) == {"cat": tmp_path / "only.png"}
    write_photo(tmp_path / "only.jpg.png", (8, 8), (0, 0, 4, 4))
    assert mask_files(tmp_path, "only.jpg", ("cat",)) == {"cat": tmp_path / "only.jpg.png"}
    assert mask_files(tmp_path / "traffic light", "only.jpg", ("..",)) == {}
