from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from layouts import painted_box, picture, write
from PIL import Image

from wsloc.config import DataSettings
from wsloc.datasets import GroundTruthSet, open_dataset, read_ground_truth
from wsloc.datasets.checking import check_dataset
from wsloc.errors import ItemError, UserError


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two cats, the second turned by EXIF, and a dog."""
    root = tmp_path / "photos"
    picture(root / "cat/1.jpg")
    picture(root / "cat/2.jpg", (2, 3, 10, 13), 6)
    picture(root / "dog/1.png", (0, 0, 40, 32))
    return root


def _truth(photos: Path, **more: object) -> GroundTruthSet | None:
    settings = replace(DataSettings(dataset="folder", root=photos), **more)
    return read_ground_truth(settings, open_dataset(settings))


def _mask(path: Path, box: tuple[int, int, int, int] = (4, 5, 20, 25), size_wh: tuple[int, int] = (40, 32)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.zeros(size_wh[::-1], dtype=np.uint8)
    values[box[1] : box[3], box[0] : box[2]] = 255
    Image.fromarray(values).save(path)


def test_without_boxes_and_masks_there_is_no_truth(photos: Path) -> None:
    assert _truth(photos) is None


def test_boxes_are_as_wsloc_writes_its_own(photos: Path) -> None:
    """Half-open, 0-based, and in the frame in which the image is shown."""
    path = photos.parent / "boxes.csv"
    rows = "image,class,x0,y0,x1,y1\ncat/1.jpg,cat,4,5,20,25\ncat/1.jpg, dog ,1,1,2.5,2\ncat/2.jpg,cat,19,2,29,10\n"
    write(path, rows)
    truth = _truth(photos, boxes=path)
    assert truth is not None
    assert list(truth.images) == ["cat/1.jpg", "cat/2.jpg"]
    assert truth.images["cat/1.jpg"].boxes_xyxy.tolist() == [[4, 5, 20, 25], [1, 1, 2.5, 2]]
    assert truth.images["cat/1.jpg"].class_names == ("cat", "dog")
    assert truth.images["cat/2.jpg"].boxes_xyxy.tolist() == [painted_box(photos / "cat/2.jpg")]
    assert truth.images["cat/2.jpg"].size_wh == (32, 40)
    assert (truth.problems, truth.ambiguous_orientations, truth.read_masks) == ((), 0, None)


def test_rows_of_images_that_are_not_there_are_told_whatever_images_are_judged(photos: Path) -> None:
    path, ids = photos.parent / "boxes.csv", photos.parent / "ids.txt"
    write(path, "cat/1.jpg,cat,4,5,20,25\ncat/2.jpg,cat,4,5,20,25\n1.jpg,cat,4,5,20,25\ncat\\1.jpg,cat,1,2,3,4\n")
    write(ids, "cat/1.jpg\n")
    truth = _truth(photos, boxes=path, ids=ids)
    assert truth is not None
    assert truth.problems == ("boxes.csv: images that the data set lacks (1): 1.jpg",)
    write(path, "image,class,x0,y0,x1,y1\n")
    truth = _truth(photos, boxes=path)
    assert truth is not None
    assert truth.problems == ("boxes.csv: it holds no box",)


def test_a_class_of_a_name_that_no_file_system_takes_has_no_mask(photos: Path) -> None:
    name = "K" * 300
    write(photos.parent / "labels.csv", f"cat/1.jpg,{name}\n")
    _mask(photos.parent / "masks/cat/1.png")
    truth = _truth(photos, labels=photos.parent / "labels.csv", masks=photos.parent / "masks")
    assert truth is not None
    assert truth.images["cat/1.jpg"].class_names == (name,)


def test_rows_without_a_box_are_problems_and_the_others_stay(photos: Path) -> None:
    path = photos.parent / "boxes.csv"
    bad = ("cat/1.jpg,cat,1,2,3", "cat/1.jpg,cat,1,2,3,x", "cat/1.jpg,cat,1,2,3,nan", "cat/1.jpg,,1,2,3,4", "cat/1.jpg")
    write(
        path,
        "".join(f"{row}\n" for row in (*bad, "cat/1.jpg,cat,1,2,3,4", "cat/1.jpg,cat,9,9,5,5", "x.jpg,cat,1,1,2,2")),
    )
    truth = _truth(photos, boxes=path)
    assert truth is not None
    assert truth.images["cat/1.jpg"].boxes_xyxy.tolist() == [[1, 2, 3, 4]]
    assert len(truth.problems) == len(bad) + 2
    assert truth.problems[4] == "boxes.csv, row 5: 'cat/1.jpg' is not a row image,class,x0,y0,x1,y1"
    assert truth.problems[-2] == "boxes.csv: images that the data set lacks (1): x.jpg"
    assert "inverted or outside the image" in truth.problems[-1]


def test_masks_show_the_only_label_or_a_named_class(photos: Path) -> None:
    masks = photos.parent / "masks"
    _mask(masks / "cat/1.png")
    _mask(masks / "dog/dog/1.png", (0, 0, 40, 32))
    # Drawn on the stored image, as its size tells.
    _mask(masks / "cat/cat/2.png", (2, 3, 10, 13))
    truth = _truth(photos, masks=masks)
    assert truth is not None
    assert truth.read_masks is not None
    assert list(truth.images) == ["cat/1.jpg", "cat/2.jpg", "dog/1.png"]
    for image_id, found in truth.images.items():
        assert found.boxes_xyxy.tolist() == [painted_box(photos / image_id)]
        assert found.class_names == truth.read_masks(image_id).class_names == (image_id.partition("/")[0],)
        assert truth.read_masks(image_id).masks.shape == (1, *found.size_wh[::-1])
    assert truth.problems == ("dog/1.png: the mask of a dog covers the whole image",)


def test_masks_of_several_classes_of_an_image(photos: Path) -> None:
    labels, masks = photos.parent / "labels.csv", photos.parent / "masks"
    write(labels, "cat/1.jpg,cat;dog\n")
    _mask(masks / "cat/cat/1.png", (0, 0, 2, 2))
    _mask(masks / "dog/cat/1.png", (5, 5, 9, 9))
    _mask(masks / "cat/1.png", (0, 0, 9, 9))
    truth = _truth(photos, labels=labels, masks=masks)
    assert truth is not None
    assert truth.images["cat/1.jpg"].class_names == ("cat", "dog")
    assert truth.images["cat/1.jpg"].boxes_xyxy.tolist() == [[0, 0, 2, 2], [5, 5, 9, 9]]


def test_labels_that_a_run_exchanged_do_not_change_the_truth(photos: Path) -> None:
    masks = photos.parent / "masks"
    _mask(masks / "cat/1.png")
    for more in ({"class_name": "bird"}, {"targets": "top5"}):
        truth = _truth(photos, masks=masks, **more)
        assert truth is not None
        assert truth.images["cat/1.jpg"].class_names == ("cat",)


def test_255_is_void_in_a_palette_alone(photos: Path) -> None:
    masks = photos.parent / "masks"
    values = np.zeros((32, 40), dtype=np.uint8)
    values[0, :3] = 15
    values[1, :5] = 255
    (masks / "cat").mkdir(parents=True)
    for mode, objects, void in (("L", 8, 0), ("P", 3, 5)):
        mask = Image.fromarray(values)
        if mode == "P":
            mask.putpalette([value for index in range(256) for value in (index, 0, 0)])
        mask.save(masks / "cat/1.png")
        truth = _truth(photos, masks=masks)
        assert truth is not None
        assert truth.read_masks is not None
        found = truth.read_masks("cat/1.jpg")
        assert (found.masks.sum(), found.ignored.sum()) == (objects, void)


def test_with_boxes_and_masks_each_says_its_own(photos: Path) -> None:
    boxes, masks = photos.parent / "boxes.csv", photos.parent / "masks"
    write(boxes, "cat/1.jpg,cat,1,2,3,4\n")
    _mask(masks / "cat/1.png")
    _mask(masks / "cat/2.png", (19, 2, 29, 10), (32, 40))
    truth = _truth(photos, boxes=boxes, masks=masks)
    assert truth is not None
    assert truth.read_masks is not None
    assert list(truth.images) == ["cat/1.jpg"]
    assert truth.images["cat/1.jpg"].boxes_xyxy.tolist() == [[1, 2, 3, 4]]
    assert truth.read_masks("cat/2.jpg").masks.sum() == 80


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("missing", r"there is no mask cat/1\.png"),
        ("text", "cannot be read"),
        ("size", "has 10 x 10 pixels, the image 40 x 32"),
    ],
)
def test_a_bad_mask_is_an_error_of_its_image(photos: Path, kind: str, sentence: str) -> None:
    masks = photos.parent / "masks"
    _mask(masks / "dog/1.png")
    if kind == "text":
        write(masks / "cat/1.png", "no picture")
    elif kind == "size":
        _mask(masks / "cat/1.png", size_wh=(10, 10))
    truth = _truth(photos, masks=masks)
    assert truth is not None
    assert truth.read_masks is not None
    with pytest.raises(ItemError, match=sentence):
        truth.read_masks("cat/1.jpg")
    assert list(truth.images) == ["dog/1.png"]
    assert len(truth.problems) == (kind != "missing")


def test_a_label_cannot_lead_out_of_the_folder_of_masks(photos: Path) -> None:
    labels, masks = photos.parent / "labels.csv", photos.parent / "masks"
    write(labels, "cat/1.jpg,../secret;cat\n")
    _mask(photos.parent / "secret/cat/1.png")
    _mask(masks / "cat/cat/1.png")
    truth = _truth(photos, labels=labels, masks=masks)
    assert truth is not None
    assert truth.images["cat/1.jpg"].class_names == ("cat",)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"boxes": "none.csv"}, r"The boxes .*none\.csv do not exist; `boxes` names a CSV file\.$"),
        ({"masks": "none"}, r"The folder .*none does not exist; `masks` names the one that holds the masks\.$"),
        (
            {"boxes": ".", "dataset": "demo"},
            r"`boxes` is only for `dataset='folder'` or `dataset='webdataset'`; the other data sets",
        ),
        (
            {"masks": ".", "dataset": "voc"},
            r"`masks` is only for `dataset='folder'` or `dataset='webdataset'` or `dataset='wsol'`; the other",
        ),
        (
            {"annotations": ".", "dataset": "cub"},
            r"The annotations .* do not exist; `annotations` names a COCO JSON file\.$",
        ),
        ({"boxes": ".", "dataset": None, "root": None, "images": "*.jpg"}, r"`boxes` is only for `dataset='folder'`"),
    ],
)
def test_contradictions_are_told_before_the_work(photos: Path, changes: dict[str, object], sentence: str) -> None:
    paths = {
        key: photos / value if key in ("boxes", "masks", "annotations") else value for key, value in changes.items()
    }  # type: ignore[operator]
    with pytest.raises(UserError, match=sentence):
        open_dataset(replace(DataSettings(dataset="folder", root=photos), **paths))


def test_boxes_that_are_no_text_are_a_users_error(photos: Path) -> None:
    path = photos.parent / "boxes.csv"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"The table of boxes .*boxes\.csv is not UTF-8 text"):
        _truth(photos, boxes=path)


TRIMAP = np.full((32, 40), 2, dtype=np.uint8)
TRIMAP[4:26, 3:21] = 3
TRIMAP[5:25, 4:20] = 1
"""As of the Oxford pets: object, a border that is neither, background."""


def _save(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def test_a_trimap_is_read_where_it_is_said_to_be_one(photos: Path) -> None:
    masks = photos.parent / "masks"
    _save(masks / "cat/1.png", TRIMAP)
    truth = _truth(photos, masks=masks, mask_values="trimap")
    assert truth is not None
    assert truth.problems == ()
    assert truth.images["cat/1.jpg"].boxes_xyxy.tolist() == [[4, 5, 20, 25]]
    assert truth.read_masks is not None
    read = truth.read_masks("cat/1.jpg")
    assert (read.masks.sum(), read.ignored.sum()) == (16 * 20, 18 * 22 - 16 * 20)


@pytest.mark.parametrize("missing", [(), (3,), (1,), (2,)])
def test_a_trimap_is_not_taken_for_a_mask_of_the_whole_image(photos: Path, missing: tuple[int, ...]) -> None:
    masks = photos.parent / "masks"
    other = 2 if 3 in missing else 3
    _save(masks / "cat/1.png", np.where(np.isin(TRIMAP, missing), other, TRIMAP).astype(np.uint8))
    truth = _truth(photos, masks=masks)
    assert truth is not None
    assert truth.images == {}
    assert truth.problems == (
        "cat/1.jpg: the mask cat/1.png is a trimap: it has no 0, but 1, 2 or 3; `mask_values='trimap'` reads it",
    )


@pytest.mark.parametrize("values", [(0, 255), (0, 1), (1, 4)])
def test_no_other_mask_is_taken_for_a_trimap(photos: Path, values: tuple[int, int]) -> None:
    masks = photos.parent / "masks"
    _save(masks / "cat/1.png", np.where(TRIMAP == 1, values[1], values[0]).astype(np.uint8))
    truth = _truth(photos, masks=masks, mask_values="trimap")
    assert truth is not None
    assert truth.problems == ("cat/1.jpg: the mask cat/1.png has other values than a trimap's 1, 2 and 3",)


@pytest.mark.parametrize("value", [1, 3, 255])
def test_a_mask_of_the_whole_image_is_said(photos: Path, value: int) -> None:
    masks = photos.parent / "masks"
    _save(masks / "cat/1.png", np.full((32, 40), value, dtype=np.uint8))
    truth = _truth(photos, masks=masks)
    assert truth is not None
    assert truth.images["cat/1.jpg"].boxes_xyxy.tolist() == [[0, 0, 40, 32]]
    assert truth.problems == ("cat/1.jpg: the mask of a cat covers the whole image",)
    sentences = [problem.sentence for problem in check_dataset(DataSettings("folder", photos, masks=masks))]
    assert sentences.count("the mask of a cat covers the whole image") == 1
    # Where boxes are the truth, masks are looked at by the check alone.
    write(photos.parent / "boxes.csv", "cat/1.jpg,cat,4,5,20,25\n")
    problems = list(check_dataset(DataSettings("folder", photos, masks=masks, boxes=photos.parent / "boxes.csv")))
    assert ("mask", "the mask of a cat covers the whole image") in [(one.kind, one.sentence) for one in problems]


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ([], "masks: the folder of masks holds no .png"),
        (["cat/1.gif"], "masks: the folder of masks holds no .png"),
        (["cat/9.png", "Cat/1.png"], "masks: masks of no image, or of none of its labels (2): Cat/1.png, cat/9.png"),
        (["1_mask.png"], "masks: masks of no image, or of none of its labels (1): 1_mask.png"),
    ],
)
def test_masks_that_match_nothing_are_said(photos: Path, files: list[str], sentence: str) -> None:
    masks = photos.parent / "masks"
    masks.mkdir()
    for file in files:
        _mask(masks / file)
    truth = _truth(photos, masks=masks)
    assert truth is not None
    assert truth.images == {}
    assert truth.problems == (sentence,)
