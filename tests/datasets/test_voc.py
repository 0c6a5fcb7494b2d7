from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsloc.config import DataSettings
from wsloc.datasets import open_dataset
from wsloc.datasets.dataset import GroundTruthSet
from wsloc.datasets.voc import open_voc, read_voc_ground_truth
from wsloc.errors import UserError

EXIF_ORIENTATION = 274
PART = "<part><name>head</name><bndbox><xmin>2</xmin><ymin>2</ymin><xmax>3</xmax><ymax>3</ymax></bndbox></part>"


def _object(name: str, box: Sequence[float | str], difficult: str | None = "0", more: str = "") -> str:
    sides = "".join(f"<{s}>{v}</{s}>" for s, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    flag = "" if difficult is None else f"<difficult>{difficult}</difficult>"
    return f"<object><name>{name}</name>{flag}<bndbox>{sides}</bndbox>{more}</object>"


def _annotation(*objects: str, size_wh: tuple[object, object] | None = (40, 30)) -> str:
    size = "" if size_wh is None else f"<size><width>{size_wh[0]}</width><height>{size_wh[1]}</height></size>"
    return f"<annotation><folder>VOC</folder>{size}<segmented>0</segmented>{''.join(objects)}</annotation>"


def _devkit(root: Path, lists: Mapping[str, str], year: str = "2012") -> Path:
    """The genuine layout, with image lists by their file name; returns the year's folder."""
    folder = root / "VOCdevkit" / f"VOC{year}"
    (folder / "ImageSets" / "Main").mkdir(parents=True)
    (folder / "JPEGImages").mkdir()
    for name, text in lists.items():
        (folder / "ImageSets" / "Main" / f"{name}.txt").write_text(text)
    return folder


def _truth(
    root: Path, annotation: str | bytes | None, size_wh: tuple[int, int] = (40, 30), orientation: int | None = None
) -> GroundTruthSet:
    """The ground truth of one image ``a`` with this annotation."""
    folder = _devkit(root, {"val": "a\n", "cat_val": "a 1\n"})
    exif = Image.Exif()
    if orientation is not None:
        exif[EXIF_ORIENTATION] = orientation
    Image.new("RGB", size_wh).save(folder / "JPEGImages" / "a.jpg", exif=exif)
    (folder / "Annotations").mkdir()
    if annotation is not None:
        content = annotation if isinstance(annotation, bytes) else annotation.encode()
        (folder / "Annotations" / "a.xml").write_bytes(content)
    return read_voc_ground_truth(open_voc(root, "2012", "val"))


def test_labels_come_from_the_class_lists_alone(tmp_path: Path) -> None:
    """There is neither an Annotations folder nor an image: nothing but the lists can have been opened."""
    _devkit(
        tmp_path,
        {
            "val": "a\nb\nc\n",
            "train": "d\n",
            "dog_val": "a  1\nb -1\nc  0\n",
            "cat_val": "a  1\nb -1\nc -1\n",
            "cat_train": "d  1\n",
            "cat_trainval": "a  1\nb  1\n",
        },
    )
    dataset = open_voc(tmp_path, "2012", "val")
    assert [(image.image_id, image.labels) for image in dataset.images] == [("a", ("cat", "dog")), ("b", ()), ("c", ())]
    assert dataset.class_names == ("cat", "dog")
    assert dataset.label_map == "voc"
    assert dataset.images[0].path == dataset.root / "JPEGImages" / "a.jpg"
    assert dataset.images[0].file == "JPEGImages/a.jpg"


def test_images_of_other_splits_and_repeated_rows_add_no_item(tmp_path: Path) -> None:
    _devkit(tmp_path, {"val": "a\na\n", "cat_val": "a 1\nother 1\na 1\n"})
    assert [(image.image_id, image.labels) for image in open_voc(tmp_path, "2012", "val").images] == [("a", ("cat",))]


@pytest.mark.parametrize("year", ["2007", "2012"])
def test_the_root_may_be_named_at_three_depths(tmp_path: Path, year: str) -> None:
    folder = _devkit(tmp_path, {"val": "a\n", "cat_val": "a 1\n"}, year)
    for root in (tmp_path, tmp_path / "VOCdevkit", folder):
        assert open_voc(root, year, "val").root == folder


@pytest.mark.parametrize(
    ("lists", "sentence"),
    [
        ({"train": "a\n", "test": "b\n", "cat_train": "a 1\n"}, r"no split 'val' in .*; it has test, train\.$"),
        ({}, r"no split 'val' in .*; it has none\.$"),
        ({"val": "a\n"}, r"has no per-class lists such as cat_val\.txt"),
        ({"val": "a\n", "cat_val": "a\n"}, r"must hold rows 'image 1', 'image 0' or 'image -1', not 'a'\.$"),
        ({"val": "a\n", "cat_val": "a 2\n"}, r"must hold rows .*, not 'a 2'\.$"),
        ({"val": "../../secret\n", "cat_val": ""}, r"names '\.\./\.\./secret', which is outside the data set"),
        ({"val": "/etc/passwd\n", "cat_val": ""}, r"names '/etc/passwd', which is outside the data set"),
    ],
    ids=["split", "no-split", "no-class-list", "no-flag", "flag", "parent", "absolute"],
)
def test_bad_lists_are_a_users_error(tmp_path: Path, lists: dict[str, str], sentence: str) -> None:
    _devkit(tmp_path, lists)
    with pytest.raises(UserError, match=sentence):
        open_voc(tmp_path, "2012", "val")


def test_a_missing_root_or_year_is_a_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none does not exist; `root` names the one that holds VOCdevkit\.$"):
        open_voc(tmp_path / "none", "2012", "val")
    _devkit(tmp_path, {"val": "a\n", "cat_val": "a 1\n"}, "2007")
    with pytest.raises(UserError, match=r"no VOCdevkit/VOC2012/ImageSets/Main in .*`download=True` fetches it"):
        open_voc(tmp_path, "2012", "val")


def test_boxes_become_half_open_and_parts_are_no_objects(tmp_path: Path) -> None:
    objects = _object("cat", (3, 5, 10, 20), more=PART), _object("dog", (1, 1, 40, 30), "1")
    truth = _truth(tmp_path, _annotation(*objects))
    found = truth.images["a"]
    assert found.boxes_xyxy.tolist() == [[2, 4, 10, 20], [0, 0, 40, 30]]
    assert found.class_names == ("cat", "dog")
    assert found.difficult.tolist() == [False, True]
    assert found.size_wh == (40, 30)
    assert (truth.problems, truth.ambiguous_orientations) == ((), 0)


@pytest.mark.parametrize(
    ("annotation", "box", "difficult"),
    [
        (_annotation(_object("cat", (3.5, 5.25, 10.75, 20))), [2.5, 4.25, 10.75, 20], False),
        (_annotation(_object("cat", (3, 5, 10, 20), None)), [2, 4, 10, 20], False),
        (_annotation(_object("cat", (3, 5, 10, 20), " 1 ")), [2, 4, 10, 20], True),
        (_annotation(_object(" cat\n", (" 3", "5\n", 10, 20))), [2, 4, 10, 20], False),
        (_annotation(_object("cat", (3, 5, 10, 20)), size_wh=None), [2, 4, 10, 20], False),
        (_annotation(_object("cat", (3, 5, 10, 20)), size_wh=("40.0", "x")), [2, 4, 10, 20], False),
        (_annotation(_object("cat", (3, 5, 10, 20)), size_wh=(0, 0)), [2, 4, 10, 20], False),
        ("\ufeff" + _annotation(_object("cat", (3, 5, 10, 20))), [2, 4, 10, 20], False),
    ],
    ids=["fraction", "no-difficult", "difficult", "spaces", "no-size", "bad-size", "zero-size", "byte-order-mark"],
)
def test_annotations_as_they_are_found(tmp_path: Path, annotation: str, box: list[float], difficult: bool) -> None:
    truth = _truth(tmp_path, annotation)
    assert truth.images["a"].boxes_xyxy.tolist() == [box]
    assert truth.images["a"].class_names == ("cat",)
    assert truth.images["a"].difficult.tolist() == [difficult]
    assert truth.problems == ()


def test_an_image_without_objects_has_an_empty_truth(tmp_path: Path) -> None:
    found = _truth(tmp_path, _annotation()).images["a"]
    assert found.boxes_xyxy.shape == (0, 4)
    assert found.difficult.shape == (0,)
    assert found.difficult.dtype == bool


@pytest.mark.parametrize(
    ("box", "kept", "problem"),
    [
        ((30, 20, 60, 50), [[29, 19, 40, 30]], "reaches over the border"),
        ((0, 0, 10, 10), [[0, 0, 10, 10]], "reaches over the border"),
        ((50, 5, 60, 10), [], "inverted or outside"),
        ((20, 5, 10, 10), [], "inverted or outside"),
        ((5, 20, 10, 10), [], "inverted or outside"),
    ],
    ids=["over", "from-zero", "outside", "inverted-x", "inverted-y"],
)
def test_boxes_out_of_the_image_are_mended_and_told(
    tmp_path: Path, box: tuple[int, ...], kept: list[list[int]], problem: str
) -> None:
    truth = _truth(tmp_path, _annotation(_object("cat", box), _object("dog", (1, 1, 2, 2))))
    assert truth.images["a"].boxes_xyxy.tolist() == [*kept, [0, 0, 2, 2]]
    assert truth.images["a"].class_names == ("cat", "dog") if kept else ("dog",)
    (told,) = truth.problems
    assert told.startswith("a.xml: the box of a cat ")
    assert problem in told


ENTITIES = '<!DOCTYPE a [<!ENTITY x "cat"><!ENTITY y "&x;&x;">]>' + _annotation(_object("&y;", (1, 1, 2, 2)))


def declared(encoding: str, name: str = "犬") -> str:
    """An annotation that says how it is written."""
    return f'<?xml version="1.0" encoding="{encoding}"?>\n{_annotation(_object(name, (5, 3, 20, 10)))}'


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        (None, "the annotation cannot be read: No such file or directory"),
        (b"", "the annotation is not valid XML"),
        (b"<annotation><object>", "the annotation is not valid XML"),
        (b"\x89PNG\r\n", "the annotation is not written in utf-8"),
        (ENTITIES, "declares XML entities, which are not expanded"),
        (ENTITIES.encode("utf-16"), "declares XML entities, which are not expanded"),
        (ENTITIES.encode("utf-16-be"), "declares XML entities, which are not expanded"),
        (declared("ansi").encode(), "the annotation declares the unknown encoding 'ansi'; save it as UTF-8"),
        (declared("unicode").encode(), "the annotation declares the unknown encoding 'unicode'; save it as UTF-8"),
        (declared("rot13").encode(), "declares the unknown encoding 'rot13'"),
        (declared("ascii").encode(), "the annotation is not written in ascii: 'ascii' codec can't decode"),
        (declared("gbk").encode("gbk")[:-25], "the annotation is not valid XML"),
        (f"<all>{_annotation()}{_annotation()}</all>", "the file holds 2 annotations; give one for each image"),
        (_annotation(_object("cat", (1, 1, "wide", 2))), "object 'cat' is missing or holds no numbers"),
        (_annotation(_object("cat", (1, 1, "nan", 2))), "holds no finite numbers"),
        (_annotation(_object("cat", (1, 1, "inf", 2))), "holds no finite numbers"),
        (_annotation("<object><name>cat</name></object>"), "the bndbox of an object 'cat' is missing"),
    ],
    ids=[
        "missing",
        "empty",
        "cut",
        "binary",
        "entities",
        "entities-16",
        "entities-16-be",
        "ansi",
        "unicode",
        "rot13",
        "no-ascii",
        "cut-gbk",
        "two",
        "text",
        "nan",
        "inf",
        "no-box",
    ],
)
def test_bad_annotations_have_no_truth_but_a_problem(
    tmp_path: Path, annotation: str | bytes | None, reason: str
) -> None:
    truth = _truth(tmp_path, annotation)
    assert truth.images == {}
    (told,) = truth.problems
    assert told.startswith("a.xml: ")
    assert reason in told
    assert "\n" not in told


@pytest.mark.parametrize(
    "annotation",
    [
        *(declared(name).encode(name) for name in ("gb2312", "GBK", "gb18030", "big5", "shift_jis", "euc-jp")),
        declared("utf-8").encode(),
        declared("utf-8").encode("utf-8-sig"),
        declared("unicode").encode("utf-16"),
        declared("gb2312").encode("utf-8-sig"),
        declared("utf-16").encode(),
        declared("utf-16").encode("utf-16-le"),
        declared("utf-16").encode("utf-16-be"),
        declared("utf-32").encode("utf-32"),
        f"<!-- first -->\n{_annotation(_object('犬', (5, 3, 20, 10)))}".encode(),
    ],
)  # fmt: skip
def test_annotations_of_any_encoding_are_read(tmp_path: Path, annotation: bytes) -> None:
    truth = _truth(tmp_path, annotation)
    assert truth.images["a"].class_names == ("犬",)
    assert truth.images["a"].boxes_xyxy.tolist() == [[4, 2, 20, 10]]


@pytest.mark.parametrize(
    "annotation",
    [
        _annotation(_object("cat", (5, 3, 20, 10), more=PART)),
        _annotation(_object("cat", (5, 3, 20, 10))).replace("<annotation>", '<annotation xmlns="http://a.b/c">'),
        _annotation(_object("cat", (5, 3, 20, 10)))
        .replace("<", "<v:").replace("<v:/", "</v:").replace("<v:annotation>", '<v:annotation xmlns:v="u:1">'),
        _annotation(f"<objects>{_object('cat', (5, 3, 20, 10))}</objects>"),
        f"<export><images>{_annotation(_object('cat', (5, 3, 20, 10)))}</images></export>",
    ],
    ids=["part", "namespace", "prefix", "list", "wrapped"],
)  # fmt: skip
def test_objects_are_found_below_and_under_namespaces(tmp_path: Path, annotation: str) -> None:
    truth = _truth(tmp_path, annotation, orientation=6)
    assert truth.images["a"].class_names == ("cat",)
    assert truth.ambiguous_orientations == 0, "the size is read as well"
    assert len(truth.images["a"].boxes_xyxy) == 1


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\r\n", "\r"], ids=["windows", "old-mac"])
def test_lists_with_a_byte_order_mark_lose_no_label(tmp_path: Path, encoding: str, end: str) -> None:
    folder = _devkit(tmp_path, {})
    for name, text in {"val": "a\nb\n", "cat_val": "a 1\nb -1\n", "dog_val": "a 1\nb 1\n"}.items():
        (folder / "ImageSets" / "Main" / f"{name}.txt").write_bytes(text.replace("\n", end).encode(encoding))
    dataset = open_voc(tmp_path, "2012", "val")
    assert [(image.image_id, image.labels) for image in dataset.images] == [("a", ("cat", "dog")), ("b", ("dog",))]
    assert dataset.problems == ()


def test_one_bad_annotation_leaves_the_others_alone(tmp_path: Path) -> None:
    folder = _devkit(tmp_path, {"val": "a\nb\n", "cat_val": "a 1\nb 1\n"})
    (folder / "Annotations").mkdir()
    for name, text in (("a", "<no"), ("b", _annotation(_object("cat", (1, 1, 2, 2))))):
        Image.new("RGB", (40, 30)).save(folder / "JPEGImages" / f"{name}.jpg")
        (folder / "Annotations" / f"{name}.xml").write_text(text)
    truth = read_voc_ground_truth(open_voc(tmp_path, "2012", "val"))
    assert list(truth.images) == ["b"]
    assert len(truth.problems) == 1


@pytest.mark.parametrize(
    ("size_wh", "annotated_wh", "orientation", "expected", "ambiguous"),
    [
        # Orientation 6 turns the stored 40 x 30 clockwise: (x0, y0, x1, y1) becomes (30 - y1, x0, 30 - y0, x1).
        ((40, 30), (40, 30), 6, [10, 2, 26, 10], 0),
        ((40, 30), (30, 40), 6, [2, 4, 10, 20], 0),
        ((40, 30), None, 6, [10, 2, 26, 10], 1),
        ((40, 30), (80, 60), 6, [10, 2, 26, 10], 1),
        ((40, 40), (40, 40), 6, [20, 2, 36, 10], 1),
        # Half a turn keeps the size, which then tells nothing.
        ((40, 30), (40, 30), 3, [30, 10, 38, 26], 1),
        ((40, 30), (40, 30), 1, [2, 4, 10, 20], 0),
        ((40, 30), (40, 30), None, [2, 4, 10, 20], 0),
        ((40, 30), None, None, [2, 4, 10, 20], 0),
    ],
)
def test_boxes_are_in_the_frame_of_the_turned_image(
    tmp_path: Path,
    size_wh: tuple[int, int],
    annotated_wh: tuple[int, int] | None,
    orientation: int | None,
    expected: list[int],
    ambiguous: int,
) -> None:
    annotation = _annotation(_object("cat", (3, 5, 10, 20)), size_wh=annotated_wh)
    truth = _truth(tmp_path, annotation, size_wh, orientation)
    assert truth.images["a"].boxes_xyxy.tolist() == [expected]
    assert truth.images["a"].size_wh == ((30, 40) if size_wh == (40, 30) and orientation == 6 else size_wh)
    assert truth.ambiguous_orientations == ambiguous
    assert truth.problems == ()


def test_clipping_uses_the_frame_that_the_boxes_are_in(tmp_path: Path) -> None:
    """A truth in the turned frame of 30 x 40 may reach down to row 40, which the stored one lacks."""
    annotation = _annotation(_object("cat", (1, 1, 30, 40)), size_wh=(30, 40))
    truth = _truth(tmp_path, annotation, (40, 30), 6)
    assert truth.images["a"].boxes_xyxy.tolist() == [[0, 0, 30, 40]]
    assert truth.problems == ()


def test_the_fingerprint_tells_ids_labels_and_order_apart(tmp_path: Path) -> None:
    texts = [("a\nb\n", "a 1\nb -1\n"), ("b\na\n", "a 1\nb -1\n"), ("a\nb\n", "a 1\nb 1\n"), ("a\n", "a 1\n")]
    found = []
    for number, (ids, flags) in enumerate(texts):
        _devkit(tmp_path / str(number), {"val": ids, "cat_val": flags})
        found.append(open_voc(tmp_path / str(number), "2012", "val").fingerprint())
    assert len(set(found)) == len(texts)
    shutil.copytree(tmp_path / "0", tmp_path / "copy")
    assert open_voc(tmp_path / "copy", "2012", "val").fingerprint() == found[0]


def test_real_photographs_have_a_box_for_each_label_and_the_reverse(shared: Path) -> None:
    dataset = open_voc(shared, "2012", "val")
    assert len(dataset.images) == 420
    assert len(dataset.class_names) == 20
    truth = read_voc_ground_truth(dataset)
    assert len(truth.images) == 420
    for image in dataset.images:
        found = truth.images[image.image_id]
        easy = {name for name, hard in zip(found.class_names, found.difficult, strict=True) if not hard}
        assert set(image.labels) == easy, image.image_id
        width, height = found.size_wh
        assert (found.boxes_xyxy >= 0).all()
        assert (found.boxes_xyxy <= np.array([width, height, width, height])).all()


@pytest.mark.parametrize(("size_wh", "kept"), [((40, 30), True), (None, False)])
def test_an_unreadable_image_keeps_its_truth_where_the_annotation_has_a_size(
    tmp_path: Path, size_wh: tuple[int, int] | None, kept: bool
) -> None:
    """Without its truth the image would leave the figures instead of counting as not found."""
    folder = _devkit(tmp_path, {"val": "a\n", "cat_val": "a 1\n"})
    (folder / "JPEGImages" / "a.jpg").write_bytes(b"no image")
    (folder / "Annotations").mkdir()
    (folder / "Annotations" / "a.xml").write_text(_annotation(_object("cat", (5, 6, 20, 25)), size_wh=size_wh))
    truth = read_voc_ground_truth(open_voc(tmp_path, "2012", "val"))
    assert ("a" in truth.images) is kept
    assert bool(truth.problems) is not kept


def test_download_goes_through_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []

    def fetch(root: str, year: str, image_set: str, download: bool) -> None:
        asked.append((root, year, image_set, download))
        _devkit(tmp_path, {"test": "a\n", "cat_test": "a 1\n"}, year="2007")

    monkeypatch.setattr("torchvision.datasets.VOCDetection", fetch)
    settings = DataSettings(dataset="voc", root=tmp_path, year="2007", split="test", download=True)
    assert [image.labels for image in open_dataset(settings).images] == [("cat",)]
    assert asked == [(str(tmp_path), "2007", "test", True)]


@pytest.mark.parametrize("suffix", [".png", ".JPG", ".jpeg", ".webp"])
def test_images_of_other_suffixes_are_found(tmp_path: Path, suffix: str) -> None:
    folder = _devkit(tmp_path, {"val": "a\nb\nsub/c\ngone\n", "cat_val": "a 1\n"})
    (folder / "JPEGImages" / "sub").mkdir()
    for file in (f"a{suffix}", "b.jpg", f"b{suffix}", f"sub/c{suffix}", "._a.png"):
        Image.new("RGB", (40, 30)).save(folder / "JPEGImages" / file)
    files = [image.file.removeprefix("JPEGImages/") for image in open_voc(tmp_path, "2012", "val").images]
    assert files == [f"a{suffix}", "b.jpg", f"sub/c{suffix}", "gone.jpg"]


def test_resource_forks_are_no_class_lists(tmp_path: Path) -> None:
    _devkit(tmp_path, {"val": "a\n", "cat_val": "a 1\n", "._cat_val": "\0\1", "._val": "\0"})
    assert open_voc(tmp_path, "2012", "val").class_names == ("cat",)
