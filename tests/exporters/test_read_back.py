"""Each format read back by those who know nothing of wsloc, and by its own data sets."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from made_run import CLASSES, SCENE, mask_rle, record, scene_records, shows, write_photo, write_photos, write_run
from PIL import Image
from pycocotools import mask as coco_masks
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torchvision.datasets import CocoDetection, VOCDetection

from wsloc.boxes import from_voc
from wsloc.datasets.coco import open_coco, read_coco_ground_truth
from wsloc.datasets.voc import open_voc, read_voc_ground_truth
from wsloc.exporters.export_settings import LayoutSettings, SelectionSettings
from wsloc.exporters.exporting import export_run
from wsloc.exporters.formats import Export
from wsloc.exporters.source import Source
from wsloc.exporters.voc import whole_box

BOXES = [box for *_, box in SCENE]
SIZES = [size_wh for _, size_wh, *_ in SCENE]


def exported(tmp_path: Path, name: str, **layout: Any) -> Export:
    source = write_photos(tmp_path / "photos", name, layout.get("media"))
    run = write_run(tmp_path / "run", scene_records())
    return export_run(run, source, name, tmp_path / "out", layout=LayoutSettings(**layout))


def loaded(path: Path) -> COCO:
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


@pytest.mark.parametrize("outline", ["polygons", "boxes", "rle"])
def test_coco_by_pycocotools(outline: str, tmp_path: Path) -> None:
    coco = loaded(exported(tmp_path, "coco", segmentation=outline).path / "annotations/instances_train2017.json")
    assert [category["name"] for category in coco.loadCats(coco.getCatIds())] == list(CLASSES)
    assert coco.getAnnIds() == [1, 2, 3, 4, 5]
    for annotation, box, size_wh, (_, _, class_name, _) in zip(
        coco.dataset["annotations"], BOXES, SIZES, SCENE, strict=True
    ):
        x, y, width, height = annotation["bbox"]
        x0, y0, x1, y1 = box
        cells = coco_masks.decode(mask_rle(box, size_wh)).sum()
        area = cells * size_wh[0] * size_wh[1] / 16**2
        assert (x, y, x + width, y + height) == pytest.approx(box, abs=0.1)
        assert coco.loadCats(annotation["category_id"])[0]["name"] == class_name
        assert annotation["iscrowd"] == 0
        mask = coco.annToMask(annotation)
        assert mask.shape == size_wh[::-1]
        # Drawn by whole pixels, which the border of the outline cuts; the area is the mask's also where the box is it.
        assert mask.sum() == pytest.approx((x1 - x0) * (y1 - y0) if outline == "boxes" else area, rel=0.04)
        assert annotation["area"] == pytest.approx(area)
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        reach = 1 if outline == "boxes" else max(size_wh) / 16 + 1
        assert (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1) == pytest.approx(box, abs=reach)
        assert {"score", "probability", "quality", "method", "segmenter", "fallback"} <= annotation.keys()


def test_detections_that_are_the_labels_score_one(tmp_path: Path) -> None:
    coco = loaded(exported(tmp_path, "coco").path / "annotations/instances_train2017.json")
    with contextlib.redirect_stdout(io.StringIO()):
        found = coco.loadRes([{**one, "score": 0.5} for one in coco.dataset["annotations"]])
        evaluator = COCOeval(coco, found, "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    assert evaluator.stats[0] == pytest.approx(1.0)


def test_coco_by_torchvision(tmp_path: Path) -> None:
    export = exported(tmp_path, "coco")
    with contextlib.redirect_stdout(io.StringIO()):
        data = CocoDetection(
            str(export.image_folders["train"]), str(export.path / "annotations/instances_train2017.json")
        )
    assert len(data) == 5
    for (image, (target,)), box, size_wh in zip(data, BOXES, SIZES, strict=True):
        # It opens images by Pillow, which does not turn them.
        assert image.size == size_wh
        x, y, width, height = target["bbox"]
        assert (x, y, x + width, y + height) == pytest.approx(box, abs=0.1)
        assert shows(np.asarray(image), box)
        # What the reference scripts do to outlines before they draw them.
        assert all(isinstance(ring, list) and len(ring) >= 6 for ring in target["segmentation"])


@pytest.mark.parametrize("media", ["copy", "hardlink"])
@pytest.mark.parametrize("name", ["coco", "voc", "yolo", "imagefolder"])
def test_a_turned_image_is_the_same_for_each_reader(name: str, media: str, tmp_path: Path) -> None:
    export = exported(tmp_path, name, media=media)
    (row,) = (row for row in csv.DictReader((export.path / "images.csv").open()) if row["file"] == "turned.jpg")
    path = export.image_folders["train"] / row["exported_file"]
    by_pillow, by_opencv = np.asarray(Image.open(path)), cv2.imread(str(path))
    assert by_opencv is not None
    for pixels in (by_pillow, by_opencv, cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)):
        assert pixels.shape[:2] == (80, 48)
        assert shows(pixels, SCENE[3][3])
    assert Image.open(path).getexif().get(274) in (None, 1)


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize(
    ("suffix", "mode"),
    [("jpg", "RGB"), ("jpg", "CMYK"), ("png", "RGB"), ("webp", "RGB"), ("tif", "RGB"), ("tif", "CMYK"), ("tif", "L")],
)
def test_all_turns_of_all_types(suffix: str, mode: str, orientation: int, tmp_path: Path) -> None:
    box, size_wh = (4, 50, 20, 78), (48, 80)
    write_photo(tmp_path / "photos" / f"x.{suffix}", size_wh, box, orientation, mode)
    run = write_run(tmp_path / "run", [record(f"x.{suffix}", "cat", box, size_wh)])
    export = export_run(run, Source(tmp_path / "photos", ("cat",)), "coco", tmp_path / "out")
    (path,) = export.image_folders["train"].iterdir()
    for pixels in (
        np.asarray(Image.open(path).convert("RGB")),
        cv2.imread(str(path)),
        cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION),
    ):
        assert pixels is not None
        assert pixels.shape[:2] == (80, 48)
        assert shows(pixels, box)
    assert Image.open(path).getexif().get(274) in (None, 1)


def test_a_turned_image_that_stays_is_warned_of(tmp_path: Path) -> None:
    export = exported(tmp_path, "coco", media="none")
    (warning,) = export.manifest["warnings"]
    assert warning.startswith("1 image with an EXIF orientation, as in the run")
    # wsloc's own reader turns the image, and takes the annotation's size to tell the frame of its boxes.
    file = export.path / "annotations/instances_train2017.json"
    truth = read_coco_ground_truth(open_coco(tmp_path / "photos", "val2017", file), "val2017", file)
    assert truth.problems == ()
    (box,) = truth.images["4"].boxes_xyxy.tolist()
    assert box == pytest.approx(BOXES[3], abs=0.1)


@pytest.mark.parametrize(("name", "file"), [("coco", "instances_train2017.json"), ("cvat", "instances_default.json")])
def test_a_corrected_file_comes_back_as_truth(name: str, file: str, tmp_path: Path) -> None:
    export = exported(tmp_path, name, media="copy")
    path = export.path / "annotations" / file
    document = json.loads(path.read_text())
    corrected = document["annotations"][1]
    corrected["bbox"] = [1, 2, 30, 40]
    # Annotation tools keep what they know of, and renumber it.
    known = ("image_id", "category_id", "bbox", "iscrowd", "segmentation")
    document["annotations"] = [
        {"id": number, **{key: one[key] for key in known}}
        for number, one in enumerate(document["annotations"][:-1], start=50)
    ]
    (tmp_path / "corrected.json").write_text(json.dumps(document))
    split = "train2017" if name == "coco" else "images"
    dataset = open_coco(export.path, split, tmp_path / "corrected.json")
    assert dataset.class_names == CLASSES
    assert [image.labels for image in dataset.images] == [(name,) for _, _, name, _ in SCENE[:-1]] + [()]
    truth = read_coco_ground_truth(dataset, split, tmp_path / "corrected.json")
    assert truth.problems == ()
    for image, box in zip(truth.images.values(), [BOXES[0], (1, 2, 31, 42), *BOXES[2:4]], strict=False):
        assert image.boxes_xyxy[0].tolist() == pytest.approx(box, abs=0.1)
    assert len(truth.images["5"].boxes_xyxy) == 0
    assert (truth.read_masks is None) == (name == "cvat")


def test_cvat_has_boxes_alone(tmp_path: Path) -> None:
    export = exported(tmp_path, "cvat")
    document = json.loads((export.path / "annotations/instances_default.json").read_text())
    assert [one["segmentation"] for one in document["annotations"]] == [[]] * 5
    # At 16 pixels a side the mask of the first box has 9 x 10 of them, 3.75 x 2.5 pixels of the image each.
    assert document["annotations"][0]["area"] == 843.75
    assert [image["file_name"] for image in document["images"]] == [file for file, *_ in SCENE]


def test_voc_by_torchvision(tmp_path: Path) -> None:
    export = exported(tmp_path, "voc")
    data = VOCDetection(str(export.path), year="2012", image_set="train")
    assert len(data) == 5
    for (image, target), box, size_wh, (_, _, class_name, _) in zip(data, BOXES, SIZES, SCENE, strict=True):
        assert image.size == size_wh
        annotation = target["annotation"]
        assert (int(annotation["size"]["width"]), int(annotation["size"]["height"])) == size_wh
        (found,) = annotation["object"]
        assert found["name"] == class_name
        corners = [int(found["bndbox"][side]) for side in ("xmin", "ymin", "xmax", "ymax")]
        assert from_voc(*corners) == pytest.approx(box, abs=0.5)
        assert 1 <= corners[0] <= corners[2] <= size_wh[0]
        assert shows(np.asarray(image), from_voc(*corners))


def test_voc_by_wsloc(tmp_path: Path) -> None:
    source = Source(tmp_path / "photos", ("cat", "dog"))
    write_photo(source.root / "x y.png", (50, 40), (10, 10, 30, 30))
    write_photo(source.root / "z.jpg", (50, 40), (10, 10, 30, 30))
    boxes = [
        record("x y.png", "dog", (10, 10, 30, 30), (50, 40)),
        record("x y.png", "cat", (1, 1, 9, 9), (50, 40), quality=0.1),
        record("z.jpg", "cat", (10, 10, 30, 30), (50, 40)),
    ]
    run, selection = write_run(tmp_path / "run", boxes), SelectionSettings(ignore_below=0.3, uncertain="ignore")
    export = export_run(run, source, "voc", tmp_path / "out", selection)
    dataset = open_voc(export.path, "2012", "train")
    # A class that shows in difficult objects alone is no label.
    assert [image.labels for image in dataset.images] == [("dog",), ("cat",)]
    truth = list(read_voc_ground_truth(dataset).images.values())
    assert [list(zip(one.class_names, one.difficult.tolist(), strict=True)) for one in truth] == [
        [("dog", False), ("cat", True)],
        [("cat", False)],
    ]
    assert (export.path / "VOCdevkit/VOC2012/ImageSets/Main/cat_trainval.txt").read_text().splitlines()[1] == "z  1"


@given(
    st.tuples(*[st.floats(0, 1)] * 4),
    st.tuples(st.integers(1, 500), st.integers(1, 500)),
)
def test_whole_boxes_lie_in_the_image(fractions: tuple[float, ...], size_wh: tuple[int, int]) -> None:
    a, b, c, d = fractions
    box = (min(a, b) * size_wh[0], min(c, d) * size_wh[1], max(a, b) * size_wh[0], max(c, d) * size_wh[1])
    xmin, ymin, xmax, ymax = whole_box(box, size_wh)
    assert 1 <= xmin <= xmax <= size_wh[0]
    assert 1 <= ymin <= ymax <= size_wh[1]
    if min(box[2] - box[0], box[3] - box[1]) >= 1:
        assert from_voc(xmin, ymin, xmax, ymax) == pytest.approx(box, abs=0.5)


def test_yolo_by_hand(tmp_path: Path) -> None:
    export = exported(tmp_path, "yolo")
    data = yaml.safe_load((export.path / "data.yaml").read_text(encoding="utf-8"))
    assert data == {"train": "images/train", "val": "images/train", "names": dict(enumerate(CLASSES))}
    rows = list(csv.DictReader((export.path / "images.csv").open(encoding="utf-8")))
    for row, box, (width, height), (_, _, class_name, _) in zip(rows, BOXES, SIZES, SCENE, strict=True):
        name = row["exported_file"].rpartition(".")[0]
        number, x, y, w, h = map(float, (export.path / "labels/train" / f"{name}.txt").read_text().split())
        assert CLASSES[int(number)] == class_name
        found = ((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height)
        assert found == pytest.approx(box, abs=0.01)


def test_names_that_ultralytics_would_look_up_are_turned_round(tmp_path: Path) -> None:
    source = replace(write_photos(tmp_path / "photos"), class_names=("n01440764 tench", "n2 no id", *CLASSES))
    export = export_run(write_run(tmp_path / "run", scene_records()), source, "yolo", tmp_path / "out")
    names = yaml.safe_load((export.path / "data.yaml").read_text(encoding="utf-8"))["names"]
    assert (names[0], names[1]) == ("tench (n01440764)", "n2 no id")


def test_image_folder_by_hand(tmp_path: Path) -> None:
    export = exported(tmp_path, "imagefolder", val_fraction=0.5)
    lines = [
        (split, json.loads(line))
        for split in ("train", "validation")
        for line in (export.path / split / "metadata.jsonl").read_text().splitlines()
    ]
    assert len(lines) == 5
    by_id = {entry["image_id"]: (split, entry) for split, entry in lines}
    for file, size_wh, class_name, box in SCENE:
        split, entry = by_id[file]
        assert (export.path / split / entry["file_name"]).is_file()
        assert (entry["width"], entry["height"]) == size_wh
        assert entry["objects"]["class_name"] == [class_name]
        assert entry["objects"]["category"] == [CLASSES.index(class_name)]
        x, y, width, height = entry["objects"]["bbox"][0]
        assert (x, y, x + width, y + height) == pytest.approx(box, abs=0.1)


@pytest.mark.parametrize(
    ("media", "url"),
    [
        ("none", "/data/local-files/?d=photos/images/odd%20n%C3%A4me%20%231.jpg"),
        ("copy", "/data/local-files/?d=images/odd_n"),
    ],
)
def test_label_studio_by_hand(media: str, url: str, tmp_path: Path) -> None:
    export = exported(tmp_path, "label-studio", media=media)
    tasks = json.loads((export.path / "tasks.json").read_text())
    interface = ElementTree.fromstring((export.path / "interface.xml").read_text(encoding="utf-8"))
    assert [label.get("value") for label in interface.iter("Label")] == list(CLASSES)
    assert tasks[4]["data"]["image"].startswith(url)
    names = {element.get("name") for element in interface.iter()}
    for task, box, (width, height), (_, _, class_name, _) in zip(tasks, BOXES, SIZES, SCENE, strict=True):
        ((region,),) = (prediction["result"] for prediction in task["predictions"])
        assert {region["from_name"], region["to_name"]} <= names
        assert region["value"]["rectanglelabels"] == [class_name]
        value = region["value"]
        x0, y0 = value["x"] / 100 * width, value["y"] / 100 * height
        found = (x0, y0, x0 + value["width"] / 100 * width, y0 + value["height"] / 100 * height)
        assert found == pytest.approx(box, abs=0.1)
