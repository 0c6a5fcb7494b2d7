"""WebDataset shards: which images and labels they hold, what is wrong with them, and reading from where they lie."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from wsloc.config import DataSettings
from wsloc.datasets import open_dataset, read_ground_truth
from wsloc.datasets.checking import check_dataset
from wsloc.datasets.dataset import require_images
from wsloc.datasets.registry import open_images
from wsloc.datasets.webdataset import open_webdataset
from wsloc.errors import ItemError, UserError
from wsloc.files.image_path import span_of
from wsloc.files.reading import is_there, read_bytes
from wsloc.files.tar_index import path_below
from wsloc.images import read_header, read_image


def picture(seed: int = 0, suffix: str = ".png") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, Image.registered_extensions()[suffix])
    return content.getvalue()


def write_tar(path: Path, files: Mapping[str, bytes | str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            content = data.encode() if isinstance(data, str) else data
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def labels_of(root: Path, files: Mapping[str, bytes | str], **more: object) -> dict[str, tuple[str, ...]]:
    write_tar(root / "s.tar", files)
    dataset = open_webdataset(root, "", **more)  # type: ignore[arg-type]
    return {image.file.removeprefix("s.tar/"): image.labels for image in dataset.images}


def problems_of(root: Path, **more: object) -> list[str]:
    dataset = open_webdataset(root, "", **more)  # type: ignore[arg-type]
    return [f"{path.name}: {sentence}" for path, sentence in dataset.problems]


def test_samples_are_files_of_one_name_up_to_its_first_dot(tmp_path: Path) -> None:
    found = labels_of(
        tmp_path,
        {
            "1.cls": "cat\n", "1.jpg": picture(), "1.txt": "a caption",
            "sub/1.jpg": picture(), "sub.d/1.jpg": picture(), "sub/1.CLS": "dog",
            "2.mask.png": picture(), "2.PNG": picture(), "2.json": '{"label": ["cat", "dog", "cat"]}',
            "3.img.webp": picture(), "3.cls": "dog",
            "1.json": "never read, for there is a .cls",
        },
    )  # fmt: skip
    assert found == {
        "1.jpg": ("cat",), "sub/1.jpg": ("dog",), "sub.d/1.jpg": (), "2.PNG": ("cat", "dog"), "3.img.webp": ("dog",)
    }  # fmt: skip
    dataset = open_webdataset(tmp_path, "")
    assert (dataset.class_names, dataset.label_map) == (("cat", "dog"), None)
    assert [image.image_id for image in dataset.images] == [image.file for image in dataset.images]
    assert problems_of(tmp_path) == ["s.tar: samples without a label (1): sub.d/1"]


def test_numbers_count_in_the_names(tmp_path: Path) -> None:
    files = {"1.jpg": picture(), "1.cls": "1", "2.jpg": picture(), "2.json": '{"class": [0, "1", "red fox"]}'}
    assert labels_of(tmp_path, files) == {"1.jpg": ("1",), "2.jpg": ("0", "1", "red fox")}
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    named = {"1.jpg": ("dog",), "2.jpg": ("cat", "dog", "red fox")}
    assert labels_of(tmp_path, files, names_file=tmp_path / "names.txt") == named
    (tmp_path / "names.txt").rename(tmp_path / "classnames.txt")
    assert labels_of(tmp_path, files) == named
    dataset = open_webdataset(tmp_path, "")
    assert (dataset.class_names, dataset.label_map) == (("cat", "dog", "red fox"), "in-order")
    (tmp_path / "classnames.txt").write_text("cat\ndog\ncat\n")
    with pytest.raises(UserError, match=r"classnames\.txt names the class 'cat' twice"):
        open_webdataset(tmp_path, "")


def test_the_field_of_the_json(tmp_path: Path) -> None:
    files = {
        "1.jpg": picture(), "1.json": '{"caption": "x", "url": "y", "Label": 3}',
        "2.jpg": picture(), "2.json": '{"label": 3, "species": "fox", "breed": null}',
        "3.jpg": picture(), "3.json": '{"species": null}', "3.cls": "fox",
        "4.jpg": picture(), "4.json": '{"caption": "x"}',
    }  # fmt: skip
    assert labels_of(tmp_path, files) == {"1.jpg": ("3",), "2.jpg": (), "3.jpg": ("fox",), "4.jpg": ()}
    assert problems_of(tmp_path) == [
        "s.tar: samples whose label cannot be read (1): 2 has label, species, breed in its .json; `label_column` names "
        "the one",
        "s.tar: samples without a label (1): 4",
    ]
    assert labels_of(tmp_path, files, label_field="species") == {
        "1.jpg": (), "2.jpg": ("fox",), "3.jpg": (), "4.jpg": ()
    }  # fmt: skip


@pytest.mark.parametrize(
    ("suffix", "content", "sentence"),
    [
        ("cls", b"7", "has the label 7, but there are 2 classes, counted from 0"),
        ("cls", b"-1", "has the label -1, but there are 2 classes"),
        ("cls", b"cat\ndog", "has the label 'cat\\ndog', not the name of one class"),
        ("cls", b"\xff\xff", "has a .cls that is no text"),
        ("cls", b" " * (2**20 + 1), "has a .cls that cannot be read: it holds more than 1,048,576 bytes"),
        ("json", b"{", "has a .json that is not JSON"),
        ("json", b"[" * 100_000, "has a .json that is not JSON"),
        ("json", b"[1]", "has a .json that is no object"),
        ("json", b'{"label": 1.5}', "has a label of type float, not the number or the name of a class"),
        ("json", b'{"label": true}', "has a label of type bool, not the number"),
        ("json", b'{"label": "\\ud800"}', "has the label '\\ud800', not the name of one class"),
        ("json", b'{"label": "a\\u0000b"}', "has the label 'a\\x00b', not the name of one class"),
        ("json", b'{"label": {"id": 1}}', "has a label of type dict, not the number"),
        ("json", b'{"label": ["cat", ""]}', "has the label '', not the name of one class"),
    ],
)
def test_a_label_that_cannot_be_read_costs_one_label(
    tmp_path: Path, suffix: str, content: bytes, sentence: str
) -> None:
    (tmp_path / "classnames.txt").write_text("cat\ndog\n")
    found = labels_of(tmp_path, {"a.jpg": picture(), f"a.{suffix}": content, "b.jpg": picture(), "b.cls": "0"})
    assert found == {"a.jpg": (), "b.jpg": ("cat",)}
    (problem,) = problems_of(tmp_path)
    assert problem.startswith(f"s.tar: samples whose label cannot be read (1): a {sentence}")


def test_what_is_wrong_with_a_shard_is_counted_and_the_rest_is_read(tmp_path: Path) -> None:
    whole = {"1.jpg": picture(1), "1.cls": "cat", "2.jpg": picture(2), "2.cls": "cat"}
    write_tar(tmp_path / "a.tar", {
        **whole, "../3.jpg": b"", "noimage.cls": "cat", "4.jpg": picture(), "4.png": picture(), "4.cls": "cat",
        "__MACOSX/5.jpg": b"", "._1.jpg": b"", "nosuffix": b"",
    })  # fmt: skip
    with tarfile.open(tmp_path / "a.tar", "a") as tar:
        for name, kind in {"6.jpg": tarfile.SYMTYPE, "1.jpg": tarfile.REGTYPE}.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)
    content = write_tar(tmp_path / "b.tar", whole).read_bytes()
    (tmp_path / "b.tar").write_bytes(content[: content.rindex(b"IEND") - 20])  # within 2.jpg
    with tarfile.open(tmp_path / "c.tar.gz", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("1.jpg"))
    dataset = open_webdataset(tmp_path, "")
    assert [image.file for image in dataset.images] == [
        "a.tar/1.jpg", "a.tar/2.jpg", "a.tar/4.jpg", "b.tar/1.jpg", "b.tar/2.jpg"
    ]  # fmt: skip
    assert problems_of(tmp_path) == [
        "a.tar: names that lead out of it (1): ../3.jpg",
        "a.tar: links, devices, or files with holes (1): 6.jpg",
        "a.tar: names of several files, of which the first counts (1): 1.jpg",
        "a.tar: samples without an image (1): noimage",
        "a.tar: samples of several images, of which the first counts (1): 4",
        "b.tar: ends too early, within 2.jpg",
        "b.tar: samples without a label (1): 2",
        "c.tar.gz: is compressed (gzip), and only plain tars are read in place; decompress it",
    ]
    np.testing.assert_array_equal(read_image(dataset.images[0].path), read_image(picture(1)))
    with pytest.raises(ItemError, match=r"^2\.jpg cannot be decoded"):
        read_image(dataset.images[4].path)
    checked = [
        (found.kind, found.sentence) for found in check_dataset(DataSettings(dataset="webdataset", root=tmp_path))
    ]
    assert [kind for kind, _ in checked].count("list") == 8
    assert ("equal images", "has the same bytes as a.tar/1.jpg") in checked
    assert [sentence[:17] for kind, sentence in checked if kind == "unreadable image"] == ["cannot be decoded"]


def test_shards_are_chosen_by_folder_file_pattern_and_split(tmp_path: Path) -> None:
    for name in ("train/0.tar", "train/1.tar", "set-val-09.tar", "set-val-10.tar", "validation.tar", ".hidden/0.tar"):
        write_tar(tmp_path / name, {"1.jpg": picture(), "1.cls": "cat"})

    def shards(root: str, split: str = "") -> list[str]:
        dataset = open_webdataset(tmp_path / root, split)
        assert all((dataset.root / image.file).parent.is_file() for image in dataset.images)
        return [image.file.removesuffix("/1.jpg") for image in dataset.images]

    everything = ["set-val-09.tar", "set-val-10.tar", "train/0.tar", "train/1.tar", "validation.tar"]
    assert shards("") == everything
    assert shards("", "val") == everything[:2]
    assert shards("", "TRAIN") == everything[2:4]
    assert shards("train") == shards("train/{0..1}.tar") == shards("train/*.tar") == ["0.tar", "1.tar"]
    assert shards("set-val-{09..10}.tar") == everything[:2]
    assert shards("validation.tar") == ["validation.tar"]
    for root, split, sentence in (
        ("", "test", r"No tar in .* has 'test' in its name; there are set-val-09\.tar, .*: `split` is a word in them"),
        ("set-val-{09..12}.tar", "", r"There is no tar .*/set-val-11\.tar; `root` names a folder of"),
        ("none", "", r"There is no tar .*none; `root`"),
    ):
        with pytest.raises(UserError, match=sentence):
            shards(root, split)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"There is no \.tar in .*empty or its sub-folders"):
        shards("empty")
    with tarfile.open(tmp_path / "empty" / "x.tar", "w:gz"):
        pass
    with pytest.raises(UserError, match=r"There is no image in the 1 tar of .*empty: x\.tar is compressed \(gzip\)"):
        shards("empty")


def test_an_image_in_a_tar_is_read_like_a_file(tmp_path: Path) -> None:
    """By threads, in other processes, by its name alone, and as far as it goes."""
    contents = {f"sub/{number}.jpg": picture(number, ".jpg") for number in range(20)}
    write_tar(tmp_path / "s.tar", contents)
    dataset = open_webdataset(tmp_path, "")
    paths = [image.path for image in dataset.images]
    assert [path.name for path in paths] == [Path(name).name for name in contents]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(read_bytes, paths * 5)) == list(contents.values()) * 5
    again = pickle.loads(pickle.dumps(paths[3]))
    assert (again, span_of(again)) == (paths[3], span_of(paths[3]))
    assert read_bytes(again) == contents["sub/3.jpg"]
    by_name = path_below(tmp_path, "s.tar/sub/3.jpg")
    assert span_of(by_name) == span_of(paths[3])
    assert read_header(by_name).size_wh == (16, 12)
    assert span_of(path_below(tmp_path, "s.tar/sub/none.jpg")) is None
    assert not is_there(path_below(tmp_path, "s.tar/sub/none.jpg"))
    with pytest.raises(OSError, match="holds more than 10 bytes"):
        read_bytes(by_name, max_bytes=10)
    cut = tmp_path / "cut" / "s.tar"
    cut.parent.mkdir()
    content = (tmp_path / "s.tar").read_bytes()
    cut.write_bytes(content[: content.rindex(b"\xff\xd9")])
    chosen = DataSettings(dataset="webdataset", root=cut, targets="top1", truncated_images="accept")
    last = open_dataset(chosen).images[-1]
    assert read_image(last.source).shape == (12, 16, 3)
    (tmp_path / "s.tar").unlink()
    with pytest.raises(ItemError, match=r"^3\.jpg does not exist$"):
        read_image(paths[3])
    with pytest.raises(UserError, match="No image of webdataset exists"):
        require_images(dataset)


@pytest.mark.parametrize("name", ["S.TAR", "shard", "a.tar/b.tar"])
def test_what_a_run_calls_an_image_leads_back_whatever_the_tar_is_called(tmp_path: Path, name: str) -> None:
    write_tar(tmp_path / name, {"c.tar/1.png": picture(1)})
    dataset = open_webdataset(tmp_path / name, "")
    (image,) = dataset.images
    assert span_of(path_below(dataset.root, image.file)) == span_of(image.path)


def test_a_tar_that_changed_is_looked_through_again(tmp_path: Path) -> None:
    write_tar(tmp_path / "s.tar", {"1.jpg": picture(1)})
    assert read_bytes(path_below(tmp_path, "s.tar/1.jpg")) == picture(1)
    write_tar(tmp_path / "s.tar", {"0.jpg": picture(0), "1.jpg": picture(2)})
    assert read_bytes(path_below(tmp_path, "s.tar/1.jpg")) == picture(2)
    (tmp_path / "folder.tar").mkdir()
    (tmp_path / "folder.tar" / "1.jpg").write_bytes(picture(3))
    assert read_bytes(path_below(tmp_path, "folder.tar/1.jpg")) == picture(3)


def test_boxes_masks_and_annotations_find_the_images(tmp_path: Path) -> None:
    write_tar(tmp_path / "s.tar", {"1.png": picture(), "1.cls": "cat", "x/2.png": picture(1), "x/2.cls": "cat"})
    (tmp_path / "boxes.csv").write_text("image,class,x0,y0,x1,y1\n1,cat,1,2,9,8\ns.tar/x/2.png,cat,0,0,16,12\n")
    (tmp_path / "masks/cat/s.tar/x").mkdir(parents=True)
    Image.fromarray(np.pad(np.full((4, 5), 255, dtype=np.uint8), 2)).resize((16, 12), 0).save(
        tmp_path / "masks/cat/s.tar/x/2.png"
    )
    coco = {
        "images": [{"id": 1, "file_name": "2.png", "width": 16, "height": 12}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 4, 5]}],
        "categories": [{"id": 1, "name": "cat"}],
    }
    (tmp_path / "coco.json").write_text(json.dumps(coco))

    def boxes(**more: Path) -> dict[str, list[list[float]]]:
        chosen = DataSettings(dataset="webdataset", root=tmp_path, **more)
        truth = read_ground_truth(chosen, open_images(chosen))
        assert truth is not None
        assert truth.problems == ()
        return {image_id: found.boxes_xyxy.tolist() for image_id, found in truth.images.items()}

    assert boxes(boxes=tmp_path / "boxes.csv") == {"s.tar/1.png": [[1, 2, 9, 8]], "s.tar/x/2.png": [[0, 0, 16, 12]]}
    assert boxes(annotations=tmp_path / "coco.json") == {"s.tar/x/2.png": [[1, 1, 5, 6]]}
    assert list(boxes(masks=tmp_path / "masks")) == ["s.tar/x/2.png"]
    chosen = DataSettings(dataset="webdataset", root=tmp_path)
    assert read_ground_truth(chosen, open_images(chosen)) is None


NAMES = st.one_of(
    st.sampled_from(
        ["a.jpg", "./a.jpg", "a.JPG", "a.cls", "a.json", "b.png", "b.json", "../b.png", "/b.png", ".b.png"]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12),
)
LEAVES: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from([10**400, "\ud800", "\0"]),
)
LABELS = st.one_of(LEAVES, st.lists(st.one_of(LEAVES, st.lists(LEAVES, max_size=2)), max_size=4))


@given(names=st.lists(NAMES, max_size=8), label=LABELS, cls=st.binary(max_size=6), cut=st.integers(0, 12_000))
@settings(max_examples=80, suppress_health_check=list(HealthCheck))
def test_whatever_a_tar_holds(tmp_path: Path, names: list[str], label: object, cls: bytes, cut: int) -> None:
    contents = {".cls": cls, ".json": json.dumps({"label": label}).encode(), ".jpg": picture(1, ".jpg")}
    try:
        write_tar(tmp_path / "s.tar", {name: contents.get(Path(name).suffix, b"x") for name in names})
        (tmp_path / "s.tar").write_bytes((tmp_path / "s.tar").read_bytes()[:cut])
        dataset = open_webdataset(tmp_path, "")
    except UserError as error:
        assert "There is no image in the 1 tar" in str(error)  # noqa: PT017
        return
    dataset.fingerprint()
    assert len({image.image_id for image in dataset.images}) == len(dataset.images)
    for image in dataset.images:
        assert span_of(path_below(tmp_path, image.file)) == span_of(image.path)
        try:
            read_image(image.path)
        except ItemError:
            continue


def test_other_settings_of_tables_are_refused(tmp_path: Path) -> None:
    write_tar(tmp_path / "s.tar", {"1.png": picture(), "1.cls": "cat"})
    with pytest.raises(UserError, match=r"`image_column` is only for `dataset='folder'`"):
        open_images(DataSettings(dataset="webdataset", root=tmp_path, image_column="x"))
    with pytest.raises(UserError, match=r"`dataset='webdataset'` needs `root`"):
        open_images(DataSettings(dataset="webdataset"))
    assert len(open_images(DataSettings(dataset="webdataset", root=tmp_path, label_column="x")).images) == 1
