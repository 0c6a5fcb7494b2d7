"""Every problem is put into a sound data set, alone, and must be the only one that is named."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from layouts import CUB_FILES, cub, imagenet, picture, write, wsol, wsol_masks, xml
from PIL import Image

from wsloc.config import DataSettings
from wsloc.datasets.checking import Problem, check_dataset
from wsloc.records import ImageRecord

T = TypeVar("T")

VAL = "ILSVRC/Data/CLS-LOC/val/ILSVRC2012_val_0000000"
XML = "ILSVRC/Annotations/CLS-LOC/val/ILSVRC2012_val_0000000"


def voc(root: Path) -> Path:
    """Two images, labeled cat and dog; only the first has masks."""
    folder = root / "VOCdevkit/VOC2012"
    for name, label in (("a", "cat"), ("b", "dog")):
        picture(folder / f"JPEGImages/{name}.jpg")
        write(folder / f"Annotations/{name}.xml", xml(label, (5, 6, 20, 25)))
    write(folder / "ImageSets/Main/trainval.txt", "a\nb\n")
    write(folder / "ImageSets/Main/cat_trainval.txt", "a  1\nb -1\n")
    write(folder / "ImageSets/Main/dog_trainval.txt", "a -1\nb  1\n")
    for kind, value in (("Object", 1), ("Class", 8)):
        values = np.zeros((32, 40), dtype=np.uint8)
        values[5:25, 4:20] = value
        path = folder / f"Segmentation{kind}/a.png"
        path.parent.mkdir()
        Image.fromarray(values).save(path)
    return root


def folder(root: Path) -> Path:
    picture(root / "photos/cat/1.jpg")
    picture(root / "photos/cat/2.jpg")
    write(root / "boxes.csv", "cat/1.jpg,cat,4,5,20,25\ncat/2.jpg,cat,4,5,20,25\n")
    for name in ("1", "2"):
        (root / "masks/cat").mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.eye(32, 40, dtype=np.uint8) * 255).save(root / f"masks/cat/{name}.png")
    return root


MAKERS: dict[str, Callable[[Path], Path]] = {
    "voc": voc,
    "imagenet": imagenet,
    "cub": cub,
    "wsol": wsol,
    "masks": wsol_masks,
    "folder": folder,
}


def _settings(kind: str, root: Path) -> DataSettings:
    if kind == "folder":
        return DataSettings(dataset="folder", root=root / "photos", boxes=root / "boxes.csv", masks=root / "masks")
    name = {"voc": "voc", "imagenet": "imagenet", "cub": "cub", "wsol": "wsol", "masks": "wsol"}[kind]
    return DataSettings(dataset=name, root=root)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", MAKERS)
def test_a_sound_data_set_has_no_problem(tmp_path: Path, kind: str) -> None:
    problems = list(check_dataset(_settings(kind, MAKERS[kind](tmp_path))))
    # The boxes of CUB's turned image are in a frame that the tables do not tell.
    assert [problem.kind for problem in problems] == (["orientation"] if kind == "cub" else [])


def _line(path: str, text: str) -> Callable[[Path], None]:
    """Adds a line to a list."""

    def change(root: Path) -> None:
        with (root / path).open("a") as file:
            file.write(text)

    return change


def _text(path: str, text: str) -> Callable[[Path], None]:
    return lambda root: write(root / path, text)


def _gone(path: str) -> Callable[[Path], None]:
    return lambda root: (root / path).unlink()


def _cut(path: str) -> Callable[[Path], None]:
    return lambda root: (root / path).write_bytes((root / path).read_bytes()[:700])


def _copy(path: str, other: str) -> Callable[[Path], None]:
    return lambda root: (root / other).write_bytes((root / path).read_bytes())


def _picture(path: str, size_wh: tuple[int, int]) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        noise = np.random.default_rng(5).integers(0, 255, size_wh[::-1], dtype=np.uint8)
        Image.fromarray(noise).save(root / path)

    return change


VOC = "VOCdevkit/VOC2012"
CUB = "CUB_200_2011"
TABLES = "metadata/SET/test"


@pytest.mark.parametrize(
    ("kind", "change", "expected"),
    [
        ("voc", _gone(f"{VOC}/JPEGImages/a.jpg"), "missing image: a.jpg: does not exist"),
        ("voc", _cut(f"{VOC}/JPEGImages/a.jpg"), "unreadable image: a.jpg: cannot be decoded: image file is truncated"),
        ("voc", _text(f"{VOC}/JPEGImages/b.jpg", "x"), "unreadable image: b.jpg: is not an image that can be read"),
        (
            "voc",
            _copy(f"{VOC}/JPEGImages/a.jpg", f"{VOC}/JPEGImages/b.jpg"),
            "equal images: b.jpg: has the same bytes as J",
        ),
        ("voc", _line(f"{VOC}/ImageSets/Main/trainval.txt", "a\n"), "list: trainval.txt: a is listed 2 times"),
        (
            "voc",
            _line(f"{VOC}/ImageSets/Main/cat_trainval.txt", "z 1\n"),
            "list: cat_trainval.txt: images that trainval.txt lacks",
        ),
        ("voc", _gone(f"{VOC}/Annotations/b.xml"), "annotation: b.xml: the annotation cannot be read"),
        ("voc", _text(f"{VOC}/Annotations/b.xml", "<a>"), "annotation: b.xml: the annotation is not valid XML"),
        (
            "voc",
            _text(f"{VOC}/Annotations/a.xml", xml("cat", (5, 6, 45, 25))),
            "annotation: a.xml: the box of a cat reaches",
        ),
        (
            "voc",
            _text(f"{VOC}/Annotations/b.xml", xml("dog", (5, 6, 20, 25), (50, 32))),
            "size: b.xml: says 50 x 32 pixels",
        ),
        (
            "voc",
            _text(f"{VOC}/ImageSets/Main/dog_trainval.txt", "a 1\nb 1\n"),
            "label without box: a.jpg: is labeled dog",
        ),
        (
            "voc",
            _text(f"{VOC}/ImageSets/Main/cat_trainval.txt", "a -1\n"),
            "box without label: a.jpg: has a box of cat",
        ),
        ("voc", _gone(f"{VOC}/SegmentationClass/a.png"), "mask: a.jpg: there is no mask SegmentationClass/a.png"),
        ("voc", _picture(f"{VOC}/SegmentationObject/a.png", (9, 9)), "mask: a.jpg: the two masks of a differ in size"),
        ("imagenet", _gone(f"{VAL}2.JPEG"), "missing image: ILSVRC2012_val_00000002.JPEG: does not exist"),
        ("imagenet", _gone(f"{XML}2.xml"), "annotation: ILSVRC2012_val_00000002.xml: does not exist"),
        ("imagenet", _picture(f"{VAL}1.JPEG", (60, 48)), "size: ILSVRC2012_val_00000001.xml: says 40 x 32"),
        (
            "imagenet",
            _text(f"{XML}1.xml", xml("n01440764", (0, 0, 9, 9))),
            "label without box: ILSVRC2012_val_00000001.J",
        ),
        (
            "imagenet",
            _line("LOC_val_solution.csv", "x,n01440764 1 1 1 1\n"),
            "list: LOC_val_solution.csv: labels without",
        ),
        (
            "imagenet",
            _line("LOC_val_solution.csv", "ILSVRC2012_val_00000001,n03126707 1\n"),
            "list: LOC_val_solution.csv: ",
        ),
        (
            "imagenet",
            _line("ILSVRC/ImageSets/CLS-LOC/val.txt", "ILSVRC2012_val_00000001 4\n"),
            "list: val.txt: ILSVRC2012",
        ),
        ("cub", _gone(f"{CUB}/images/{CUB_FILES[0]}"), "missing image: Black_Footed_Albatross_0046_18.jpg: does not"),
        ("cub", _line(f"{CUB}/images.txt", "9 x.jpg\n"), "list: images.txt: images without a label (1): 9"),
        (
            "cub",
            _line(f"{CUB}/image_class_labels.txt", "9 1\n"),
            "list: image_class_labels.txt: labels without an image",
        ),
        ("cub", _line(f"{CUB}/train_test_split.txt", "1 0\n"), "list: train_test_split.txt: 1 is listed 2 times"),
        (
            "cub",
            _text(f"{CUB}/bounding_boxes.txt", "1 6 7 10 12\n2 0 0 9 9\n4 2 3 7 9\n"),
            "annotation: Laysan_Albatross",
        ),
        ("wsol", _line(f"{TABLES}/image_ids.txt", "test/a.jpg\n"), "list: image_ids.txt: test/a.jpg is listed 2 times"),
        (
            "wsol",
            _line(f"{TABLES}/class_labels.txt", "x.jpg,0\n"),
            "list: class_labels.txt: labels without an image (1): x",
        ),
        (
            "wsol",
            _line(f"{TABLES}/localization.txt", "x.jpg,1,1,2,2\n"),
            "list: localization.txt: boxes or masks of images",
        ),
        (
            "wsol",
            _text(f"{TABLES}/image_sizes.txt", "test/a.jpg,40,32\ntest/c.jpg,40,32\n"),
            "list: image_sizes.txt: imag",
        ),
        (
            "wsol",
            _line(f"{TABLES}/localization.txt", "test/a.jpg,1,1,40,2\n"),
            "annotation: a.jpg: a box reaches over the",
        ),
        ("masks", _gone("test/0bt_c3/a_2.png"), "mask: a.jpg: the mask test/0bt_c3/a_2.png does not exist"),
        (
            "folder",
            _line("boxes.csv", "x.jpg,cat,1,1,2,2\n"),
            "annotation: boxes.csv: images that the data set lacks (1): x.",
        ),
        (
            "folder",
            _copy("masks/cat/1.png", "masks/cat/3.png"),
            "annotation: masks: masks of no image, or of none of its labels (1): cat/3.png",
        ),
        ("folder", _gone("masks/cat/2.png"), "mask: 2.jpg: there is no mask cat/2.png"),
        (
            "folder",
            _line("boxes.csv", "cat/1.jpg,cat,1,2\n"),
            "annotation: boxes.csv, row 3: 'cat/1.jpg,cat,1,2' is no",
        ),
        (
            "folder",
            _text("boxes.csv", "cat/1.jpg,cow,1,1,9,9\n"),
            "label without box: 1.jpg: is labeled cat, but has no box",
        ),
    ],
)
def test_each_problem_is_named(tmp_path: Path, kind: str, change: Callable[[Path], None], expected: str) -> None:
    root = MAKERS[kind](tmp_path)
    settings = _settings(kind, root)
    before = [problem.kind for problem in check_dataset(settings)]
    change(root)
    found = [problem for problem in check_dataset(settings) if problem.kind not in before]
    lines = [f"{problem.kind}: {Path(problem.where).name}: {problem.sentence}" for problem in found]
    assert lines
    assert any(line.startswith(expected) for line in lines)
    # A box of another class is wrong from all sides, and of a missing image the size of its boxes' frame is unknown.
    assert len(lines) <= 3


def test_images_of_impossible_sizes(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    picture(root / "small.png", (0, 0, 1, 1), size_wh=(40, 7))
    Image.new("1", (10_001, 10_000)).save(root / "large.png")
    settings = DataSettings(dataset="folder", root=root)
    assert [problem.sentence for problem in check_dataset(settings)] == [
        "has 10001 x 10000 pixels, more than 100 million",
        "is 40 x 7 pixels, less than 8 on a side",
    ]


def test_classes_ids_and_limit_choose_images(tmp_path: Path) -> None:
    root = voc(tmp_path)
    shutil.rmtree(root / VOC / "JPEGImages")
    for more, missing in (
        ({}, ["a.jpg", "b.jpg"]),
        ({"limit": 1}, ["a.jpg"]),
        ({"classes": ("dog",)}, ["b.jpg"]),
        ({"ids": tmp_path / "ids.txt"}, ["b.jpg"]),
    ):
        write(tmp_path / "ids.txt", "b\n")
        settings = DataSettings(dataset="voc", root=root, **more)  # type: ignore[arg-type]
        found = [problem for problem in check_dataset(settings) if problem.kind == "missing image"]
        assert [Path(problem.where).name for problem in found] == missing


def test_the_images_are_watched_as_they_are_read(tmp_path: Path) -> None:
    seen = []

    def watch(items: Iterable[T], what: str, unit: str, total: int | None = None) -> Iterable[T]:
        assert (what, unit, total) == ("images", "image", None)
        for item in items:
            assert isinstance(item, ImageRecord)
            seen.append(item.image_id)
            yield item

    list(check_dataset(DataSettings(dataset="voc", root=voc(tmp_path)), watch))
    assert seen == ["a", "b"]


def test_a_glob_of_images_is_read_alone(tmp_path: Path) -> None:
    picture(tmp_path / "1.jpg")
    write(tmp_path / "2.jpg", "no picture")
    (problem,) = check_dataset(DataSettings(images=str(tmp_path / "*.jpg")))
    assert problem == Problem("unreadable image", str(tmp_path / "2.jpg"), problem.sentence)


def test_real_photographs_have_no_problem(shared: Path) -> None:
    assert list(check_dataset(DataSettings(dataset="voc", root=shared, split="trainval", limit=60))) == []


def test_a_class_with_difficult_boxes_alone_need_not_be_labeled(tmp_path: Path) -> None:
    root = voc(tmp_path)
    path = root / VOC / "Annotations/a.xml"
    sides = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
    cow = f"<object><name>cow</name><difficult>1</difficult>{sides}</object></annotation>"
    write(path, path.read_text().replace("</annotation>", cow))
    assert list(check_dataset(_settings("voc", root))) == []
    write(path, path.read_text().replace("<difficult>1", "<difficult>0"))
    assert [problem.kind for problem in check_dataset(_settings("voc", root))] == ["box without label"]


def _problems(settings: DataSettings) -> list[tuple[str, str, str]]:
    return [(problem.kind, Path(problem.where).name, problem.sentence) for problem in check_dataset(settings)]


@pytest.mark.parametrize("objects", ["", "<Object><name>cat</name></Object>"])
def test_a_labeled_image_without_an_object_is_found(tmp_path: Path, objects: str) -> None:
    """Also where no image has one."""
    voc(tmp_path)
    shutil.rmtree(tmp_path / "VOCdevkit/VOC2012/SegmentationObject")
    for name in ("a", "b"):
        write(tmp_path / f"VOCdevkit/VOC2012/Annotations/{name}.xml", f"<annotation>{objects}</annotation>")
    assert _problems(_settings("voc", tmp_path)) == [
        ("label without box", "a.jpg", "is labeled cat, but has no box of it"),
        ("label without box", "b.jpg", "is labeled dog, but has no box of it"),
    ]


@pytest.mark.parametrize(
    ("label", "name"), [("Dog", "dog"), ("polar bear", "polar_bear"), ("pol\u00e1r", "pola\u0301r"), ("dog", "DOG")]
)
def test_a_class_that_is_spelled_in_two_ways_is_found(tmp_path: Path, label: str, name: str) -> None:
    picture(tmp_path / "photos" / label / "1.jpg")
    picture(tmp_path / "photos/cat/2.jpg")
    write(tmp_path / "boxes.csv", f"{label}/1.jpg,{name},4,5,20,25\ncat/2.jpg,cat,4,5,20,25\n")
    settings = DataSettings("folder", tmp_path / "photos", boxes=tmp_path / "boxes.csv")
    assert _problems(settings)[0] == (
        "annotation",
        "classes",
        f"the boxes say {name!r} where the labels say {label!r}, and count as another class",
    )


def test_boxes_in_fractions_are_found(tmp_path: Path) -> None:
    """The only whole numbers among them are 0 and 1: a box of one pixel in the corner has nothing else."""
    picture(tmp_path / "photos/cat/1.jpg")
    write(
        tmp_path / "boxes.csv",
        "cat/1.jpg,cat,0.25,0,1,0.5\ncat/1.jpg,cat,0,0,1,1\ncat/1.jpg,cat,0.5,0.5,1.5,2\n",
    )
    settings = DataSettings("folder", tmp_path / "photos", boxes=tmp_path / "boxes.csv")
    told = "the box of a cat lies in the first pixel, as fractions of the image would, and was left out"
    assert _problems(settings) == [("annotation", "1.jpg", f"{told}; boxes are in pixels")]
