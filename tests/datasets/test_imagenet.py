from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from layouts import WNIDS, imagenet, painted_box, picture, write, xml

from wsloc.config import DataSettings
from wsloc.datasets import open_dataset, read_ground_truth
from wsloc.datasets.imagenet import annotation_of, open_imagenet, read_imagenet_ground_truth
from wsloc.errors import UserError

NAMES = ("n01440764 tench", "n02012849 crane", "n03126707 crane")
VAL = [f"ILSVRC2012_val_0000000{number}" for number in (1, 2, 3)]
LABELS_OF_VAL = [(NAMES[2],), (NAMES[0],), (NAMES[1],)]
VAL_LIST = "ILSVRC/ImageSets/CLS-LOC/val.txt"


def test_labels_of_val_come_from_the_solution_and_two_cranes_stay_two(tmp_path: Path) -> None:
    root = imagenet(tmp_path)
    shutil.rmtree(root / "ILSVRC" / "Annotations")
    dataset = open_imagenet(root, "val")
    assert dataset.class_names == NAMES
    assert [image.image_id for image in dataset.images] == VAL
    assert [image.labels for image in dataset.images] == LABELS_OF_VAL
    assert dataset.images[0].file == f"ILSVRC/Data/CLS-LOC/val/{VAL[0]}.JPEG"
    assert dataset.images[0].path.is_file()
    assert (dataset.label_map, dataset.root) == ("imagenet", root)


def test_boxes_are_zero_based_with_both_corners_inside_and_turn_with_the_image(tmp_path: Path) -> None:
    dataset = open_imagenet(imagenet(tmp_path), "val")
    truth = read_imagenet_ground_truth(dataset)
    assert truth.images[VAL[0]].boxes_xyxy.tolist() == [[0, 0, 20, 25]]
    assert truth.images[VAL[1]].boxes_xyxy.tolist() == [[4, 5, 40, 32]]
    assert truth.images[VAL[2]].boxes_xyxy.tolist() == [[19, 2, 29, 10]]
    assert truth.images[VAL[2]].size_wh == (32, 40)
    for image in dataset.images:
        found = truth.images[image.image_id]
        assert found.boxes_xyxy.tolist() == [painted_box(image.path)]
        assert found.class_names == image.labels
    assert (truth.problems, truth.ambiguous_orientations, truth.read_masks) == ((), 0, None)


def test_train_is_labeled_by_its_folders_and_judged_where_it_has_annotations(tmp_path: Path) -> None:
    dataset = open_imagenet(imagenet(tmp_path), "train")
    ids = ["n01440764/n01440764_10026", "n02012849/n02012849_5"]
    assert [(image.image_id, image.labels) for image in dataset.images] == [(ids[0], NAMES[:1]), (ids[1], NAMES[1:2])]
    truth = read_imagenet_ground_truth(dataset)
    assert list(truth.images) == ids[:1]
    assert truth.images[ids[0]].boxes_xyxy.tolist() == [painted_box(dataset.images[0].path)]
    assert truth.problems == ()
    (tmp_path / "ILSVRC/ImageSets/CLS-LOC/train_cls.txt").unlink()
    assert open_imagenet(tmp_path, "train") == dataset


def test_the_root_may_be_named_at_two_depths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = imagenet(tmp_path)
    assert open_imagenet(root / "ILSVRC", "val") == open_imagenet(root, "val")
    monkeypatch.chdir(root / "ILSVRC")
    assert [image.labels for image in open_imagenet(Path(), "val").images] == LABELS_OF_VAL


def test_sub_folders_of_val_are_labels_and_their_annotations_are_found(tmp_path: Path) -> None:
    root = imagenet(tmp_path)
    (root / "LOC_val_solution.csv").unlink()
    val = root / "ILSVRC/Data/CLS-LOC/val"
    for stem, wnid in zip(VAL, (WNIDS[2], WNIDS[0], WNIDS[1]), strict=True):
        (val / wnid).mkdir()
        (val / f"{stem}.JPEG").rename(val / wnid / f"{stem}.JPEG")
    dataset = open_imagenet(root, "val")
    assert [(image.image_id, image.labels) for image in dataset.images] == list(zip(VAL, LABELS_OF_VAL, strict=True))
    assert dataset.images[0].file == f"ILSVRC/Data/CLS-LOC/val/{WNIDS[2]}/{VAL[0]}.JPEG"
    assert len(read_imagenet_ground_truth(dataset).images) == 3
    nested = root / "ILSVRC/Annotations/CLS-LOC/val" / WNIDS[2] / f"{VAL[0]}.xml"
    write(nested, xml(WNIDS[2], (0, 0, 19, 24)))
    assert annotation_of(dataset, dataset.images[0]) == nested


@pytest.mark.parametrize("place", [VAL_LIST, "val.txt"])
def test_a_list_of_numbers_is_looked_up_in_the_mapping(tmp_path: Path, place: str) -> None:
    root = imagenet(tmp_path)
    (root / "LOC_val_solution.csv").unlink()
    write(root / place, "".join(f"{stem}.JPEG {number}\n" for stem, number in zip(VAL, (2, 0, 1), strict=True)))
    assert [image.labels for image in open_imagenet(root, "val").images] == LABELS_OF_VAL


def test_classes_without_a_mapping_are_called_by_their_ids(tmp_path: Path) -> None:
    root = imagenet(tmp_path)
    (root / "LOC_synset_mapping.txt").unlink()
    dataset = open_imagenet(root, "val")
    assert dataset.class_names == WNIDS
    assert read_imagenet_ground_truth(dataset).images[VAL[0]].class_names == (WNIDS[2],)


@pytest.mark.parametrize(
    ("changes", "split", "sentence"),
    [
        ({}, "test", r"has the splits val and train with labels, not 'test'\.$"),
        ({"LOC_synset_mapping.txt": "n01440764\n"}, "val", r"must hold rows 'n01440764 tench, Tinca tinca', not"),
        (
            {"LOC_val_solution.csv": "ILSVRC2012_val_00000001\n"},
            "val",
            r"must hold rows 'ImageId,WORDNET-ID \.\.\.', not",
        ),
        ({"LOC_val_solution.csv": None}, "val", r"The images of val have no labels: there is no LOC_val_solution\.csv"),
        (
            {"LOC_val_solution.csv": None, "val.txt": "a.JPEG 3\n"},
            "val",
            r"with numbers from 0 to 2, not 'a\.JPEG 3'\.$",
        ),
        (
            {"LOC_val_solution.csv": None, "val.txt": "a.JPEG x\n"},
            "val",
            r"with numbers from 0 to 2, not 'a\.JPEG x'\.$",
        ),
        (
            {"LOC_val_solution.csv": None, "LOC_synset_mapping.txt": None, "val.txt": "a.JPEG 0\n"},
            "val",
            r"labels images by numbers, but there is no LOC_synset_mapping\.txt next to ILSVRC",
        ),
        ({VAL_LIST: "../../../../secret 1\n"}, "val", r"names '\.\./.*secret', which is outside the data set\.$"),
    ],
    ids=["split", "mapping", "solution", "no-labels", "number", "word", "no-mapping", "outside"],
)
def test_bad_lists_are_a_users_error(tmp_path: Path, changes: dict[str, str | None], split: str, sentence: str) -> None:
    root = imagenet(tmp_path)
    for name, text in changes.items():
        (root / name).unlink(missing_ok=True)
        if text is not None:
            write(root / name, text)
    with pytest.raises(UserError, match=sentence):
        open_imagenet(root, split)


def test_a_missing_folder_is_a_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none does not exist; `root` names the one that holds ILSVRC\.$"):
        open_imagenet(tmp_path / "none", "val")
    with pytest.raises(UserError, match=r"There is no ILSVRC/Data/CLS-LOC in "):
        open_imagenet(tmp_path, "val")
    picture(tmp_path / "ILSVRC/Data/CLS-LOC/val/a.JPEG")
    with pytest.raises(UserError, match=r"There is no folder .*train; unpack the images of train there"):
        open_imagenet(tmp_path, "train")


def test_bad_annotations_are_problems_and_the_others_stay(tmp_path: Path) -> None:
    root = imagenet(tmp_path)
    annotations = root / "ILSVRC/Annotations/CLS-LOC/val"
    write(annotations / f"{VAL[0]}.xml", "<annotation>")
    # One pixel over the border is how the corner of the last pixel is sometimes written; more is told.
    write(annotations / f"{VAL[1]}.xml", xml(WNIDS[0], (4, 5, 40, 32)))
    write(annotations / f"{VAL[2]}.xml", xml(WNIDS[1], (2, 3, 60, 12)))
    truth = read_imagenet_ground_truth(open_imagenet(root, "val"))
    assert list(truth.images) == VAL[1:]
    assert truth.images[VAL[1]].boxes_xyxy.tolist() == [[4, 5, 40, 32]]
    assert [problem.partition(": ")[0] for problem in truth.problems] == [f"{VAL[0]}.xml", f"{VAL[2]}.xml"]
    assert "reaches over the border" in truth.problems[1]


def test_the_settings_open_it(tmp_path: Path) -> None:
    settings = DataSettings(dataset="imagenet", root=imagenet(tmp_path), classes=(NAMES[1],))
    dataset = open_dataset(settings)
    truth = read_ground_truth(settings, dataset)
    assert truth is not None
    assert list(truth.images) == [VAL[2]]
