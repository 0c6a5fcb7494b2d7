"""Whatever a file holds, its reader raises nothing but the errors that have a sentence for the user."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from layouts import picture, write

from wsloc.config import DataSettings
from wsloc.datasets import read_ground_truth
from wsloc.datasets.registry import open_images
from wsloc.errors import ItemError, UserError

FUZZ = settings(max_examples=60, suppress_health_check=list(HealthCheck))
HUGE = st.sampled_from(
    ["9" * 5000, "1e400", "-1e308", "1e308", "nan", "-inf", "1_0", "\u0663", "\x00", "", " 7 ", "0x10"]
)
NUMBERS = st.one_of(HUGE, st.integers(-(10**30), 10**30).map(str), st.floats().map(repr), st.text(max_size=6))
LEAVES: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 90), st.floats(),
    st.sampled_from([10**400, -(10**30), 2**63, 1e308, "a.jpg", "cat", ""]), st.text(max_size=4),
)  # fmt: skip
JSON = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=8), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
)


def _read(data: DataSettings) -> None:
    """Open a data set, and read its boxes and masks."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of NumPy, for numbers near the end of their range
        try:
            dataset = open_images(data)
            truth = read_ground_truth(data, dataset)
        except UserError:
            return
        assert truth is not None
        for image in dataset.images:
            if truth.read_masks is not None:
                try:
                    truth.read_masks(image.image_id)
                except ItemError:
                    continue


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    folder = tmp_path / "VOCdevkit/VOC2012"
    picture(folder / "JPEGImages/a.jpg")
    for name in ("trainval", "cat_trainval"):
        write(folder / f"ImageSets/Main/{name}.txt", "a 1\nb 1\n" if "_" in name else "a\nb\n")
    (folder / "Annotations").mkdir()
    return tmp_path


def _write_xml(root: Path, content: bytes) -> None:
    for name in "ab":  # b is of an image that is missing: its size is that of the annotation
        (root / f"VOCdevkit/VOC2012/Annotations/{name}.xml").write_bytes(content)


@FUZZ
@given(
    content=st.one_of(st.binary(max_size=60), st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace")))
)
def test_voc_any_bytes(voc: Path, content: bytes) -> None:
    for head in (b"", b"<annotation>", b"\xff\xfe", b"\xfe\xff\x00<", b"\x00\x00\xfe\xff", b"\xef\xbb\xbf"):
        _write_xml(voc, head + content)
        _read(DataSettings("voc", voc))


@FUZZ
@given(encoding=st.from_regex(r"[A-Za-z][A-Za-z0-9._-]{0,12}", fullmatch=True), content=st.binary(max_size=20))
@pytest.mark.parametrize(
    "named", ["", "hex", "zlib", "punycode", "idna", "undefined", "utf-7", "cp037", "charmap", "utf_16"]
)
def test_voc_any_encoding(voc: Path, named: str, encoding: str, content: bytes) -> None:
    head = f'<?xml version="1.0" encoding="{named or encoding}"?><annotation>'.encode()
    _write_xml(voc, head + content + b"</annotation>")
    _read(DataSettings("voc", voc))


@FUZZ
@given(fields=st.lists(NUMBERS, min_size=6, max_size=6), flag=NUMBERS)
def test_voc_any_numbers(voc: Path, fields: list[str], flag: str) -> None:
    width, height, *box = (field.replace("&", "").replace("<", "") for field in fields)
    sides = "".join(f"<{side}>{v}</{side}>" for side, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    text = (
        f"<annotation><size><width>{width}</width><height>{height}</height></size><object><name>cat</name><difficult>"
        f"{flag.replace('<', '').replace('&', '')}</difficult><bndbox>{sides}</bndbox></object></annotation>"
    )
    _write_xml(voc, text.encode("utf-8", "replace"))
    _read(DataSettings("voc", voc))


def test_voc_nested_without_end(voc: Path) -> None:
    _write_xml(voc, b"<annotation>" + b"<object>" * 50_000 + b"</object>" * 50_000 + b"</annotation>")
    _read(DataSettings("voc", voc))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    picture(tmp_path / "photos/a.jpg")
    return tmp_path


@FUZZ
@given(changes=st.lists(st.tuples(st.sampled_from(["images", "annotations", "categories"]),
    st.sampled_from(["id", "file_name", "width", "height", "image_id", "category_id", "bbox", "segmentation", "area",
                     "iscrowd", "name", "supercategory"]), JSON), max_size=4), missing=st.booleans())  # fmt: skip
def test_coco_any_value(photos: Path, changes: list[tuple[str, str, Any]], missing: bool) -> None:
    """With the image, and with one that is missing beside it, whose size is that of the annotation."""
    document: dict[str, list[dict[str, Any]]] = {
        "images": [{"id": 2, "file_name": "b.jpg", "width": 40, "height": 32}] * missing
        + [{"id": 1, "file_name": "a.jpg", "width": 40, "height": 32}],
        "annotations": [
            {"id": 1, "image_id": 1 + missing, "category_id": 1, "bbox": [4, 5, 16, 20],
             "segmentation": {"size": [32, 40], "counts": [0, 1280]}}
        ],
        "categories": [{"id": 1, "name": "cat"}],
    }  # fmt: skip
    for part, key, value in changes:
        document[part][0] |= {key: value}
    (photos / "own.json").write_text(json.dumps(document))
    _read(DataSettings("coco", photos / "photos", annotations=photos / "own.json"))
    _read(DataSettings("folder", photos / "photos", annotations=photos / "own.json"))


@FUZZ
@given(document=JSON, part=st.sampled_from(["images", "annotations", "categories", ""]))
def test_coco_any_shape(photos: Path, document: Any, part: str) -> None:
    sound = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [], "categories": [{"id": 1, "name": "cat"}]}
    (photos / "own.json").write_text(json.dumps({**sound, part: document} if part else document))
    _read(DataSettings("coco", photos / "photos", annotations=photos / "own.json"))


@FUZZ
@given(
    rings=st.lists(st.lists(st.one_of(st.floats(), st.integers()), max_size=9), max_size=3),
    counts=st.one_of(st.none(), st.text(max_size=9), st.lists(st.integers())),
)
def test_coco_any_outline(photos: Path, rings: list[list[float]], counts: str | list[int] | None) -> None:
    segmentation = rings if counts is None else {"size": [32, 40], "counts": counts}
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [4, 5, 16, 20], "segmentation": segmentation}
    sound = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 40, "height": 32}],
        "categories": [{"id": 1, "name": "cat"}],
    }
    (photos / "own.json").write_text(json.dumps({**sound, "annotations": [annotation]}))
    _read(DataSettings("coco", photos / "photos", annotations=photos / "own.json"))


@FUZZ
@given(rows=st.lists(st.lists(NUMBERS, max_size=7), max_size=3), content=st.binary(max_size=30))
def test_boxes_of_any_rows(photos: Path, rows: list[list[str]], content: bytes) -> None:
    boxes = photos / "boxes.csv"
    text = "".join(f"a.jpg,cat,{','.join(row)}\n" for row in rows)
    boxes.write_bytes(text.encode("utf-8", "replace") + content)
    _read(DataSettings("folder", photos / "photos", boxes=boxes))


@pytest.mark.parametrize("value", ["9" * 5000, "999999999999", "-1"])
@pytest.mark.parametrize(
    ("table", "row"), [("class_labels", "{}"), ("image_sizes", "{},32"), ("localization", "4,5,{},24")]
)
def test_tables_of_wsolevaluation_with_long_numbers(photos: Path, table: str, row: str, value: str) -> None:
    rows = {"image_ids": "", "class_labels": "0", "image_sizes": "40,32", "localization": "4,5,19,24"}
    for name, values in (rows | {table: row.format(value)}).items():
        write(photos / f"{name}.txt", f"a.jpg,{values}\nb.jpg,{values}\n")
    _read(DataSettings("wsol", photos / "photos", annotations=photos))


@FUZZ
@given(table=st.sampled_from(["image_ids", "class_labels", "image_sizes", "localization"]),
    row=st.lists(NUMBERS, max_size=5))  # fmt: skip
def test_tables_of_wsolevaluation_of_any_rows(photos: Path, table: str, row: list[str]) -> None:
    rows = {"image_ids": "", "class_labels": "0", "image_sizes": "40,32", "localization": "4,5,19,24"} | {
        table: ",".join(row)
    }
    for name, values in rows.items():
        (photos / f"{name}.txt").write_bytes(f"a.jpg,{values}\nb.jpg,{values}\n".encode("utf-8", "replace"))
    _read(DataSettings("wsol", photos / "photos", annotations=photos))
