"""From exports, runs and annotations to what a detector is trained on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_images import CLASSES, as_dataset, write_coco, write_images

from wsloc.datasets import Dataset
from wsloc.detection.data import (
    from_localizations,
    from_truth,
    matched,
    open_export,
    require_same_classes,
)
from wsloc.errors import UserError
from wsloc.records import ImageRecord, Localization


def test_classes_are_numbered_by_name_from_one(tmp_path: Path) -> None:
    dataset, truth = as_dataset(tmp_path, write_images(tmp_path, 2))
    for names in (("red", "green"), ("green", "red")):
        labels = from_truth(dataset, truth, names)
        for boxed in labels.images:
            told = [names[number - 1] for number in boxed.classes]
            assert told == list(truth.images[boxed.image.image_id].class_names)
            np.testing.assert_array_equal(boxed.boxes_xyxy, truth.images[boxed.image.image_id].boxes_xyxy)


def test_an_export_is_what_was_written(tmp_path: Path) -> None:
    objects = write_images(tmp_path / "train2017", 3)
    write_coco(tmp_path / "annotations" / "instances_train2017.json", objects)
    for named in (tmp_path, tmp_path / "annotations" / "instances_train2017.json"):
        dataset, truth = open_export(named)
        labels = from_truth(dataset, truth, dataset.class_names)
        assert [boxed.image.path for boxed in labels.images] == [tmp_path / "train2017" / file for file in objects]
        for boxed, own in zip(labels.images, objects.values(), strict=True):
            assert boxed.boxes_xyxy.tolist() == [list(box) for _, box in own]
            assert [CLASSES[number - 1] for number in boxed.classes] == [name for name, _ in own]


def test_crowds_and_difficult_objects_are_ignored_regions(tmp_path: Path) -> None:
    objects = write_images(tmp_path / "images", 1)
    write_coco(tmp_path / "annotations.json", objects, crowds={"00.png": [("green", (4, 6, 20, 30))]})
    dataset, truth = open_export(tmp_path)
    (boxed,) = from_truth(dataset, truth, CLASSES).images
    assert len(boxed.boxes_xyxy) == 2
    assert boxed.ignored_xyxy.tolist() == [[4, 6, 20, 30]]
    (own,) = truth.images.values()
    hard = replace(truth, images={own.image_id: replace(own, difficult=np.array([False, True]))})
    (boxed,) = from_truth(dataset, hard, CLASSES).images
    assert boxed.classes.tolist() == [1]
    assert boxed.ignored_xyxy.tolist() == [own.boxes_xyxy[1].tolist(), [4, 6, 20, 30]]


def test_images_without_boxes_stay_or_go(tmp_path: Path) -> None:
    objects = write_images(tmp_path, 3)
    objects["01.png"] = []
    write_coco(tmp_path / "instances.json", objects)
    dataset, truth = open_export(tmp_path)
    assert from_truth(dataset, truth, CLASSES).counts() == {"images": 3, "boxes": 4, "ignored": 0, "empty": 1}
    assert from_truth(dataset, truth, CLASSES, drop_empty=True).counts()["images"] == 2


@pytest.mark.parametrize("box", [[4, 5, -3, 3], [200, 5, 3, 3], "none", [0.25, 0.25, 0.5, 0.5]])
def test_an_image_with_a_malformed_box_is_no_background(tmp_path: Path, box: object) -> None:
    """Whether it has another box or not: the object would count as background."""
    objects = write_images(tmp_path, 4)
    objects["01.png"] = objects["01.png"][:1]
    objects["03.png"] = []
    path = tmp_path / "instances.json"
    write_coco(path, objects)
    document = json.loads(path.read_text())
    for annotation in document["annotations"]:
        if annotation["image_id"] == 2 or annotation["id"] == document["annotations"][-1]["id"]:
            annotation["bbox"] = box
    path.write_text(json.dumps(document))
    dataset, truth = open_export(tmp_path)
    labels = from_truth(dataset, truth, CLASSES)
    assert [boxed.image.path.name for boxed in labels.images] == ["00.png", "03.png"]
    assert [problem for problem in labels.problems if "image was left out" in problem] == [
        "01.png: the box of a red is malformed, so the image was left out",
        "02.png: the box of a green is malformed, so the image was left out",
    ]
    # Of a class that is not learned nothing is lost.
    assert len(from_truth(dataset, truth, ["red"]).images) == 3


def test_an_image_of_a_labeled_class_without_a_box_is_no_background(tmp_path: Path) -> None:
    """Nor is one whose truth is not there; an image without labels is."""
    objects = write_images(tmp_path, 4)
    objects["01.png"] = objects["01.png"][:1]
    objects["02.png"] = objects["03.png"] = []
    write_coco(tmp_path / "instances.json", objects)
    dataset, truth = open_export(tmp_path)
    labels = {"00.png": CLASSES, "01.png": CLASSES, "02.png": (CLASSES[1],), "03.png": ()}
    dataset = replace(dataset, images=tuple(replace(one, labels=labels[one.file]) for one in dataset.images))
    boxed = from_truth(dataset, truth, CLASSES)
    assert [one.image.path.name for one in boxed.images] == ["00.png", "03.png"]
    lacking = next(name for name in CLASSES if name != objects["01.png"][0][0])
    assert boxed.problems[-2:] == (
        f"01.png: it is labeled {lacking} without a box of it, so the image was left out",
        f"02.png: it is labeled {CLASSES[1]} without a box of it, so the image was left out",
    )
    # Labels that say what to look for, rather than what is there.
    assert len(from_truth(dataset, truth, CLASSES, labels_are_known=False).images) == 4
    some = {key: own for key, own in truth.images.items() if key == dataset.images[0].image_id}
    problems = from_truth(dataset, replace(truth, images=some, partial=True), CLASSES).problems
    assert problems[-1] == "03.png: it has no true box, so the image was left out"


def test_an_export_on_the_images_of_its_data_set(tmp_path: Path) -> None:
    """The exporter has flattened and renamed; ids, paths and labels are those of the data set."""
    objects = write_images(tmp_path / "export", 2)
    write_coco(tmp_path / "export" / "instances_train.json", objects)
    other, truth = open_export(tmp_path / "export")
    records = tuple(
        ImageRecord(f"id-{number}", f"JPEGImages/{number:02d}.jpg", tmp_path / "elsewhere", ("red",))
        for number in (1, 0)
    )
    dataset = Dataset("own", tmp_path, CLASSES, records)
    own, boxes = matched(dataset, other, truth)
    assert own.images == records
    assert boxes.images["id-0"].boxes_xyxy.tolist() == [list(box) for _, box in objects["00.png"]]
    assert boxes.images["id-1"].boxes_xyxy.tolist() == [list(box) for _, box in objects["01.png"]]
    with pytest.raises(UserError, match=r"no image of the name 01\.png; give the data set"):
        matched(replace(dataset, images=records[1:]), other, truth)
    twice = (replace(records[0], file="a/00.jpg"), replace(records[1], file="b/00.jpg"))
    with pytest.raises(UserError, match="several images of the name"):
        matched(replace(dataset, images=twice), other, truth)


def made_box(image_id: str, class_name: str, component: int = 0, quality: float = 0.5) -> Localization:
    return Localization(
        image_id,
        image_id,
        class_name,
        (1.0, 2.0, 30.0, 40.0),
        0.5,
        quality,
        0.1,
        "cam",
        "grabcut",
        None,
        component,
        (96, 96),
    )


def test_all_components_of_a_run_are_learned_and_failed_images_are_left_out(tmp_path: Path) -> None:
    dataset, _ = as_dataset(tmp_path, write_images(tmp_path, 3))
    boxes = [made_box("00.png", "red"), made_box("00.png", "red", 1), made_box("01.png", "green")]
    boxes.append(made_box("01.png", "blue"))
    labels = from_localizations(dataset, boxes, CLASSES, without=["02.png"])
    assert [(boxed.image.image_id, boxed.classes.tolist()) for boxed in labels.images] == [
        ("00.png", [1, 1]),
        ("01.png", [2]),
    ]
    assert labels.problems == ("02.png: a labeled class has no box, so the image was left out",)


def test_the_boxes_of_lowest_quality_are_ignored(tmp_path: Path) -> None:
    dataset, _ = as_dataset(tmp_path, write_images(tmp_path, 3))
    boxes = [
        made_box("00.png", "red", quality=0.3),
        made_box("00.png", "red", 1, quality=0.0),
        made_box("00.png", "green", quality=0.2),
        made_box("01.png", "green", quality=0.1),
        made_box("02.png", "red", quality=0.4),
    ]
    # Two of three red boxes, one of two green ones.
    labels = from_localizations(dataset, boxes, CLASSES, ignore_fraction=0.67)
    box = [1.0, 2.0, 30.0, 40.0]
    assert [(boxed.classes.tolist(), boxed.ignored_xyxy.tolist()) for boxed in labels.images] == [
        ([2], [box, box]),
        ([], [box]),
        ([1], []),
    ]
    assert labels.counts() == {"images": 3, "boxes": 2, "ignored": 3, "empty": 1}
    dropped = from_localizations(dataset, boxes, CLASSES, ignore_fraction=0.67, drop_empty=True)
    assert [boxed.image.image_id for boxed in dropped.images] == ["00.png", "02.png"]


@pytest.mark.parametrize(
    ("trained", "tested", "sentence"),
    [
        (("cat", "dog"), ("dog", "cat"), None),
        (("cat",), ("cat", "dog"), "the training labels have no dog; give `test_classes` with those that both have"),
        (("cat", "cow"), ("cat",), "the test set has no cow; give a test set of the same classes"),
        (("cow",), ("cat",), "the test set has no cow and the training labels have no cat"),
    ],
)
def test_other_classes_are_refused(trained: tuple[str, ...], tested: tuple[str, ...], sentence: str | None) -> None:
    if sentence is None:
        require_same_classes(trained, tested)
    else:
        with pytest.raises(UserError, match=sentence):
            require_same_classes(trained, tested)


def test_bad_exports_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist; `boxes_from` names an export"):
        open_export(tmp_path / "nothing")
    with pytest.raises(UserError, match="no COCO instances file"):
        open_export(tmp_path)
    objects = write_images(tmp_path / "images", 1)
    for name in ("instances_a.json", "instances_b.json"):
        write_coco(tmp_path / name, objects)
    with pytest.raises(UserError, match="several COCO instances files"):
        open_export(tmp_path)
    (tmp_path / "images" / "00.png").rename(tmp_path / "moved.png")
    with pytest.raises(UserError, match="`root` names the folder of the images"):
        open_export(tmp_path / "instances_a.json")
    write_coco(tmp_path / "empty.json", {"moved.png": []})
    dataset, truth = open_export(tmp_path / "empty.json")
    with pytest.raises(UserError, match="has no box of red, green to train on"):
        from_truth(dataset, truth, CLASSES)


def test_extra_keys_and_missing_ones_are_no_fault(tmp_path: Path) -> None:
    objects = write_images(tmp_path, 1)
    write_coco(tmp_path / "instances.json", objects)
    document = json.loads((tmp_path / "instances.json").read_text())
    for annotation in document["annotations"]:
        annotation.pop("iscrowd")
        annotation["quality"] = 0.3
    (tmp_path / "instances.json").write_text(json.dumps(document))
    dataset, truth = open_export(tmp_path)
    assert from_truth(dataset, truth, CLASSES).counts()["boxes"] == 2


def test_the_fingerprint_tells_labels_apart(tmp_path: Path) -> None:
    dataset, truth = as_dataset(tmp_path, write_images(tmp_path, 2))
    before = from_truth(dataset, truth, CLASSES).fingerprint()
    assert before == from_truth(dataset, truth, CLASSES).fingerprint()
    own = truth.images["00.png"]
    moved = {**truth.images, "00.png": replace(own, boxes_xyxy=own.boxes_xyxy + 0.5)}
    assert before != from_truth(dataset, replace(truth, images=moved), CLASSES).fingerprint()
    assert before != from_truth(dataset, truth, CLASSES[::-1]).fingerprint()
