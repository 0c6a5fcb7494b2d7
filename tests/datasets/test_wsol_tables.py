from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layouts import CUB_FILES, cub, painted_box, picture, write, wsol, wsol_masks
from PIL import Image

from wsloc.config import DataSettings
from wsloc.datasets import open_dataset, read_ground_truth
from wsloc.datasets.cub import open_cub, read_cub_ground_truth
from wsloc.datasets.wsol_tables import find_wsol_folder, open_wsol, read_wsol_ground_truth, read_wsol_tables
from wsloc.errors import ItemError, UserError

IDS = ["test/a.jpg", "test/b.jpg", "test/c.jpg"]


def test_images_labels_and_names(tmp_path: Path) -> None:
    dataset = open_wsol(wsol(tmp_path), "test")
    assert [(image.image_id, image.labels) for image in dataset.images] == [
        (IDS[0], ("0",)),
        (IDS[1], ("1",)),
        (IDS[2], ("1",)),
    ]
    assert dataset.class_names == ("0", "1")
    assert dataset.images[0].path == tmp_path / "test" / "a.jpg"
    write(tmp_path / "metadata" / "SET" / "classes.txt", "red bird\nblue bird\n")
    assert open_wsol(tmp_path, "test").images[0].labels == ("red bird",)


def test_boxes_are_half_open_and_turn_with_the_image(tmp_path: Path) -> None:
    dataset = open_wsol(wsol(tmp_path), "test")
    truth = read_wsol_ground_truth(dataset, "test")
    assert truth.images[IDS[0]].boxes_xyxy.tolist() == [[4, 5, 20, 25], [30, 30, 31, 31]]
    assert truth.images[IDS[0]].class_names == ("0", "0")
    assert truth.images[IDS[1]].boxes_xyxy.tolist() == [painted_box(dataset.images[1].path)]
    assert truth.images[IDS[2]].boxes_xyxy.tolist() == [painted_box(dataset.images[2].path)] == [[19, 2, 29, 10]]
    assert truth.images[IDS[2]].size_wh == (32, 40)
    assert (truth.problems, truth.ambiguous_orientations, truth.read_masks) == ((), 0, None)


SIDE = st.tuples(st.integers(-3, 60), st.integers(-3, 60)).map(sorted)


@settings(max_examples=30)
@given(sides=st.lists(st.tuples(SIDE, SIDE), min_size=1, max_size=4))
def test_the_published_whole_numbers_come_back(
    tmp_path_factory: pytest.TempPathFactory, sides: list[tuple[list[int], list[int]]]
) -> None:
    """Also of boxes that reach over the border of the image, which has 40 x 32 pixels."""
    root = wsol(tmp_path_factory.mktemp("wsol"))
    given_boxes = [(x[0], y[0], x[1], y[1]) for x, y in sides]
    rows = [f"{IDS[1]},{','.join(map(str, box))}\n" for box in given_boxes]
    write(root / "metadata/SET/test/localization.txt", "".join(rows))
    truth = read_wsol_ground_truth(open_wsol(root, "test"), "test")
    back = truth.images[IDS[1]].boxes_xyxy - [0, 0, 1, 1]
    assert back.tolist() == [list(box) for box in given_boxes]
    assert read_wsol_tables(root / "metadata/SET/test").boxes[IDS[1]] == tuple(given_boxes)


def test_they_are_the_boxes_of_cub_where_the_published_table_is_of_cub(tmp_path: Path) -> None:
    """Row 1 of bounding_boxes.txt is 60 27 325 304; the published table says 60,27,385,331 of the same image."""
    root = cub(tmp_path, segmentations=False)
    folder = root / "CUB_200_2011"
    picture(folder / "images" / CUB_FILES[0], (60, 27, 386, 332), size_wh=(500, 335))
    write(folder / "bounding_boxes.txt", "1 60.0 27.0 325.0 304.0\n")
    tables = tmp_path / "tables"
    write(tables / "image_ids.txt", f"{CUB_FILES[0]}\n")
    write(tables / "class_labels.txt", f"{CUB_FILES[0]},0\n")
    write(tables / "image_sizes.txt", f"{CUB_FILES[0]},500,335\n")
    write(tables / "localization.txt", f"{CUB_FILES[0]},60,27,385,331\n")
    of_cub = read_cub_ground_truth(open_cub(root, "test")).images[CUB_FILES[0]]
    dataset = open_wsol(folder / "images", "test", tables)
    of_tables = read_wsol_ground_truth(dataset, "test", tables).images[CUB_FILES[0]]
    assert of_cub.boxes_xyxy.tolist() == of_tables.boxes_xyxy.tolist() == [[60, 27, 386, 332]]


def test_masks_of_an_image_share_what_is_ignored(tmp_path: Path) -> None:
    dataset = open_wsol(wsol_masks(tmp_path), "test")
    truth = read_wsol_ground_truth(dataset, "test")
    assert truth.read_masks is not None
    first, second = (image.image_id for image in dataset.images)
    found = truth.read_masks(first)
    assert found.masks.shape == (2, 32, 40)
    assert found.class_names == ("0", "0")
    assert found.masks.sum(axis=(1, 2)).tolist() == [16, 4]
    # The ignored region is 6 x 6, but 2 x 2 of it are object.
    assert found.ignored.sum() == 32
    assert not (found.ignored & found.masks.any(axis=0)).any()
    halved = truth.read_masks(second)
    assert halved.masks.shape == (1, 16, 20)  # as stored: the published code resizes it once, to 224 x 224
    assert np.argwhere(halved.masks[0]).min(axis=0).tolist() == [2, 1]
    assert np.argwhere(halved.masks[0]).max(axis=0).tolist() == [3, 2]
    assert not halved.ignored.any()
    assert [len(truth.images[image_id].boxes_xyxy) for image_id in (first, second)] == [0, 0]
    assert truth.problems == ()


def test_masks_may_lie_in_a_folder_of_their_own(tmp_path: Path) -> None:
    root = wsol_masks(tmp_path / "images")
    masks = tmp_path / "masks"
    (masks / "test").mkdir(parents=True)
    (root / "test" / "0bt_c3").rename(masks / "test" / "0bt_c3")
    for name in ("a", "b"):
        picture(root / "test" / "0bt_c3" / f"{name}.jpg")
    settings_ = DataSettings(dataset="wsol", root=root, masks=masks)
    truth = read_ground_truth(settings_, open_dataset(settings_))
    assert truth is not None
    assert truth.read_masks is not None
    assert truth.read_masks("test/0bt_c3/a.jpg").masks.any()


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ("test/0bt_c3/none.png,", "does not exist"),
        ("../../secret.png,", "is outside"),
        ("test/0bt_c3/b.txt,", "cannot be read"),
        ("test/0bt_c3/tall.png,", "another shape than the image"),
    ],
)
def test_a_bad_mask_is_an_error_of_its_image(tmp_path: Path, row: str, sentence: str) -> None:
    root = wsol_masks(tmp_path)
    write(root / "test/0bt_c3/b.txt", "no picture")
    Image.new("L", (16, 32)).save(root / "test/0bt_c3/tall.png")
    image_id = "test/0bt_c3/b.jpg"
    write(root / "metadata/test/localization.txt", f"{image_id},{row}\n")
    truth = read_wsol_ground_truth(open_wsol(root, "test"), "test")
    assert truth.read_masks is not None
    with pytest.raises(ItemError, match=sentence):
        truth.read_masks(image_id)


def test_bad_rows_are_problems_and_the_others_stay(tmp_path: Path) -> None:
    root = wsol(tmp_path)
    tables = root / "metadata/SET/test"
    write(tables / "image_sizes.txt", f"{IDS[0]},40,32\n{IDS[1]},41,32\n{IDS[2]},40,32\n")
    write(tables / "localization.txt", f"{IDS[0]},9,9,5,12\n{IDS[0]},1,1,90,5\n{IDS[0]},1,1,2\n{IDS[1]},0,0,1,1\n")
    truth = read_wsol_ground_truth(open_wsol(root, "test"), "test")
    assert list(truth.images) == [IDS[0]]
    assert truth.images[IDS[0]].boxes_xyxy.tolist() == [[1, 1, 91, 6]]
    assert [problem.removeprefix(f"{IDS[0]}: ") for problem in truth.problems] == [
        "'1,1,2' in localization.txt is neither a box nor a mask",
        "a box is inverted, and was left out",
        "a box reaches over the border, and was kept as it is",
        f"{IDS[1]}: image_sizes.txt says 41 x 32 pixels, but the image has 40 x 32; its boxes were left out",
        f"{IDS[2]}: localization.txt has neither box nor mask of it",
    ]


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("class_labels.txt", "test/a.jpg\n", r"must hold rows 'image,class number', not 'test/a\.jpg'\.$"),
        ("class_labels.txt", "test/a.jpg,x\n", r"holds 'x' where a whole number belongs\.$"),
        ("class_labels.txt", "test/a.jpg,-1\n", r"holds the class number -1; they start at 0 and end at 999999\.$"),
        ("class_labels.txt", None, r"class_labels\.txt does not exist"),
        ("image_sizes.txt", "test/a.jpg,40\n", r"must hold rows 'image,width,height', not 'test/a\.jpg 40'\.$"),
        ("image_ids.txt", "../secret.jpg\n", r"names '\.\./secret\.jpg', which is outside the data set\.$"),
        ("image_ids.txt", "\n", r"image_ids\.txt names no image\.$"),
        ("image_ids.txt", None, r"There is no image_ids\.txt in .*; `annotations` names the folder"),
        ("classes.txt", "one\n", r"classes\.txt must name each of the 2 classes once, one per line\.$"),
        ("classes.txt", "one\none\n", r"classes\.txt must name each of the 2 classes once"),
    ],
)
def test_bad_tables_are_a_users_error(tmp_path: Path, name: str, text: str | None, sentence: str) -> None:
    path = wsol(tmp_path) / "metadata/SET/test" / name
    path.unlink(missing_ok=True)
    if text is not None:
        write(path, text)
    with pytest.raises(UserError, match=sentence):
        open_wsol(tmp_path, "test")


def test_where_the_tables_are_looked_for(tmp_path: Path) -> None:
    root = wsol(tmp_path)
    tables = root / "metadata/SET/test"
    assert find_wsol_folder(root, "test", None) == tables
    assert find_wsol_folder(root, "test", tables) == tables
    assert find_wsol_folder(root, "test", tables.parent) == tables
    write(root / "metadata/OTHER/test/image_ids.txt", "x.jpg\n")
    with pytest.raises(UserError, match=r"holds the tables of 2 data sets; name one: `annotations=.*OTHER'`"):
        find_wsol_folder(root, "test", None)
    with pytest.raises(UserError, match=r"none does not exist; `root` names the one that holds the images\.$"):
        open_wsol(tmp_path / "none", "test", None)
    with pytest.raises(UserError, match=r"`dataset='wsol'` needs `root`"):
        open_dataset(DataSettings(dataset="wsol"))
