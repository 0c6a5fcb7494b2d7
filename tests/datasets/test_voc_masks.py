from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import ArrayLike
from PIL import Image

from wsloc.boxes import mask_box
from wsloc.datasets.demo import generate, generate_demo, open_demo
from wsloc.datasets.voc import open_voc, read_voc_ground_truth
from wsloc.errors import ItemError
from wsloc.records import TrueMasks

EXIF_ORIENTATION = 274
# 12 x 9 pixels: object 1 in columns 2 to 4, object 2 beside it, a border of void between them.
OBJECTS = np.zeros((9, 12), dtype=np.uint8)
OBJECTS[1:7, 2:5] = 1
OBJECTS[1:7, 5] = 255
OBJECTS[3:8, 6:11] = 2
# VOC's numbers: 8 is cat, 12 is dog. One pixel of the dog is called a cat.
CLASSES = np.select([OBJECTS == 1, OBJECTS == 2, OBJECTS == 255], [8, 12, 255]).astype(np.uint8)
CLASSES[3, 6] = 8


def _save_palette(indices: ArrayLike, path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    image = Image.fromarray(np.asarray(indices, dtype=np.uint8))
    image.putpalette([(7 * value) % 256 for value in range(768)])
    image.save(path)


def _devkit(
    root: Path,
    objects: ArrayLike | None = OBJECTS,
    classes: ArrayLike | None = CLASSES,
    orientation: int = 1,
    class_names: tuple[str, ...] = ("cat", "dog"),
) -> Path:
    """One image ``a``, 12 x 9 as stored, with these masks, and ``b`` without; returns the year's folder."""
    folder = root / "VOCdevkit" / "VOC2012"
    for name in ("ImageSets/Main", "JPEGImages", "Annotations"):
        (folder / name).mkdir(parents=True)
    (folder / "ImageSets" / "Main" / "val.txt").write_text("a\nb\n")
    for name in class_names:
        (folder / "ImageSets" / "Main" / f"{name}_val.txt").write_text("a 1\nb 1\n")
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    for name in ("a", "b"):
        Image.new("RGB", (12, 9)).save(folder / "JPEGImages" / f"{name}.jpg", exif=exif)
        (folder / "Annotations" / f"{name}.xml").write_text("<annotation/>")
    if objects is not None:
        _save_palette(objects, folder / "SegmentationObject" / "a.png")
    if classes is not None:
        _save_palette(classes, folder / "SegmentationClass" / "a.png")
    return folder


def _masks(root: Path, image_id: str = "a") -> TrueMasks:
    read_masks = read_voc_ground_truth(open_voc(root, "2012", "val")).read_masks
    assert read_masks is not None
    return read_masks(image_id)


def test_objects_get_the_class_of_most_of_their_pixels(tmp_path: Path) -> None:
    _devkit(tmp_path)
    found = _masks(tmp_path)
    assert found.class_names == ("cat", "dog")
    assert found.masks.dtype == found.ignored.dtype == bool
    np.testing.assert_array_equal(found.masks, [OBJECTS == 1, OBJECTS == 2])
    np.testing.assert_array_equal(found.ignored, OBJECTS == 255)


def test_void_and_background_are_no_class_of_an_object(tmp_path: Path) -> None:
    classes = np.select([OBJECTS == 1, OBJECTS == 2], [255, 0]).astype(np.uint8)
    classes[2, 2], classes[4, 7] = 8, 12
    _devkit(tmp_path, classes=classes)
    assert _masks(tmp_path).class_names == ("cat", "dog")


@pytest.mark.parametrize(
    ("class_names", "expected"),
    [(("dog",), ("cat", "dog")), (("ant", "bee"), ("ant", "bee"))],
    ids=["part-of-voc", "own-classes"],
)
def test_numbers_are_vocs_own_or_count_the_lists(
    tmp_path: Path, class_names: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    classes = CLASSES if expected[0] == "cat" else np.where(CLASSES == 8, 1, np.where(CLASSES == 12, 2, CLASSES))
    _devkit(tmp_path, classes=classes, class_names=class_names)
    assert _masks(tmp_path).class_names == expected


def test_an_image_without_objects_has_no_masks_and_a_void(tmp_path: Path) -> None:
    empty = np.where(OBJECTS == 255, 255, 0)
    _devkit(tmp_path, empty, empty)
    found = _masks(tmp_path)
    assert found.masks.shape == (0, 9, 12)
    assert found.class_names == ()
    assert found.ignored.sum() == 6


@pytest.mark.parametrize(
    ("mask_turned", "orientation"),
    [(False, 6), (True, 6), (False, 3), (False, 1)],
    ids=["stored", "transposed", "half-turn", "upright"],
)
def test_masks_turn_with_the_image(tmp_path: Path, mask_turned: bool, orientation: int) -> None:
    turn = {1: 0, 3: 2, 6: -1}[orientation]  # quarters, counter-clockwise
    objects, classes = (np.rot90(mask, turn) if mask_turned else mask for mask in (OBJECTS, CLASSES))
    _devkit(tmp_path, objects, classes, orientation)
    found = _masks(tmp_path)
    np.testing.assert_array_equal(found.masks, [np.rot90(OBJECTS == 1, turn), np.rot90(OBJECTS == 2, turn)])
    np.testing.assert_array_equal(found.ignored, np.rot90(OBJECTS == 255, turn))


def test_an_unreadable_image_keeps_its_masks(tmp_path: Path) -> None:
    folder = _devkit(tmp_path)
    (folder / "JPEGImages" / "a.jpg").write_bytes(b"no image")
    np.testing.assert_array_equal(_masks(tmp_path).masks[0], OBJECTS == 1)


def test_a_data_set_without_masks_has_no_reader(tmp_path: Path) -> None:
    folder = _devkit(tmp_path, objects=None)
    assert read_voc_ground_truth(open_voc(tmp_path, "2012", "val")).read_masks is None
    _save_palette(OBJECTS, folder / "SegmentationObject" / "other.png")
    assert read_voc_ground_truth(open_voc(tmp_path, "2012", "val")).read_masks is None


@pytest.mark.parametrize(
    ("objects", "classes", "sentence"),
    [
        (OBJECTS, None, r"there is no mask SegmentationClass/a\.png"),
        (OBJECTS, CLASSES[:, :5], "the two masks of a differ in size"),
        (OBJECTS[:5], CLASSES[:5], "the mask of a has 12 x 5 pixels, its image 12 x 9"),
        (OBJECTS.T, CLASSES.T, "the mask of a has 9 x 12 pixels, its image 12 x 9"),
        (OBJECTS, np.zeros_like(CLASSES), "an object in the mask of a has no class"),
        (OBJECTS, np.full_like(CLASSES, 255), "an object in the mask of a has no class"),
        (OBJECTS, np.full_like(CLASSES, 21), "an object in the mask of a has no class"),
        (np.dstack([OBJECTS] * 3), CLASSES, r"SegmentationObject/a\.png has pixels of type RGB, not palette indices"),
    ],
    ids=["no-class-file", "two-sizes", "size", "side", "no-class", "void-class", "class-21", "colors"],
)
def test_bad_masks_are_an_items_error(
    tmp_path: Path, objects: ArrayLike, classes: ArrayLike | None, sentence: str
) -> None:
    is_color = np.ndim(objects) == 3
    folder = _devkit(tmp_path, OBJECTS if is_color else objects, classes)
    if is_color:
        Image.fromarray(np.asarray(objects)).save(folder / "SegmentationObject" / "a.png")
    with pytest.raises(ItemError, match=sentence):
        _masks(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no image", "cut"], ids=["empty", "text", "cut"])
def test_damaged_mask_files_are_an_items_error(tmp_path: Path, content: bytes | str) -> None:
    path = _devkit(tmp_path) / "SegmentationObject" / "a.png"
    path.write_bytes(content if isinstance(content, bytes) else path.read_bytes()[:-30])
    with pytest.raises(ItemError, match=r"SegmentationObject/a\.png cannot be read"):
        _masks(tmp_path)


def test_an_image_without_a_mask_file_is_an_items_error(tmp_path: Path) -> None:
    _devkit(tmp_path)
    with pytest.raises(ItemError, match=r"there is no mask SegmentationObject/b\.png"):
        _masks(tmp_path, "b")
    with pytest.raises(ItemError, match="no image c"):
        _masks(tmp_path, "c")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("demo") / "demo"
    generate_demo(root, seed=4, train=3, test=12)
    return root


def test_the_demos_masks_have_the_demos_boxes_and_labels(demo: Path) -> None:
    truth = read_voc_ground_truth(open_demo(demo, "test"))
    assert truth.read_masks is not None
    objects = 0
    for image_id, found in truth.images.items():
        masks = truth.read_masks(image_id)
        assert masks.class_names == found.class_names
        assert [list(mask_box(mask)) for mask in masks.masks] == found.boxes_xyxy.tolist()
        assert masks.masks.sum(axis=0).max(initial=0) <= 1
        assert not masks.ignored.any()
        objects += len(masks.masks)
    assert objects == sum(len(found.boxes_xyxy) for found in truth.images.values()) > 10


def test_the_demos_masks_are_painted_in_vocs_colors(demo: Path) -> None:
    with Image.open(demo / "VOCdevkit" / "VOC2012" / "SegmentationClass" / "test_000000.png") as image:
        palette = np.array(image.getpalette()).reshape(-1, 3)
    assert palette[[0, 1, 2, 3, 8, 15, 20, 255]].tolist() == [
        [0, 0, 0],
        [128, 0, 0],
        [0, 128, 0],
        [128, 128, 0],
        [64, 0, 0],
        [192, 128, 128],
        [0, 64, 128],
        [224, 224, 192],
    ]


def _contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_a_demo_of_before_the_masks_is_completed(demo: Path, tmp_path: Path) -> None:
    old = tmp_path / "demo"
    shutil.copytree(demo, old)
    voc = old / "VOCdevkit" / "VOC2012"
    shutil.rmtree(voc / "SegmentationObject")
    (voc / "SegmentationClass" / "test_000001.png").unlink()
    assert read_voc_ground_truth(open_voc(old, "2012", "test")).read_masks is None
    for split in ("test", "train"):
        open_demo(old, split)
    assert _contents(old) == _contents(demo)


def test_a_demo_of_other_scenes_gets_no_masks_and_stays_whole(demo: Path, tmp_path: Path) -> None:
    """Another version of NumPy or OpenCV may draw other scenes than those that lie there."""
    old = tmp_path / "demo"
    shutil.copytree(demo, old)
    voc = old / "VOCdevkit" / "VOC2012"
    shutil.rmtree(voc / "SegmentationObject")
    path = voc / "Annotations" / "test_000000.xml"
    path.write_text(path.read_text().replace("<segmented>0", "<segmented>1"))
    assert read_voc_ground_truth(open_demo(old, "test")).read_masks is None
    assert len(open_demo(old, "test").images) == 12


def test_a_demo_that_cannot_be_written_to_does_without(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("read-only")

    old = tmp_path / "demo"
    shutil.copytree(demo, old)
    shutil.rmtree(old / "VOCdevkit" / "VOC2012" / "SegmentationObject")
    monkeypatch.setattr(generate, "write_masks", refuse)
    assert len(open_demo(old, "test").images) == 12
