from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from wsloc.config import DataSettings
from wsloc.datasets import open_dataset, read_ground_truth
from wsloc.datasets.own_images import open_class_folders, open_glob, open_labeled_images
from wsloc.errors import ItemError, UserError
from wsloc.images import read_image


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two cats, a dog, a loose image and a file that is no image."""
    root = tmp_path / "photos"
    for name in ("cat/1.jpg", "cat/old/2.PNG", "dog/1.jpg", "loose.bmp"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 12)).save(root / name)
    (root / "cat" / "notes.txt").write_text("no image")
    return root


def _csv(root: Path, text: str) -> Path:
    path = root.parent / "labels.csv"
    path.write_text(text, encoding="utf-8")
    return path


def _items(dataset: object) -> list[tuple[str, tuple[str, ...]]]:
    return [(image.image_id, image.labels) for image in dataset.images]  # type: ignore[attr-defined]


def test_sub_folders_are_classes(photos: Path) -> None:
    dataset = open_class_folders(photos)
    assert _items(dataset) == [
        ("cat/1.jpg", ("cat",)),
        ("cat/old/2.PNG", ("cat",)),
        ("dog/1.jpg", ("dog",)),
        ("loose.bmp", ()),
    ]
    assert dataset.class_names == ("cat", "dog")
    assert dataset.label_map is None
    assert [image.file for image in dataset.images] == [image.image_id for image in dataset.images]


def test_a_missing_or_empty_folder_is_a_users_error(tmp_path: Path, photos: Path) -> None:
    for opener in (open_class_folders, lambda root: open_labeled_images(root, _csv(photos, "a.jpg,cat\n"))):
        with pytest.raises(UserError, match=r"none does not exist; `root` names the one that holds the images\.$"):
            opener(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"There is no image \(.*\.jpg.*\) in .*empty or its sub-folders\.$"):
        open_class_folders(tmp_path / "empty")


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("a.jpg,cat\n", [("a.jpg", ("cat",))]),
        ("image,label\na.jpg,cat\n", [("a.jpg", ("cat",))]),
        ("Filename,Class\r\na.jpg,cat\r\n", [("a.jpg", ("cat",))]),
        ("\ufeffimage,label\na.jpg,cat\n", [("a.jpg", ("cat",))]),
        ("\ufeffa.jpg,cat\n", [("a.jpg", ("cat",))]),
        ("a.jpg,dog;cat\n", [("a.jpg", ("dog", "cat"))]),
        ("a.jpg, dog ; ;cat;dog\n", [("a.jpg", ("dog", "cat"))]),
        ("a.jpg,cat\nb.jpg,dog\na.jpg,dog;cat\n", [("a.jpg", ("cat", "dog")), ("b.jpg", ("dog",))]),
        ("a.jpg,cat\n./a.jpg,dog\n", [("a.jpg", ("cat", "dog"))]),
        ('"x, y.jpg",cat\n\nz.jpg,\n', [("x, y.jpg", ("cat",)), ("z.jpg", ())]),
        ("sub/ä.jpg,Tür\n", [("sub/ä.jpg", ("Tür",))]),
    ],
    ids=["plain", "header", "windows", "bom", "bom-plain", "several", "spaces", "joined", "dot", "quoted", "utf-8"],
)
def test_labels_from_a_csv_file(photos: Path, text: str, items: list[tuple[str, tuple[str, ...]]]) -> None:
    dataset = open_labeled_images(photos, _csv(photos, text))
    assert _items(dataset) == items
    assert list(dataset.class_names) == sorted({label for _, labels in items for label in labels})
    assert [image.path for image in dataset.images] == [photos / name for name, _ in items]


def test_a_missing_image_is_found_out_only_when_it_is_read(photos: Path) -> None:
    (image,) = open_labeled_images(photos, _csv(photos, "none.jpg,cat\n")).images
    with pytest.raises(ItemError, match=r"none\.jpg does not exist"):
        read_image(image.path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a.jpg\n", r"labels\.csv, row 1: expected image,label\[;label\.\.\.\] but found 1 columns\.$"),
        ("image,label\na.jpg,cat,3\n", r"labels\.csv, row 2: .* but found 3 columns\.$"),
        ("../a.jpg,cat\n", r"row 1: \.\./a\.jpg is outside"),
        ("cat/../../a.jpg,cat\n", r"row 1: cat/\.\./\.\./a\.jpg is outside"),
        ("/etc/passwd,cat\n", r"row 1: /etc/passwd is outside"),
        (",cat\n", r"row 1: the image has no name"),
        ("", "names no image; it needs rows"),
        ("image,label\n", "names no image; it needs rows"),
    ],
    ids=["one", "three", "parent", "hidden-parent", "absolute", "no-name", "empty", "header-only"],
)
def test_a_bad_csv_file_is_a_users_error(photos: Path, text: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        open_labeled_images(photos, _csv(photos, text))


@pytest.mark.parametrize("root", [".", "photos/.."])
def test_a_relative_root_holds_its_files_too(photos: Path, monkeypatch: pytest.MonkeyPatch, root: str) -> None:
    monkeypatch.chdir(photos.parent)
    assert len(open_labeled_images(Path(root), _csv(photos, "photos/loose.bmp,cat\n")).images) == 1
    with pytest.raises(UserError, match=r"\.\./secret\.jpg is outside"):
        open_labeled_images(Path(root), _csv(photos, "../secret.jpg,cat\n"))


def test_a_csv_file_that_cannot_be_read_is_a_users_error(photos: Path) -> None:
    with pytest.raises(UserError, match=r"The table of labels .*none\.csv does not exist; check the path\.$"):
        open_labeled_images(photos, photos / "none.csv")
    (photos / "latin.csv").write_bytes("a.jpg,Tür\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"The table of labels .*latin\.csv is not UTF-8 text; save it as UTF-8"):
        open_labeled_images(photos, photos / "latin.csv")


@pytest.mark.parametrize(
    ("pattern", "ids"),
    [
        ("cat/*", ["1.jpg"]),
        ("**/*.jpg", ["cat/1.jpg", "dog/1.jpg"]),
        ("*", ["loose.bmp"]),
        ("cat/**", ["1.jpg", "old/2.PNG"]),
    ],
)
def test_glob(photos: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, ids: list[str]) -> None:
    absolute = open_glob(str(photos / pattern))
    assert [image.image_id for image in absolute.images] == ids
    assert all(image.path.is_file() and image.labels == () for image in absolute.images)
    monkeypatch.chdir(photos)
    assert [image.image_id for image in open_glob(pattern).images] == ids


@pytest.mark.parametrize("pattern", ["none/*.jpg", "cat/*.txt", "cat/o*", ""])
def test_a_glob_without_an_image_is_a_users_error(photos: Path, monkeypatch: pytest.MonkeyPatch, pattern: str) -> None:
    monkeypatch.chdir(photos)
    with pytest.raises(UserError, match=r"matches no image(, only 1 \.txt)?; quote the pattern and check the folder"):
        open_glob(pattern)


@pytest.fixture
def settings(photos: Path) -> DataSettings:
    return DataSettings(dataset="folder", root=photos)


def test_images_without_a_label_are_left_out(settings: DataSettings) -> None:
    assert [labels for _, labels in _items(open_dataset(settings))] == [("cat",), ("cat",), ("dog",)]


def test_class_replaces_every_label(settings: DataSettings) -> None:
    items = _items(open_dataset(replace(settings, class_name="horse")))
    assert [labels for _, labels in items] == [("horse",)] * 4


def test_targets_take_every_label_away(settings: DataSettings) -> None:
    items = _items(open_dataset(replace(settings, targets="top5")))
    assert [labels for _, labels in items] == [()] * 4


def test_classes_choose_among_the_labels(settings: DataSettings, photos: Path) -> None:
    assert _items(open_dataset(replace(settings, classes=("dog",)))) == [("dog/1.jpg", ("dog",))]
    both = replace(settings, labels=_csv(photos, "loose.bmp,dog;cat\ncat/1.jpg,cat\n"), classes=("dog",))
    assert _items(open_dataset(both)) == [("loose.bmp", ("dog",))]
    with pytest.raises(UserError, match=r"`classes`: the data set has no class 'dogs'; it has cat, dog\.$"):
        open_dataset(replace(settings, classes=("dog", "dogs")))


def test_limit_counts_images_that_are_left(settings: DataSettings) -> None:
    chosen = replace(settings, classes=("dog",), limit=1)
    assert _items(open_dataset(chosen)) == [("dog/1.jpg", ("dog",))]
    assert len(open_dataset(replace(settings, limit=2)).images) == 2
    assert len(open_dataset(replace(settings, limit=99)).images) == 3


def test_a_choice_that_leaves_no_item_is_a_users_error(tmp_path: Path) -> None:
    lists = tmp_path / "VOCdevkit" / "VOC2012" / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    for name, text in {"val": "a\n", "cat_val": "a 1\n", "dog_val": "a -1\n"}.items():
        (lists / f"{name}.txt").write_text(text)
    voc = DataSettings(dataset="voc", root=tmp_path, split="val")
    assert _items(open_dataset(voc)) == [("a", ("cat",))]
    with pytest.raises(UserError, match="No image is labeled dog"):
        open_dataset(replace(voc, classes=("dog",)))


def test_images_need_something_to_look_for(photos: Path) -> None:
    own = DataSettings(images=str(photos / "**" / "*.jpg"))
    with pytest.raises(UserError, match=r"The images have no labels; give `labels`, `class_name`, or `targets='top5'`"):
        open_dataset(own)
    assert len(open_dataset(replace(own, class_name="cat")).images) == 2
    assert len(open_dataset(replace(own, targets="top3")).images) == 2


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        (
            DataSettings(),
            r"Nothing to localize: give `dataset` \(demo, voc, coco, imagenet, cub, folder, webdataset, wsol\), or `im",
        ),
        (DataSettings(dataset="folder"), "`dataset='folder'` needs `root`"),
    ],
)
def test_no_data_set_is_a_users_error(chosen: DataSettings, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        open_dataset(chosen)


def test_own_images_have_no_ground_truth(settings: DataSettings, photos: Path) -> None:
    own = DataSettings(images=str(photos / "*"), class_name="cat")
    for chosen in (settings, own):
        assert read_ground_truth(chosen, open_dataset(chosen)) is None


def test_a_link_to_a_class_folder_is_followed_once(photos: Path) -> None:
    (photos / "kitten").symlink_to(photos / "cat", target_is_directory=True)
    (photos / "dog" / "again").symlink_to(photos, target_is_directory=True)
    outside = photos.parent / "outside"
    outside.mkdir()
    Image.new("RGB", (16, 12)).save(outside / "1.jpg")
    (photos / "cow").symlink_to(outside, target_is_directory=True)
    labels = [label for _, label in _items(open_class_folders(photos))]
    assert ("cow",) in labels
    assert len(labels) == 5


def test_ids_may_hold_spaces(photos: Path) -> None:
    Image.new("RGB", (16, 12)).save(photos / "cat" / "my cat.jpg")
    listed = photos.parent / "ids.txt"
    listed.write_text("\ufeffcat/my cat.jpg\n\ndog/1.jpg\n", encoding="utf-8")
    dataset = open_dataset(DataSettings(dataset="folder", root=photos, ids=listed))
    assert [image.image_id for image in dataset.images] == ["cat/my cat.jpg", "dog/1.jpg"]
    listed.write_text("cow/1.jpg\n")
    with pytest.raises(UserError, match=r"no image 'cow/1.jpg' \(1 of 1 are missing\)"):
        open_dataset(DataSettings(dataset="folder", root=photos, ids=listed))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"images": "*.jpg"}, "`images` is used alone"),
        ({"dataset": "voc", "labels": Path("a.csv")}, "`labels` is only for `dataset='folder'`"),
        ({"class_name": "cat", "classes": ("dog",)}, "`class_name` looks for one class in every image and `classes`"),
    ],
)
def test_settings_that_contradict_each_other(photos: Path, changes: dict[str, object], sentence: str) -> None:
    settings = replace(DataSettings(dataset="folder", root=photos), **changes)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=sentence):
        open_dataset(settings)
