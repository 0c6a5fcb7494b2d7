from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from wsloc.cli.main import main
from wsloc.config import DataSettings
from wsloc.datasets import open_dataset
from wsloc.datasets.image_files import find_images, is_hidden
from wsloc.datasets.own_images import open_class_folders, open_glob
from wsloc.errors import UserError


def _picture(path: Path, kind: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 12)).save(path, kind)
    return path


def _labels(root: Path, split: str = "") -> list[tuple[str, tuple[str, ...]]]:
    return [(image.file, image.labels) for image in open_class_folders(root, split).images]


@pytest.mark.parametrize(
    ("suffix", "kind"),
    [(".jfif", "JPEG"), (".jpe", "JPEG"), (".JP2", "JPEG2000"), (".avif", "AVIF"), (".gif", "GIF"), (".pbm", "PPM")],
)
def test_what_the_reader_decodes_is_taken_everywhere(tmp_path: Path, suffix: str, kind: str) -> None:
    path = _picture(tmp_path / "cat" / f"a{suffix}", kind)
    file = path.relative_to(tmp_path).as_posix()
    assert _labels(tmp_path) == [(file, ("cat",))]
    assert [image.file for image in open_glob(f"{tmp_path}/*/*").images] == [path.name]
    assert [image.file for image in open_glob(str(tmp_path)).images] == [path.name]
    table = tmp_path.parent / f"{tmp_path.name}.csv"
    table.write_text(f"{file},cat\n")
    (image,) = open_dataset(DataSettings(dataset="folder", root=tmp_path, labels=table)).images
    assert image.path == path


@pytest.mark.parametrize(
    "file",
    [
        ".ipynb_checkpoints/a-checkpoint.jpg",
        "__MACOSX/cat/._a.jpg",
        "cat/._a.jpg",
        "cat/.hidden.jpg",
        "cat/.thumbs/a.jpg",
        "cat/@eaDir/a.jpg",
        "$RECYCLE.BIN/a.jpg",
        "cat/Thumbs.db",
        "cat/desktop.ini",
        ".DS_Store",
    ],
)
def test_hidden_and_resource_files_are_no_data(tmp_path: Path, file: str, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / ".cache" / "photos"
    _picture(root / "cat" / "a.jpg")
    _picture(root / file, "JPEG")
    assert _labels(root) == [("cat/a.jpg", ("cat",))]
    for pattern in (f"{root}/**/*", str(root), f"{root}/**"):
        assert [image.path for image in open_glob(pattern).images] == [root / "cat" / "a.jpg"]
    assert main(["check-dataset", "--dataset", "folder", "--root", str(root)]) == 0
    assert capsys.readouterr().out == "1 image: no problems.\n"


@pytest.mark.parametrize(
    ("name", "hidden"),
    [("THUMBS.DB", True), ("._a.jpg", True), ("a.jpg", False), ("thumbs", False), ("_a.jpg", False), ("a.", False)],
)
def test_names_that_are_hidden(name: str, hidden: bool) -> None:
    assert is_hidden(name) == hidden


def test_other_files_are_counted_by_suffix_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "photos"
    _picture(root / "cat" / "a.jpg")
    for file in ("cat/b.heic", "dog/c.HEIC", "dog/d.psd", "notes", "labels.csv"):
        (root / file).parent.mkdir(exist_ok=True)
        (root / file).write_text("x")
    assert find_images(root).others == {".heic": 2, ".psd": 1, "without suffix": 1, ".csv": 1}
    assert main(["check-dataset", "--dataset", "folder", "--root", str(root)]) == 1
    said = capsys.readouterr()
    assert f"{root}/dog: holds no image of its own, so there is no class of its name, only 1 .heic, 1 .psd" in said.out
    assert f"wsloc: {root}: 5 files left out, not images that can be read: 2 .heic, " in said.err
    with pytest.raises(UserError, match=r"dog or its sub-folders, only 1 \.heic, 1 \.psd\.$"):
        open_class_folders(root / "dog")
    with pytest.raises(UserError, match=r"matches no image, only 1 \.heic, 1 \.psd; "):
        open_glob(f"{root}/dog/*")


def test_a_lost_class_is_said_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _picture(tmp_path / "photos" / "cat" / "a.jpg")
    (tmp_path / "photos" / "dog").mkdir()
    assert main(["localize", "--dataset", "folder", "--root", "photos", "--weights", "none.pth"]) == 2
    said = "wsloc: photos/dog: holds no image of its own, so there is no class of its name.\n"
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("names", [("train", "val"), ("Train", "Test"), ("training_set", "test_set"), ("train2017",)])
def test_folders_of_splits_are_no_classes(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        for file in ("cat/a.jpg", "dog/sub/b.jpg", "c.jpg"):
            _picture(tmp_path / name / file)
    with pytest.raises(UserError, match=rf"holds the split folders .*; choose one: `split='{sorted(names)[0]}'`\.$"):
        open_class_folders(tmp_path)
    for name in names:
        found = _labels(tmp_path, name)
        assert found == [(f"{name}/c.jpg", ()), (f"{name}/cat/a.jpg", ("cat",)), (f"{name}/dog/sub/b.jpg", ("dog",))]


@pytest.mark.parametrize("extra", ["other/cat/a.jpg", "loose.jpg"])
def test_splits_beside_something_else_are_no_classes(tmp_path: Path, extra: str) -> None:
    for file in ("train/cat/a.jpg", "val/cat/a.jpg", extra):
        _picture(tmp_path / file)
    with pytest.raises(UserError, match="holds the split folders train, val"):
        open_class_folders(tmp_path)


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    for file in ("train/a.jpg", "cat/a.jpg", "test/a.jpg"):
        _picture(tmp_path / file)
    assert open_class_folders(tmp_path).class_names == ("cat", "test", "train")


@pytest.mark.parametrize("split", ["none", "../outside", "cat/a.jpg"])
def test_a_split_that_is_no_folder_is_a_users_error(tmp_path: Path, split: str) -> None:
    _picture(tmp_path / "cat" / "a.jpg")
    (tmp_path.parent / "outside").mkdir(exist_ok=True)
    with pytest.raises(UserError, match=r"There is no folder .* in .*; `split` names one that holds class folders"):
        open_class_folders(tmp_path, split)
    with pytest.raises(UserError, match=r"`split` chooses among folders of class folders, and `labels` names"):
        open_dataset(DataSettings(dataset="folder", root=tmp_path, split=split, labels=tmp_path / "labels.csv"))


@pytest.mark.parametrize(
    ("pattern", "ids"),
    [
        ("[x] 2024/a.jpg", ["a.jpg"]),
        ("[x] 2024/*.jpg", ["a.jpg", "b[1].jpg"]),
        ("[x] 2024", ["a.jpg", "b[1].jpg"]),
        ("[x] 2024/b[1].jpg", ["b[1].jpg"]),
        ("[[]x] 2024/*", ["a.jpg", "b[1].jpg"]),
        ("./[x] 2024/", ["a.jpg", "b[1].jpg"]),
        ("?x? 2024/*", ["a.jpg", "b[1].jpg"]),
    ],
)
def test_folders_and_names_with_brackets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, ids: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.jpg", "b[1].jpg"):
        _picture(tmp_path / "[x] 2024" / name)
    assert [image.file for image in open_glob(pattern).images] == ids


def test_what_is_behind_a_file_is_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="matches no image"):
        open_glob(f"{_picture(tmp_path / 'a.jpg')}/*.jpg")


@pytest.mark.timeout(10)
def test_a_class_of_many_digits_is_told_from_a_split_at_once(tmp_path: Path) -> None:
    _picture(tmp_path / f"train{'1' * 60}x" / "a.jpg")
    assert len(open_class_folders(tmp_path).class_names) == 1


def test_a_pattern_longer_than_any_name_is_a_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="matches no image"):
        open_glob(f"{tmp_path}/{'x' * 300}/*.jpg")


@pytest.mark.parametrize("verb", ["localize", "check-dataset", "detect"])
def test_a_pattern_that_the_shell_expanded(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--images", *(f"{number}.jpg" for number in range(9))]) == 2
    said = capsys.readouterr().err
    assert said.startswith("wsloc: --images takes one pattern; put it in quotes, such as 'photos/*.jpg', so that the")


def test_folders_named_by_wordnet_ids_find_imagenets_outputs(tmp_path: Path) -> None:
    for name in ("n01440764", "n02012849 crane"):
        _picture(tmp_path / "nets" / name / "a.jpg")
        _picture(tmp_path / "mixed" / name / "a.jpg")
    _picture(tmp_path / "mixed" / "cat" / "a.jpg")
    assert open_class_folders(tmp_path / "nets").label_map == "imagenet"
    assert open_class_folders(tmp_path / "mixed").label_map is None
