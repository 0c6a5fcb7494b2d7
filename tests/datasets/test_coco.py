from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from wsloc import boxes
from wsloc.config import DataSettings
from wsloc.datasets import open_dataset, read_ground_truth
from wsloc.datasets.coco import open_coco, read_coco_ground_truth
from wsloc.datasets.coco_masks import draw_outline, read_outline
from wsloc.datasets.dataset import GroundTruthSet
from wsloc.errors import ItemError, UserError
from wsloc.images import read_image
from wsloc.records import TrueMasks

EXIF_ORIENTATION = 274
Entry = dict[str, Any]

# Columns 4 to 7 of rows 2 to 4, and the triangle under the diagonal of a square.
SQUARE = [[4.0, 2.0, 8.0, 2.0, 8.0, 5.0, 4.0, 5.0]]
TRIANGLE = [[20.0, 10.0, 30.0, 20.0, 20.0, 20.0]]


def _annotation(number: int, image_id: object, category_id: object, bbox: object, **more: object) -> Entry:
    return {"id": number, "image_id": image_id, "category_id": category_id, "bbox": bbox, **more}


def _crowd_runs(height: int, width: int, compressed: bool) -> Entry:
    """The two last columns as run lengths."""
    runs = {"size": [height, width], "counts": [height * (width - 2), height * 2]}
    if not compressed:
        return runs
    packed = coco_mask.frPyObjects(runs, height, width)
    return {"size": packed["size"], "counts": packed["counts"].decode()}


def _instances() -> Entry:
    """A file as COCO writes it; category ids have gaps and are not in order."""
    return {
        "info": {"year": 2017},
        "licenses": [],
        "images": [
            {"id": 42, "file_name": "000000000042.jpg", "width": 40, "height": 30, "license": 1},
            {"id": 7, "file_name": "000000000007.jpg", "width": 40, "height": 30},
            {"id": 9, "file_name": "000000000009.jpg", "width": 40, "height": 30},
        ],
        "annotations": [
            _annotation(900, 42, 18, [4, 2, 4, 3], area=12.0, iscrowd=0, segmentation=SQUARE),
            _annotation(901, 42, 1, [20, 10, 10, 10], area=50.0, iscrowd=0, segmentation=TRIANGLE),
            _annotation(902, 42, 18, [38, 0, 2, 30], area=60, iscrowd=1, segmentation=_crowd_runs(30, 40, False)),
            _annotation(903, 7, 3, [38, 0, 2, 30], area=60, iscrowd=1, segmentation=_crowd_runs(30, 40, True)),
        ],
        "categories": [
            {"supercategory": "animal", "id": 18, "name": "dog"},
            {"supercategory": "person", "id": 1, "name": "person"},
            {"supercategory": "vehicle", "id": 3, "name": "car"},
        ],
    }


def _write(
    root: Path,
    content: object,
    folder: str = "val2017",
    size_wh: tuple[int, int] = (40, 30),
    orientation: int = 1,
) -> Path:
    """The genuine layout: the JSON file and its images; returns the JSON file."""
    path = root / "annotations" / "instances_val2017.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    (root / folder).mkdir(parents=True, exist_ok=True)
    entries = content.get("images") if isinstance(content, dict) else None
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict) and isinstance(entry.get("file_name"), str) and ".." not in entry["file_name"]:
            file = root / folder / entry["file_name"].lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", size_wh).save(file, "JPEG", exif=exif)
    return path


def _truth(root: Path) -> GroundTruthSet:
    return read_coco_ground_truth(open_coco(root, "val2017"), "val2017")


def _one(
    root: Path, *annotations: Entry, annotated_wh: tuple[int, int] | None = (40, 30), **layout: Any
) -> GroundTruthSet:
    """The truth of image 42 with these annotations."""
    content = _instances()
    content["images"] = content["images"][:1]
    if annotated_wh is None:
        del content["images"][0]["width"], content["images"][0]["height"]
    else:
        content["images"][0]["width"], content["images"][0]["height"] = annotated_wh
    content["annotations"] = list(annotations)
    _write(root, content, **layout)
    return _truth(root)


def _masks(truth: GroundTruthSet, image_id: str = "42") -> TrueMasks:
    assert truth.read_masks is not None
    return truth.read_masks(image_id)


def test_labels_are_categories_with_an_object_that_is_no_crowd(tmp_path: Path) -> None:
    content = _instances()
    for annotation in content["annotations"]:
        annotation["bbox"] = "not looked at"
    _write(tmp_path, content)
    dataset = open_coco(tmp_path, "val2017")
    assert [(image.image_id, image.labels) for image in dataset.images] == [
        ("42", ("person", "dog")),
        ("7", ()),
        ("9", ()),
    ]
    assert dataset.class_names == ("person", "car", "dog")
    assert dataset.category_ids == (1, 3, 18)
    assert (dataset.name, dataset.label_map) == ("coco", "coco")
    assert dataset.images[0].file == "val2017/000000000042.jpg"
    assert dataset.images[0].path == tmp_path / "val2017" / "000000000042.jpg"


@pytest.mark.parametrize(
    ("categories", "used", "names", "ids"),
    [
        # Roboflow's root, also one that is called like a class.
        ([(0, "pets", "none"), (1, "cat", "pets"), (2, "dog", "pets")], (1, 2), ("cat", "dog"), (1, 2)),
        ([(0, "cat", "none"), (1, "cat", "cat"), (2, "dog", "cat")], (1, 2), ("cat", "dog"), (1, 2)),
        ([(0, "pets", None), (1, "cat", "pets")], (), ("cat",), (1,)),
        # A class, although it has the name of a group.
        ([(0, "pets", "none"), (1, "cat", "pets")], (0, 1), ("pets", "cat"), (0, 1)),
        ([(1, "person", "person"), (2, "cat", "animal")], (2,), ("person", "cat"), (1, 2)),
        ([(1, "dog", "animal"), (2, "poodle", "dog")], (2,), ("dog", "poodle"), (1, 2)),
        ([(0, "cat", ""), (1, "dog", "")], (0, 1), ("cat", "dog"), (0, 1)),
        # One name, several ids.
        ([(5, "cat", ""), (3, "cat", ""), (4, "dog", "")], (3, 4, 5), ("cat", "dog"), (3, 4)),
        ([(5, "cat", ""), (3, "cat", ""), (4, "dog", "")], (4, 5), ("dog", "cat"), (4, 5)),
        ([(3, "cat", ""), (3, "cat", "")], (3,), ("cat",), (3,)),
    ],
)
def test_classes_are_the_categories_that_differ_and_are_no_groups(
    tmp_path: Path,
    categories: list[tuple[int, str, str | None]],
    used: tuple[int, ...],
    names: tuple[str, ...],
    ids: tuple[int, ...],
) -> None:
    content = _instances()
    content["categories"] = [dict(zip(("id", "name", "supercategory"), one, strict=True)) for one in categories]
    content["annotations"] = [_annotation(one, 42, one, [4, 2, 4, 3]) for one in used]
    _write(tmp_path, content)
    dataset = open_coco(tmp_path, "val2017")
    assert (dataset.class_names, dataset.category_ids) == (names, ids)
    of_id = {key: name for key, name, _ in categories}
    assert _truth(tmp_path).images["42"].class_names == tuple(of_id[key] for key in used)


@pytest.mark.parametrize(
    ("given", "area"),
    [(7.5, 7.5), (0, 0), (None, 12), (-1, 12), ("7", 12), (float("nan"), 12), (True, 12), (10**400, 12)],
)
def test_areas_are_those_of_the_file(tmp_path: Path, given: object, area: float) -> None:
    truth = _one(tmp_path, _annotation(1, 42, 18, [4, 2, 4, 3], area=given))
    areas = truth.images["42"].areas
    assert areas is not None
    assert areas.tolist() == [area]


def test_a_box_that_was_left_out_is_known(tmp_path: Path) -> None:
    rows = [(18, [4, 2, 4, 3]), (1, [4, 2, -4, 3]), (3, "none"), (1, [90, 2, 4, 3]), (18, [0.1, 0.2, 0.5, 0.5])]
    annotations = [_annotation(number, 42, key, box) for number, (key, box) in enumerate(rows)]
    truth = _one(tmp_path, *annotations).images["42"]
    assert truth.class_names == ("dog",)
    assert truth.lost_class_names == ("person", "car", "person", "dog")


def test_boxes_and_crowd_regions(tmp_path: Path) -> None:
    _write(tmp_path, _instances())
    truth = _truth(tmp_path)
    found = truth.images["42"]
    assert found.boxes_xyxy.tolist() == [[4, 2, 8, 5], [20, 10, 30, 20]]
    assert found.class_names == ("dog", "person")
    assert found.difficult.tolist() == [False, False]
    assert found.crowd_xyxy.tolist() == [[38, 0, 40, 30]]
    assert found.crowd_class_names == ("dog",)
    assert found.size_wh == (40, 30)
    assert truth.images["7"].boxes_xyxy.shape == truth.images["9"].crowd_xyxy.shape == (0, 4)
    assert truth.images["7"].crowd_class_names == ("car",)
    assert (truth.problems, truth.ambiguous_orientations) == ((), 0)


def test_polygons_and_run_lengths_become_masks(tmp_path: Path) -> None:
    _write(tmp_path, _instances())
    truth = _truth(tmp_path)
    found = _masks(truth)
    square = np.zeros((30, 40), dtype=bool)
    square[2:5, 4:8] = True
    assert found.class_names == ("dog", "person")
    np.testing.assert_array_equal(found.masks[0], square)
    # Half of 10 x 10 pixels; the slanted side is pycocotools' own.
    assert 45 <= found.masks[1].sum() <= 55
    assert not found.masks[1][:, :20].any()
    assert (np.flatnonzero(found.ignored.any(axis=0)).tolist(), found.ignored.sum()) == ([38, 39], 60)
    without_objects = _masks(truth, "7")
    assert without_objects.masks.shape == (0, 30, 40)
    assert without_objects.ignored.sum() == 60
    assert not _masks(truth, "9").ignored.any()


def test_an_object_in_a_crowd_region_is_not_ignored(tmp_path: Path) -> None:
    crowd = _annotation(2, 42, 1, [38, 0, 2, 30], iscrowd=1, segmentation=_crowd_runs(30, 40, True))
    inside = _annotation(3, 42, 1, [37, 0, 3, 2], segmentation=[[37, 0, 40, 0, 40, 2, 37, 2]])
    found = _masks(_one(tmp_path, crowd, inside))
    assert found.masks.sum() == 6
    assert found.ignored.sum() == 60 - 4
    assert not (found.ignored & found.masks[0]).any()


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"segmentation": []},
        {"segmentation": None},
        {"iscrowd": 0},
        {"score": 0.9, "attributes": {"occluded": False}},
    ],
    ids=["bare", "empty", "null", "no-area", "of-a-tool"],
)
def test_corrected_files_need_nothing_but_a_box(tmp_path: Path, more: Entry) -> None:
    truth = _one(tmp_path, _annotation(1, 42, 18, [4, 2, 4, 3], **more))
    assert truth.images["42"].boxes_xyxy.tolist() == [[4, 2, 8, 5]]
    assert (truth.problems, truth.read_masks) == ((), None)


def test_ids_may_be_text_and_files_lie_in_sub_folders(tmp_path: Path) -> None:
    content = _instances()
    content["images"] = [{"id": "img/0042", "file_name": "sub/a b.png", "width": 40, "height": 30}]
    content["annotations"] = [{"image_id": "img/0042", "category_id": 18, "bbox": [4.5, 2.25, 4, 3]}]
    _write(tmp_path, content)
    dataset = open_coco(tmp_path, "val2017")
    assert [(image.image_id, image.file, image.labels) for image in dataset.images] == [
        ("img/0042", "val2017/sub/a b.png", ("dog",))
    ]
    assert _truth(tmp_path).images["img/0042"].boxes_xyxy.tolist() == [[4.5, 2.25, 8.5, 5.25]]


@pytest.mark.parametrize("folder", ["val2017", "images/val2017", "images", "."])
def test_images_are_found_where_the_first_of_them_lies(tmp_path: Path, folder: str) -> None:
    _write(tmp_path, _instances(), folder)
    for name in ("val2017", "images"):
        (tmp_path / name).mkdir(exist_ok=True)
    (tmp_path / folder / "000000000042.jpg").unlink()
    assert open_coco(tmp_path, "val2017").images[1].path == tmp_path / folder / "000000000007.jpg"


def test_the_settings_name_the_file_and_choose_images(tmp_path: Path) -> None:
    own = tmp_path / "corrected.json"
    _write(tmp_path / "coco", _instances(), "images").rename(own)
    settings = DataSettings(dataset="coco", root=tmp_path / "coco", annotations=own)
    dataset = open_dataset(settings)
    assert [image.image_id for image in dataset.images] == ["42"]
    assert dataset.category_ids == (1, 3, 18)
    truth = read_ground_truth(settings, dataset)
    assert truth is not None
    assert list(truth.images) == ["42"]


def _without(key: str) -> Callable[[Entry], None]:
    return lambda content: content.pop(key)


def _set(key: str, index: int, name: str, value: object) -> Callable[[Entry], None]:
    return lambda content: content[key][index].__setitem__(name, value)


def _drop(key: str, index: int, name: str) -> Callable[[Entry], None]:
    return lambda content: content[key][index].__delitem__(name)


def _to(key: str, value: object) -> Callable[[Entry], None]:
    return lambda content: content.__setitem__(key, value)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (_without("images"), "has no list 'images'"),
        (_without("annotations"), "has no list 'annotations'"),
        (_to("categories", {"1": "person"}), "has no list 'categories'"),
        (_to("categories", []), "has no category"),
        (_to("images", []), "has no image;"),
        (_to("images", [3]), "has an image without an id and a file_name: 3"),
        (_drop("images", 1, "id"), r"has an image without an id and a file_name: \{"),
        (_set("images", 1, "id", 7.5), "has an image without an id"),
        (_drop("images", 1, "file_name"), "has an image without an id and a file_name"),
        (_set("images", 1, "file_name", " "), "has an image without an id and a file_name"),
        (_set("images", 1, "id", 42), "has two images of the id 42"),
        (_set("images", 1, "id", "42"), "has two images of the id 42"),
        (_set("images", 1, "file_name", "../../secret.jpg"), r"names '\.\./\.\./secret\.jpg', which is outside"),
        (_set("images", 1, "file_name", "/etc/passwd"), "names '/etc/passwd', which is outside"),
        (_set("images", 1, "file_name", "..\\secret.jpg"), "which is outside"),
        (_set("images", 1, "file_name", "C:\\secret.jpg"), "which is outside"),
        (_set("categories", 0, "name", "\ud800"), "has a category without a whole-number id and a name"),
        (_drop("categories", 0, "name"), "has a category without a whole-number id and a name"),
        (_set("categories", 0, "id", "dog"), "has a category without a whole-number id and a name"),
        (_set("categories", 0, "id", True), "has a category without a whole-number id and a name"),
        (_set("categories", 0, "id", 1), "has two categories of the id 1; ids must be unique"),
    ],
)
def test_a_fault_of_the_whole_file_is_a_users_error(
    tmp_path: Path, spoil: Callable[[Entry], None], sentence: str
) -> None:
    content = _instances()
    spoil(content)
    path = _write(tmp_path, content)
    with pytest.raises(UserError, match=sentence) as caught:
        open_coco(tmp_path, "val2017")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "not valid JSON"),
        ('{"images": [', "not valid JSON"),
        ("\udcff".encode(errors="surrogateescape"), "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        (
            '[{"image_id": 42, "category_id": 18, "bbox": [4, 2, 4, 3], "score": 0.9}]',
            "is not an instances file but a list",
        ),
        ("null", "is not an instances file but a NoneType"),
    ],
    ids=["empty", "cut", "binary", "deep", "detections", "null"],
)
def test_what_is_no_instances_file_is_a_users_error(tmp_path: Path, text: str | bytes, sentence: str) -> None:
    path = _write(tmp_path, _instances())
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=sentence):
        open_coco(tmp_path, "val2017")


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    path = _write(tmp_path, _instances())
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(open_coco(tmp_path, "val2017").images) == 3


def test_missing_folders_files_and_images_are_a_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none does not exist; `root` names"):
        open_coco(tmp_path / "none", "val2017")
    with pytest.raises(UserError, match=r"There is no .*instances_val2017\.json; `annotations` names another file"):
        open_coco(tmp_path, "val2017")
    path = _write(tmp_path, _instances())
    with pytest.raises(UserError, match=r"no .*instances_train2017\.json; there are the splits val2017\."):
        open_coco(tmp_path, split="train2017")
    with pytest.raises(UserError, match=r"other\.json do not exist; `annotations` names"):
        open_coco(tmp_path, "val2017", tmp_path / "other.json")
    for file in (tmp_path / "val2017").iterdir():
        file.unlink()
    with pytest.raises(UserError, match=r"None of the 3 images of .* \(such as 000000000042\.jpg\) is in .*; `root`"):
        open_coco(tmp_path, "val2017", path)


@pytest.mark.parametrize(
    ("entry", "sentence", "labeled"),
    [
        (_annotation(1, 43, 18, [4, 2, 4, 3]), "annotation 1 is of an unknown image 43, and was left out", False),
        (_annotation(1, None, 18, [4, 2, 4, 3]), "annotation 1 is of an unknown image null", False),
        (_annotation(1, 42, 2, [4, 2, 4, 3]), "annotation 1 is of an unknown category 2, and was left out", False),
        (_annotation(1, 42, [18], [4, 2, 4, 3]), "annotation 1 is of an unknown category [18]", False),
        ("annotation", 'an annotation is not an object but "annotation"', False),
        (_annotation(1, 42, 18, None), "the bbox of a dog (annotation 1) is not four finite numbers", True),
        (_annotation(1, 42, 18, [4, 2, 4]), "is not four finite numbers, and it was left out", True),
        (_annotation(1, 42, 18, [4, 2, "4", 3]), "is not four finite numbers", True),
        (_annotation(1, 42, 18, [4, 2, float("nan"), 3]), "is not four finite numbers", True),
        (_annotation(1, 42, 18, [4, 2, float("inf"), 3]), "is not four finite numbers", True),
        (_annotation(1, 42, 18, [4, 2, 10**400, 3]), "is not four finite numbers", True),
        (
            _annotation(1, 42, 18, [4, 2, 0, 3]),
            "the box of a dog (annotation 1) is inverted or outside the image",
            True,
        ),
        (_annotation(1, 42, 18, [4, 2, 4, -1]), "is inverted or outside the image, and was left out", True),
        (_annotation(1, 42, 18, [40, 2, 4, 3]), "is inverted or outside the image, and was left out", True),
        (_annotation(1, 42, 18, [4, 2, 0, 3], iscrowd=1), "is inverted or outside the image", False),
    ],
)
def test_a_faulty_annotation_is_left_out_and_told(tmp_path: Path, entry: Entry, sentence: str, labeled: bool) -> None:
    truth = _one(tmp_path, entry, _annotation(2, 42, 1, [20, 10, 10, 10]))
    assert truth.images["42"].boxes_xyxy.tolist() == [[20, 10, 30, 20]]
    assert truth.images["42"].class_names == ("person",)
    (told,) = truth.problems
    assert sentence in told
    # Labels are read without a look at the boxes.
    assert ("dog" in open_coco(tmp_path, "val2017").images[0].labels) is labeled


def test_a_repeated_annotation_counts_once_and_a_shared_id_twice(tmp_path: Path) -> None:
    entry = _annotation(5, 42, 18, [4, 2, 4, 3])
    other = _annotation(5, 42, 18, [20, 10, 10, 10])
    truth = _one(tmp_path, entry, copy.deepcopy(entry), other)
    assert truth.images["42"].boxes_xyxy.tolist() == [[4, 2, 8, 5], [20, 10, 30, 20]]
    assert truth.problems == (
        "instances_val2017.json: annotation 5 occurs twice, and was left out once",
        "instances_val2017.json: 1 annotations have the id of another one, and were kept",
    )


@pytest.mark.parametrize(
    ("bbox", "kept", "told"),
    [
        ([-0.5, 2, 10.5, 3], [0, 2, 10, 5], False),
        ([30, 20, 11, 11], [30, 20, 40, 30], False),
        ([30, 20, 11.01, 5], [30, 20, 40, 25], True),
        ([-3, 2, 10, 3], [0, 2, 7, 5], True),
    ],
)
def test_boxes_over_the_border_are_cut_off(tmp_path: Path, bbox: list[float], kept: list[float], told: bool) -> None:
    """COCO's own boxes reach over it by parts of a pixel, which is not worth a sentence."""
    truth = _one(tmp_path, _annotation(1, 42, 18, bbox))
    assert truth.images["42"].boxes_xyxy.tolist() == [kept]
    assert [("over the border" in sentence) for sentence in truth.problems] == ([True] if told else [])


@pytest.mark.parametrize(
    ("annotated_wh", "orientation", "expected", "size_wh", "ambiguous"),
    [
        # Orientation 6 turns the stored 40 x 30 clockwise: (x0, y0, x1, y1) becomes (30 - y1, x0, 30 - y0, x1).
        ((40, 30), 6, [25, 4, 28, 8], (30, 40), 0),
        ((30, 40), 6, [4, 2, 8, 5], (30, 40), 0),
        (None, 6, [25, 4, 28, 8], (30, 40), 1),
        ((40, 30), 3, [32, 25, 36, 28], (40, 30), 1),
        ((40, 30), 1, [4, 2, 8, 5], (40, 30), 0),
        (None, 1, [4, 2, 8, 5], (40, 30), 0),
    ],
)
def test_boxes_and_masks_are_in_the_frame_of_the_turned_image(
    tmp_path: Path,
    annotated_wh: tuple[int, int] | None,
    orientation: int,
    expected: list[int],
    size_wh: tuple[int, int],
    ambiguous: int,
) -> None:
    entry = _annotation(1, 42, 18, [4, 2, 4, 3], segmentation=SQUARE)
    truth = _one(tmp_path, entry, annotated_wh=annotated_wh, orientation=orientation)
    assert truth.images["42"].boxes_xyxy.tolist() == [expected]
    assert truth.images["42"].size_wh == size_wh
    assert truth.ambiguous_orientations == ambiguous
    assert truth.problems == ()
    (mask,) = _masks(truth).masks
    x0, y0, x1, y1 = expected
    assert mask.shape == size_wh[::-1]
    assert mask.sum() == mask[y0:y1, x0:x1].sum() == 12


@pytest.mark.parametrize(("annotated_wh", "kept"), [((40, 30), True), (None, False)])
def test_an_unreadable_image_keeps_its_truth_where_the_file_has_a_size(
    tmp_path: Path, annotated_wh: tuple[int, int] | None, kept: bool
) -> None:
    _one(tmp_path, _annotation(1, 42, 18, [4, 2, 4, 3], segmentation=SQUARE), annotated_wh=annotated_wh)
    (tmp_path / "val2017" / "000000000042.jpg").write_bytes(b"no image")
    truth = _truth(tmp_path)
    assert ("42" in truth.images) is kept
    assert bool(truth.problems) is not kept
    if kept:
        assert truth.images["42"].size_wh == (40, 30)
        assert _masks(truth).masks.sum() == 12


def test_another_size_than_the_images_is_told(tmp_path: Path) -> None:
    """Images that were made smaller after they were annotated: every box is wrong."""
    truth = _one(tmp_path, _annotation(1, 42, 18, [4, 2, 4, 3], segmentation=SQUARE), annotated_wh=(80, 60))
    assert truth.problems == ("val2017/000000000042.jpg: 80 x 60 pixels in the annotations, but the image has 40 x 30",)
    with pytest.raises(ItemError, match="outlines are of 80 x 60 pixels, but the image has 40 x 30"):
        _masks(truth)


HUGE = [[0, 0, 1e9, 0, 2, 2, 0, 2]]


@pytest.mark.parametrize(
    "segmentation",
    [
        [[4, 2, 8, 2]],
        [[4, 2, 8, 2, 8]],
        [[4, 2, 8, 2, 8, "5"]],
        [[4, 2, 8, 2, 8, [5]]],
        [[4, 2, 8, 2, 8, float("nan")]],
        [SQUARE[0], []],
        ["polygon"],
        "polygon",
        HUGE,
        {"size": [30, 40]},
        {"counts": [1200]},
        {"size": [40, 30], "counts": [1200]},
        {"size": [30, 40], "counts": [3, 2]},
        {"size": [30, 40], "counts": [1300, -100]},
        {"size": [30, 40], "counts": [1200.0]},
        {"size": [30, 40], "counts": [600, 10**30]},
        {"size": [30, 40], "counts": ""},
        {"size": [30, 40], "counts": "~~~~"},
        {"size": [30, 40], "counts": "PPPPPPPPPP"},
        {"size": [30, 40], "counts": "1é"},
        {"size": [30, 40], "counts": "`U1P"},  # 1200 pixels of background, and the beginning of a number
    ],
)
def test_a_malformed_outline_is_told_and_its_box_undecided(tmp_path: Path, segmentation: object) -> None:
    """pycocotools reads past the end of short run lengths, and crashes on a vertex far outside."""
    bad = _annotation(1, 42, 18, [3.5, 2, 4, 3], segmentation=segmentation)
    good = _annotation(2, 42, 1, [6, 2, 10, 2], segmentation=[[6, 2, 16, 2, 16, 4, 6, 4]])
    truth = _one(tmp_path, bad, good)
    assert truth.images["42"].class_names == ("dog", "person")
    (told,) = truth.problems
    assert told == (
        "val2017/000000000042.jpg: the outline of a dog (annotation 1) is malformed; "
        "its box is left undecided in the masks"
    )
    found = _masks(truth)
    assert found.class_names == ("person",)
    assert found.masks.sum() == 20
    # Columns 3 to 7 of rows 2 to 4, but for the four pixels of the person.
    assert found.ignored.sum() == 15 - 4
    assert found.ignored[2:5, 3:8].sum() == 11


def test_missing_outlines_are_told_where_others_have_one(tmp_path: Path) -> None:
    content = _instances()
    content["annotations"] = [
        _annotation(1, 42, 18, [4, 2, 4, 3]),
        _annotation(2, 42, 1, [20, 10, 10, 10], segmentation=TRIANGLE),
        _annotation(3, 7, 1, [20, 10, 10, 10], segmentation=[]),
    ]
    _write(tmp_path, content)
    truth = _truth(tmp_path)
    assert [sentence.split(";")[0] for sentence in truth.problems] == [
        "val2017/000000000042.jpg: a dog (annotation 1) has no outline",
        "val2017/000000000007.jpg: a person (annotation 3) has no outline",
    ]
    found = _masks(truth)
    assert (found.class_names, found.ignored.sum()) == (("person",), 12)
    with pytest.raises(ItemError, match="none of the image's objects has an outline"):
        _masks(truth, "7")
    with pytest.raises(ItemError, match="no annotations that can be read"):
        _masks(truth, "1")


@given(
    size_hw=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    seed=st.integers(0, 2**32 - 1),
    fraction=st.sampled_from([0.0, 0.01, 0.5, 1.0]),
    compressed=st.booleans(),
)
def test_run_lengths_are_read_as_pycocotools_writes_them(
    size_hw: tuple[int, int], seed: int, fraction: float, compressed: bool
) -> None:
    mask = np.random.default_rng(seed).random(size_hw) < fraction
    packed = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    counts: object = packed["counts"].decode()
    if not compressed:
        values = np.concatenate([[False], mask.T.ravel()])
        counts = np.diff([0, *np.flatnonzero(np.diff(values)), mask.size]).tolist()
    outline = read_outline({"size": list(size_hw), "counts": counts}, (size_hw[1], size_hw[0]))
    assert outline is not None
    np.testing.assert_array_equal(draw_outline(outline, (size_hw[1], size_hw[0])), mask)


def _random_file(root: Path) -> Path:
    """Ten images with boxes, polygons of one or two rings, and run lengths."""
    generator = np.random.default_rng(5)
    content: Entry = {"images": [], "annotations": [], "categories": _instances()["categories"]}
    for number in range(10):
        content["images"].append({"id": number, "file_name": f"{number}.jpg", "width": 40, "height": 30})
        for _ in range(generator.integers(0, 9)):
            rings = [(generator.random((5, 2)) * [40, 30]).round(2) for _ in range(generator.integers(1, 3))]
            points = np.concatenate(rings)
            low, high = points.min(axis=0), points.max(axis=0)
            is_crowd = generator.random() < 0.2
            content["annotations"].append(
                _annotation(
                    len(content["annotations"]) + 1,
                    number,
                    int(generator.choice([1, 3, 18])),
                    [*low.tolist(), *(high - low).tolist()],
                    iscrowd=int(is_crowd),
                    area=1.0,
                    segmentation=_crowd_runs(30, 40, bool(number % 2))
                    if is_crowd or generator.random() < 0.2
                    else [ring.ravel().tolist() for ring in rings],
                )
            )
    return _write(root, content)


def test_boxes_and_masks_are_those_of_pycocotools(tmp_path: Path) -> None:
    oracle = COCO(str(_random_file(tmp_path)))
    dataset = open_coco(tmp_path, "val2017")
    truth = read_coco_ground_truth(dataset, "val2017")
    assert truth.problems == ()
    assert dataset.category_ids is not None
    numbers = dict(zip(dataset.class_names, dataset.category_ids, strict=True))
    compared = 0
    for image_id, found in truth.images.items():
        objects = oracle.loadAnns(oracle.getAnnIds([int(image_id)], iscrowd=False))
        crowds = oracle.loadAnns(oracle.getAnnIds([int(image_id)], iscrowd=True))
        masks = _masks(truth, image_id)
        assert [numbers[name] for name in found.class_names] == [entry["category_id"] for entry in objects]
        assert [numbers[name] for name in found.crowd_class_names] == [entry["category_id"] for entry in crowds]
        assert masks.class_names == found.class_names
        np.testing.assert_allclose(boxes.to_xywh(found.boxes_xyxy), boxes.as_boxes([e["bbox"] for e in objects]))
        np.testing.assert_allclose(boxes.to_xywh(found.crowd_xyxy), boxes.as_boxes([e["bbox"] for e in crowds]))
        for mask, entry in zip(masks.masks, objects, strict=True):
            np.testing.assert_array_equal(mask, oracle.annToMask(entry))
        ignored = np.zeros((30, 40), dtype=bool)
        for entry in crowds:
            ignored |= oracle.annToMask(entry) > 0
        np.testing.assert_array_equal(masks.ignored, ignored & ~masks.masks.any(axis=0))
        compared += len(objects)
    assert compared > 20


def test_real_photographs_have_the_boxes_of_pycocotools(shared: Path) -> None:
    root = shared / "coco"
    oracle = COCO(str(root / "annotations" / "instances_val2017.json"))
    dataset = open_coco(root, "val2017")
    truth = read_coco_ground_truth(dataset, "val2017")
    assert (len(dataset.images), len(dataset.class_names)) == (100, 80)
    assert dataset.class_names[0] == "person"
    assert dataset.category_ids == tuple(sorted(oracle.getCatIds()))
    assert truth.problems == ()
    assert truth.read_masks is None
    numbers = dict(zip(dataset.class_names, dataset.category_ids, strict=True))
    for image in dataset.images:
        found = truth.images[image.image_id]
        width, height = found.size_wh
        assert (found.boxes_xyxy >= 0).all()
        assert (found.boxes_xyxy <= [width, height, width, height]).all()
        for name in dataset.class_names:
            ids = oracle.getAnnIds([int(image.image_id)], [numbers[name]], iscrowd=False)
            mine = found.boxes_xyxy[[other == name for other in found.class_names]]
            assert (len(mine) > 0) is (name in image.labels)
            theirs = boxes.as_boxes([entry["bbox"] for entry in oracle.loadAnns(ids)])
            # Rounding lets the file's boxes reach over the border, where ours end.
            np.testing.assert_allclose(mine, boxes.clip(boxes.from_xywh(theirs), found.size_wh))
    first = dataset.images[0]
    assert read_image(first.path).shape[:2] == truth.images[first.image_id].size_wh[::-1]


@pytest.mark.parametrize("change", [float, str, lambda number: f"{number}.0"], ids=["floats", "text", "text-floats"])
@pytest.mark.parametrize("keys", [("image_id",), ("category_id",), ("image_id", "category_id", "id")], ids=str)
def test_ids_of_annotations_may_be_written_otherwise(
    tmp_path: Path, change: Callable[[int], object], keys: tuple[str, ...]
) -> None:
    content = _instances()
    _write(tmp_path, content)
    expected = open_coco(tmp_path, "val2017")
    for annotation in content["annotations"]:
        annotation.update({key: change(annotation[key]) for key in keys})
    _write(tmp_path, content)
    assert open_coco(tmp_path, "val2017") == expected
    assert _truth(tmp_path).problems == ()


def test_ids_of_images_and_categories_may_be_floats_and_text(tmp_path: Path) -> None:
    content = _instances()
    _write(tmp_path, content)
    expected = open_coco(tmp_path, "val2017")
    for image in content["images"]:
        image.update(id=float(image["id"]), width=40.0, height="30")
    for category in content["categories"]:
        category["id"] = str(category["id"])
    _write(tmp_path, content)
    assert open_coco(tmp_path, "val2017") == expected
    assert _truth(tmp_path).images["42"].size_wh == (40, 30)


def test_text_that_looks_like_a_number_stays_text(tmp_path: Path) -> None:
    content = _instances()
    for image, name in zip(content["images"], ("007", "7", "x"), strict=True):
        image["id"] = name
    ids = [7, "007", "7.0", "07"]
    content["annotations"] = [_annotation(n, image_id, 18, [4, 2, 4, 3]) for n, image_id in enumerate(ids)]
    _write(tmp_path, content)
    truth = _truth(tmp_path)
    assert {name: len(found.class_names) for name, found in truth.images.items()} == {"007": 1, "7": 2, "x": 0}
    assert truth.problems == ('instances_val2017.json: annotation 3 is of an unknown image "07", and was left out',)


def test_annotations_of_other_images_alone_are_a_users_error(tmp_path: Path) -> None:
    content = _instances()
    for annotation in content["annotations"]:
        annotation["image_id"] = 1000
    _write(tmp_path, content)
    with pytest.raises(UserError, match=r"None of the 4 annotations of .*: annotation 900 is of an unknown image 1000"):
        open_coco(tmp_path, "val2017")


def test_backslashes_between_folders(tmp_path: Path) -> None:
    content = _instances()
    _write(tmp_path, content, "images")
    for image in content["images"]:
        image["file_name"] = f"images\\{image['file_name']}"
    path = tmp_path / "annotations" / "instances_val2017.json"
    path.write_text(json.dumps(content))
    assert open_coco(tmp_path, "val2017").images[0].file == "images/000000000042.jpg"
    Image.new("RGB", (40, 30)).save(tmp_path / content["images"][0]["file_name"], "JPEG")
    assert open_coco(tmp_path, "val2017").images[0].file == "images\\000000000042.jpg"


@pytest.mark.parametrize(
    ("annotated_wh", "size_wh", "sentence"),
    [
        ((10_000, 10_000), (40, 30), r"outlines are of 10000 x 10000 pixels, but the image has 40 x 30$"),
        ((10_000, 10_000), None, r"its 600 masks of 10000 x 10000 pixels are too large$"),
        ((200, 200), None, r"its 600 masks of 200 x 200 pixels are too large$"),
        ((2_000, 1_000), (2_000, 1_000), r"its 600 masks of 2000 x 1000 pixels are too large$"),
    ],
)
def test_run_lengths_fill_no_more_than_the_image(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    annotated_wh: tuple[int, int],
    size_wh: tuple[int, int] | None,
    sentence: str,
) -> None:
    """A few bytes of them can say any size, as often as the file likes."""
    width, height = annotated_wh
    runs = {"size": [height, width], "counts": [0, width * height]}
    annotations = [_annotation(number, 42, 18, [4, 2, 4, 3], segmentation=runs) for number in range(600)]
    truth = _one(tmp_path, *annotations, annotated_wh=annotated_wh, size_wh=size_wh or (40, 30))
    if size_wh is None:
        next(tmp_path.rglob("*42.jpg")).write_bytes(b"no image")
        truth = _truth(tmp_path)
    monkeypatch.setattr("wsloc.datasets.coco_masks.draw_outline", lambda *_: pytest.fail("a mask was drawn"))
    with pytest.raises(ItemError, match=sentence):
        _masks(truth)
