from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from layouts import CUB_FILES, cub, painted_box, write
from PIL import Image

from wsloc.cli.main import main
from wsloc.config import DataSettings
from wsloc.datasets import open_dataset, read_ground_truth
from wsloc.datasets.cub import open_cub, read_cub_ground_truth
from wsloc.errors import ItemError, UserError

NAMES = ("Black_footed_Albatross", "Laysan_Albatross")
TEST = [CUB_FILES[0], CUB_FILES[2], CUB_FILES[3]]
NETWORK = """
import torch
from torch import nn


def make():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
"""


def test_splits_labels_and_names(tmp_path: Path) -> None:
    root = cub(tmp_path)
    dataset = open_cub(root, "test")
    assert dataset.class_names == NAMES
    assert dataset.category_ids == (1, 2)
    assert [image.image_id for image in dataset.images] == TEST
    assert [image.labels for image in dataset.images] == [NAMES[:1], NAMES[1:], NAMES[1:]]
    assert dataset.images[0].file == f"images/{CUB_FILES[0]}"
    assert [image.image_id for image in open_cub(root, "train").images] == [CUB_FILES[1]]
    assert open_cub(root / "CUB_200_2011", "test") == dataset


def test_numbers_stay_in_names_that_need_them(tmp_path: Path) -> None:
    root = cub(tmp_path)
    write(root / "CUB_200_2011" / "classes.txt", "1 001.Crow\n2 002.Crow\n")
    assert open_cub(root, "test").class_names == ("001.Crow", "002.Crow")


@pytest.mark.parametrize("split", ["test", "train"])
def test_boxes_and_masks_lie_on_the_painted_object(tmp_path: Path, split: str) -> None:
    dataset = open_cub(cub(tmp_path), split)
    truth = read_cub_ground_truth(dataset)
    assert truth.read_masks is not None
    for image in dataset.images:
        found, masks = truth.images[image.image_id], truth.read_masks(image.image_id)
        assert found.boxes_xyxy.tolist() == [painted_box(image.path)]
        assert found.class_names == masks.class_names == image.labels
        rows, columns = np.nonzero(masks.masks[0])
        assert [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] == found.boxes_xyxy[0].tolist()
        assert masks.masks.shape[1:] == found.size_wh[::-1] == masks.ignored.shape
        assert not masks.ignored.any()
    assert truth.problems == ()


def test_boxes_by_hand_and_the_frame_that_the_tables_do_not_tell(tmp_path: Path) -> None:
    truth = read_cub_ground_truth(open_cub(cub(tmp_path), "test"))
    assert truth.images[TEST[0]].boxes_xyxy.tolist() == [[6, 7, 17, 20]]
    assert truth.images[TEST[2]].boxes_xyxy.tolist() == [[19, 2, 29, 10]]
    assert truth.ambiguous_orientations == 1


def test_without_segmentations_there_are_no_masks(tmp_path: Path) -> None:
    assert read_cub_ground_truth(open_cub(cub(tmp_path, segmentations=False), "test")).read_masks is None


def test_a_bad_segmentation_is_an_error_of_its_image(tmp_path: Path) -> None:
    root = cub(tmp_path)
    first, second, third = ((root / "segmentations" / file).with_suffix(".png") for file in TEST)
    Image.new("L", (30, 30)).save(first)
    second.write_text("no picture")
    third.unlink()
    read_masks = read_cub_ground_truth(open_cub(root, "test")).read_masks
    assert read_masks is not None
    for file, sentence in zip(TEST, ("30 x 30 pixels", "cannot be read", "does not exist"), strict=True):
        with pytest.raises(ItemError, match=sentence):
            read_masks(file)


def test_bad_rows_of_boxes_are_problems_and_the_others_stay(tmp_path: Path) -> None:
    root = cub(tmp_path)
    write(root / "CUB_200_2011" / "bounding_boxes.txt", "1 6.0 7.0 10.0\n2 1 1 1 1\n3 90 2 3 4\n4 nan 1 1 1\n")
    truth = read_cub_ground_truth(open_cub(root, "test"))
    assert list(truth.images) == [CUB_FILES[2]]
    assert len(truth.images[CUB_FILES[2]].boxes_xyxy) == 0
    assert sum("is not a row 'number x y width height'" in problem for problem in truth.problems) == 2
    assert sum("has no box of it" in problem for problem in truth.problems) == 2
    assert sum("outside the image, and was left out" in problem for problem in truth.problems) == 1


def test_an_image_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    dataset = open_cub(cub(tmp_path), "test")
    dataset.images[0].path.unlink()
    truth = read_cub_ground_truth(dataset)
    assert list(truth.images) == TEST[1:]
    assert "does not exist" in truth.problems[0]


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("images", "1\n", r"images\.txt must hold rows 'number value', not '1'\.$"),
        ("images", "1 ../../secret.jpg\n", r"names '\.\./\.\./secret\.jpg', which is outside the data set\.$"),
        ("image_class_labels", "1 7\n", r"holds the class 7, which classes\.txt lacks\.$"),
        ("classes", "x 001.A\ny 002.B\n", r"holds the class 1, which"),
        ("train_test_split", "1 1\n2 1\n3 1\n4 1\n", r"names no image of the split test\.$"),
        ("train_test_split", None, r"train_test_split\.txt does not exist; check `root` and `split`\.$"),
    ],
)
def test_bad_tables_are_a_users_error(tmp_path: Path, name: str, text: str | None, sentence: str) -> None:
    path = cub(tmp_path) / "CUB_200_2011" / f"{name}.txt"
    path.unlink()
    if text is not None:
        write(path, text)
    with pytest.raises(UserError, match=sentence):
        open_cub(tmp_path, "test")


def test_a_missing_folder_or_split_is_a_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none does not exist; `root` names the one that holds CUB_200_2011\.$"):
        open_cub(tmp_path / "none", "test")
    with pytest.raises(UserError, match=r"There is no CUB_200_2011/images\.txt in "):
        open_cub(tmp_path, "test")
    with pytest.raises(UserError, match=r"has the splits test and train, not 'val'\.$"):
        open_cub(cub(tmp_path), "val")


def test_the_settings_open_it(tmp_path: Path) -> None:
    settings = DataSettings(dataset="cub", root=cub(tmp_path), limit=2)
    dataset = open_dataset(settings)
    truth = read_ground_truth(settings, dataset)
    assert truth is not None
    assert list(truth.images) == TEST[:2]


def test_a_run_over_it_as_it_is_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The network's outputs have no names; they are the classes in the order of classes.txt."""
    cub(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "cubnet.py").write_text(NETWORK)
    flags = "--dataset cub --root . --arch cubnet:make --input-size 32 --working-size 32 --workers 0 --out run".split()
    assert main(["localize", *flags]) == 0
    found = [json.loads(line) for line in (tmp_path / "run" / "localizations.jsonl").read_text().splitlines()]
    assert [(record["image_id"], record["class_name"]) for record in found] == list(
        zip(TEST, (NAMES[0], NAMES[1], NAMES[1]), strict=True)
    )
    assert (tmp_path / "run" / "metrics.json").is_file()
