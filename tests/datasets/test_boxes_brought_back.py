"""A COCO file that an annotation tool gives back as the truth of a data set of another kind, or of other numbers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from layouts import EXIF_ORIENTATION, WIDE, painted_box, picture
from PIL import Image

from wsloc.config import DataSettings
from wsloc.datasets import GroundTruthSet, read_ground_truth
from wsloc.datasets.registry import open_images
from wsloc.errors import UserError

FILES = ("cat/a.jpg", "cat/b.jpg", "dog/a.jpg")
BOX_XYWH = [4, 5, 16, 20]


def _file(path: Path, files: list[str], size_wh: tuple[int, int] = WIDE, **more: Any) -> Path:
    """All numbers from 7 on; the box of an image is that of its picture."""
    images = [
        {"id": number, "file_name": file, "width": size_wh[0], "height": size_wh[1]}
        for number, file in enumerate(files, start=7)
    ]
    annotations = [
        {"id": number, "image_id": number, "category_id": 7, "bbox": BOX_XYWH, **more}
        for number, _ in enumerate(files, start=7)
    ]
    categories = [{"id": 7, "name": "cat"}]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path


def _truth(settings: DataSettings) -> GroundTruthSet:
    truth = read_ground_truth(settings, open_images(settings))
    assert truth is not None
    return truth


@pytest.fixture
def folder(tmp_path: Path) -> DataSettings:
    for file in FILES:
        picture(tmp_path / "photos" / file)
    return DataSettings("folder", tmp_path / "photos")


def test_a_folder_is_judged_by_the_images_that_the_file_has(folder: DataSettings, tmp_path: Path) -> None:
    file = _file(tmp_path / "corrected.json", ["images/0123abcd__b.jpg", "dog/a.jpg", "a.jpg", "z.jpg"])
    truth = _truth(replace(folder, annotations=file))
    assert list(truth.images) == ["cat/b.jpg", "dog/a.jpg"]
    assert truth.images["cat/b.jpg"].boxes_xyxy.tolist() == [[4, 5, 20, 25]]
    assert truth.partial
    assert truth.problems == (
        "corrected.json: images that the data set lacks (1): z.jpg",
        "corrected.json: images that may be several of the data set, and were left out (1): a.jpg",
    )


@pytest.mark.usefixtures("folder")
def test_loose_images_are_judged_too(tmp_path: Path) -> None:
    settings = DataSettings(images=str(tmp_path / "photos/cat/*.jpg"), annotations=tmp_path / "corrected.json")
    _file(tmp_path / "corrected.json", ["b.jpg"])
    assert list(_truth(settings).images) == ["b.jpg"]


def test_an_outline_is_a_mask(folder: DataSettings, tmp_path: Path) -> None:
    outline = [[4, 5, 20, 5, 20, 25, 4, 25]]
    truth = _truth(replace(folder, annotations=_file(tmp_path / "corrected.json", ["b.jpg"], segmentation=outline)))
    assert truth.read_masks is not None
    assert truth.read_masks("cat/b.jpg").masks.sum() == 16 * 20


def test_a_coco_file_of_other_numbers_is_not_read_by_them(tmp_path: Path) -> None:
    """Image 8 of the one file is image 7 of the other."""
    for name in ("a.jpg", "b.jpg"):
        picture(tmp_path / "images" / name)
    own = _file(tmp_path / "own.json", ["a.jpg", "b.jpg"])
    other = _file(tmp_path / "other.json", ["b.jpg"])
    settings = DataSettings("coco", tmp_path, annotations=own)
    dataset = open_images(settings)
    assert [image.image_id for image in dataset.images] == ["7", "8"]
    truth = read_ground_truth(replace(settings, annotations=other), dataset)
    assert truth is not None
    assert list(truth.images) == ["8"]
    truth = read_ground_truth(settings, dataset)
    assert truth is not None
    assert list(truth.images) == ["7", "8"]
    assert not truth.partial


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("upright", [True, False])
def test_what_was_drawn_on_an_upright_copy_is_right_on_the_original(
    upright: bool, orientation: int, folder: DataSettings, tmp_path: Path
) -> None:
    """An orientation of 3 keeps the sides, and so the size does not tell that the copy was turned."""
    path = tmp_path / "photos/cat/b.jpg"
    picture(path, orientation=orientation)
    (x0, y0, x1, y1), exif = painted_box(path), Image.open(path).getexif()
    assert exif[EXIF_ORIENTATION] == orientation
    shown_wh = WIDE[::-1] if orientation >= 5 else WIDE
    if upright:
        box, size_wh = [x0, y0, x1 - x0, y1 - y0], shown_wh
    elif orientation >= 5:
        box, size_wh = BOX_XYWH, WIDE
    else:
        pytest.skip("nothing tells that this was drawn on the stored image")
    file = _file(tmp_path / "corrected.json", ["b.jpg"], size_wh, bbox=box)
    truth = _truth(replace(folder, annotations=file))
    assert truth.images["cat/b.jpg"].boxes_xyxy.tolist() == [[x0, y0, x1, y1]]
    assert truth.ambiguous_orientations == 0


def test_a_file_of_other_images_is_refused(folder: DataSettings, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"None of the 1 images of .*other\.json \(such as z\.jpg\) is in the data set"):
        _truth(replace(folder, annotations=_file(tmp_path / "other.json", ["z.jpg"])))
