from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from wsloc.config import DataSettings
from wsloc.datasets import Dataset, open_dataset
from wsloc.datasets.label_table import Columns, inside, read_labels
from wsloc.datasets.own_truth import read_box_rows, read_folder_ground_truth
from wsloc.errors import UserError
from wsloc.records import ImageRecord

CAT = {"a.jpg": ("cat",)}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Images ``a.jpg``, ``sub/b.PNG`` and two called ``c``."""
    for name in ("a.jpg", "sub/b.PNG", "c.jpg", "sub/c.png"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 12)).save(tmp_path / "photos" / name)
    return tmp_path / "photos"


def _read(root: Path, text: str, **columns: str) -> dict[str, tuple[str, ...]]:
    path = root.parent / "labels.csv"
    path.write_text(text, encoding="utf-8")
    return read_labels(path, root, Columns(**columns))


@pytest.mark.parametrize(
    "image", ["image_id", "id", "ImageID", "img", "img_path", "image_path", "fname", "File Name", "IMAGE", "filepath"]
)
@pytest.mark.parametrize("label", ["label", "class", "category", "Species", "Klasse", "y"])
def test_headers_of_two_columns(root: Path, image: str, label: str) -> None:
    assert _read(root, f"{image},{label}\na.jpg,cat\n") == CAT


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("species,file\ncat,a.jpg\n", CAT),
        ("foto,soort\na.jpg,cat\n", CAT),
        ("foto,soort\na,cat\n", CAT),
        ("foto,species\nnone.jpg,cat\n", {"none.jpg": ("cat",)}),
        ("a.jpg,species\nc.jpg,class\n", {"a.jpg": ("species",), "c.jpg": ("class",)}),
        ("7,cat\na,cat\n", {"7": ("cat",), **CAT}),
        ("gone.jpg,cat\na.jpg,cat\n", {"gone.jpg": ("cat",), **CAT}),
        ("width,category,filename,split\n3,cat,a.jpg,train\n", CAT),
        (",image_id,path,label\n0,7,a.jpg,cat\n", CAT),
        ("a.jpg\tcat\n", CAT),
        ("image\tlabel\na.jpg\tcat;dog\n", {"a.jpg": ("cat", "dog")}),
        ("image;label\na.jpg;cat\n", CAT),
        ('a.jpg;"cat;dog"\n', {"a.jpg": ("cat", "dog")}),
        ('image,label\r\n"a.jpg",cat\r\n,\r\n', CAT),
        ("a,cat\nsub/b,dog\nb,cow\n", {**CAT, "sub/b.PNG": ("dog", "cow")}),
        ("none,cat\n", {"none": ("cat",)}),
        ("sub\\b.PNG,cat\n", {"sub/b.PNG": ("cat",)}),
        ("./sub/../a.jpg,cat\n", CAT),
        ("a.jpg,cat|dog ; cow\n", {"a.jpg": ("cat", "dog", "cow")}),
    ],
    ids=[
        "swapped", "position", "position-id", "label-header", "no-header", "missing-id-first", "missing-first",
        "several", "best-image",
        "tab", "tab-header", "semicolon", "semicolon-quoted", "blank", "ids", "missing-id", "windows", "dots", "bar",
    ],
)  # fmt: skip
def test_tables_as_people_write_them(root: Path, text: str, labels: dict[str, tuple[str, ...]]) -> None:
    assert _read(root, text) == labels


def test_an_absolute_path_inside_the_folder_is_taken_relative(root: Path) -> None:
    assert _read(root, f"{root}/a.jpg,cat\n") == CAT


@pytest.mark.parametrize("columns", [{"image": "Foto"}, {"label": "soort"}, {"image": "foto", "label": "Soort"}])
def test_columns_by_name(root: Path, columns: dict[str, str]) -> None:
    assert _read(root, "foto,soort\na.jpg,cat\n", **columns) == CAT
    assert _read(root, "soort,foto\ncat,a.jpg\n", **columns) == CAT
    both = {"image": "foto", "label": "soort"} | columns
    assert _read(root, "x,foto,y,soort\n1,a.jpg,2,cat\n", **both) == CAT


@pytest.mark.parametrize(
    ("text", "columns", "sentence"),
    [
        (
            "image,x,y\na.jpg,1,2\n",
            {},
            r"has the columns image, x, y; name those .*: `image_column` and",
        ),
        ("image,label,class\na.jpg,1,2\n", {}, r"has the columns image, label, class; "),
        ("a.jpg,cat,0.9\n", {}, r"has the columns a\.jpg, cat, 0\.9; "),
        ("foto,soort\na.jpg,cat\n", {"image": "image"}, r"has no column 'image'; its header is foto, soort\.$"),
        ("x,x,y\na.jpg,b,c\n", {"image": "x"}, r"has several columns 'x'; its header is x, x, y\.$"),
        ("c,cat\n", {}, r"row 1: c is the name of c\.jpg, sub/c\.png; give the one that is meant"),
        ("..\\a.jpg,cat\n", {}, r"row 1: \.\.\\a\.jpg is outside"),
    ],
)
def test_tables_that_do_not_say_enough(root: Path, text: str, columns: dict[str, str], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        _read(root, text, **columns)


def test_the_columns_are_settings_of_own_tables_alone(root: Path) -> None:
    (root.parent / "labels.csv").write_text("a,foto,soort\n1,a.jpg,cat\n")
    own = DataSettings(dataset="folder", root=root, labels=root.parent / "labels.csv")
    with pytest.raises(UserError, match="`image_column` and `label_column`"):
        open_dataset(own)
    named = DataSettings(dataset="folder", root=root, labels=own.labels, image_column="foto", label_column="soort")
    assert [image.labels for image in open_dataset(named).images] == [("cat",)]
    with pytest.raises(UserError, match="`image_column` is only for `dataset='folder'`"):
        open_dataset(DataSettings(dataset="voc", root=root, image_column="foto"))
    with pytest.raises(UserError, match="are of the table that `labels` names"):
        open_dataset(DataSettings(dataset="folder", root=root, label_column="soort"))


def test_a_backslash_is_part_of_a_name_where_there_is_such_a_file(root: Path) -> None:
    Image.new("RGB", (16, 12)).save(root / "back\\slash.jpg")
    assert inside(root, "back\\slash.jpg") == "back\\slash.jpg"
    assert inside(root, "sub\\b.PNG") == "sub/b.PNG"
    assert inside(root, "sub\\..\\..\\a.jpg") is None


@pytest.mark.parametrize(
    "text",
    [
        "a.jpg,cat,1.5,2,3,4\n",
        "\ufeffimage,class,x0,y0,x1,y1\r\na.jpg,cat,1.5,2,3,4\r\n",
        "a.jpg\tcat\t1.5\t2\t3\t4\n",
        "a.jpg;cat;1,5;2,0;3,0;4,0\n",
        "ImageID;Class;x;y;x2;y2\na;cat;1,5;2;3;4\n",
    ],
    ids=["plain", "windows", "tabs", "decimal-commas", "ids"],
)
def test_boxes_are_read_from_the_same_kinds_of_tables(tmp_path: Path, text: str) -> None:
    (tmp_path / "boxes.csv").write_text(text, encoding="utf-8")
    rows = read_box_rows(tmp_path / "boxes.csv", ["a.jpg"])
    assert rows.of_image == {"a.jpg": [("cat", (1.5, 2, 3, 4))]}
    assert rows.problems == ()


def test_a_malformed_row_of_boxes_is_of_its_image(tmp_path: Path) -> None:
    """Its class is lost there: no detector takes the object for background."""
    rows = [
        "a.jpg,cat,1,2,3,4",
        "a.jpg,dog,1,2,3,",
        "b.jpg,dog,1,2,3,nan",
        "b.jpg,cat,1,2,3,4,5",
        "b,,1,2,3,4",
        "c.jpg",
    ]
    (tmp_path / "boxes.csv").write_text("\n".join(rows))
    for name in ("a.jpg", "b.jpg"):
        Image.new("RGB", (9, 9)).save(tmp_path / name)
    read = read_box_rows(tmp_path / "boxes.csv", ["a.jpg", "b.jpg"])
    assert read.lost == {"a.jpg": ["dog"], "b.jpg": ["dog", "cat", ""], "c.jpg": [""]}
    assert len(read.problems) == 5
    images = tuple(ImageRecord(name, name, tmp_path / name, ("cat", "dog")) for name in ("a.jpg", "b.jpg"))
    dataset = Dataset("own", tmp_path, ("cat", "dog"), images)
    truth = read_folder_ground_truth(dataset, dataset, tmp_path / "boxes.csv", None)
    assert truth is not None
    assert {name: own.lost_class_names for name, own in truth.images.items()} == {"a.jpg": ("dog",)}


def test_boxes_call_images_by_short_names_where_these_are_clear(tmp_path: Path) -> None:
    names = ("cat/a.jpg", "a", "cat\\a.jpg", "b", "cat/b", "gone.jpg", "x\\y.jpg")
    (tmp_path / "boxes.csv").write_text("".join(f"{name},cat,1,2,3,4\n" for name in names))
    rows = read_box_rows(tmp_path / "boxes.csv", ["cat/a.jpg", "cat/b.jpg", "dog/b.jpg", "x\\y.jpg"])
    counts = {name: len(boxes) for name, boxes in rows.of_image.items()}
    assert counts == {"cat/a.jpg": 3, "b": 1, "cat/b.jpg": 1, "gone.jpg": 1, "x\\y.jpg": 1}
