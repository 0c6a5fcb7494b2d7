"""An export as a whole: what it holds, what it leaves out and says so, what it never touches."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_run import CLASSES, SCENE, record, scene_records, shows, tree, write_photo, write_photos, write_run
from PIL import Image

from wsloc.errors import UserError
from wsloc.exporters.export_settings import LayoutSettings, Media, SelectionSettings
from wsloc.exporters.exporting import export_run
from wsloc.exporters.formats import Export
from wsloc.exporters.source import Source
from wsloc.files.names import distinct_stem
from wsloc.records import Failure
from wsloc.registries import FORMATS

ALL = sorted(FORMATS)
FIRST = distinct_stem("a.jpg")
"""What the first image is called in every export: two more have its name."""


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return write_photos(tmp_path / "photos")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", scene_records())


def instances(export: Export, name: str = "train2017") -> dict[str, Any]:
    document: dict[str, Any] = json.loads((export.path / "annotations" / f"instances_{name}.json").read_text())
    return document


@pytest.mark.parametrize(
    ("name", "media"),
    [(name, media) for name in ALL for media in ("copy", "none") if media == "copy" or not FORMATS[name].needs_images],
)
def test_the_same_bytes_each_time_and_nothing_else_is_touched(
    name: str, media: Media, run: Path, tmp_path: Path
) -> None:
    source = write_photos(tmp_path / "photos", name, media)
    before = tree(tmp_path)
    layout = LayoutSettings(media=media, mask_pictures=True)
    exports = [tree(export_run(run, source, name, tmp_path / f"out{i}", layout=layout).path) for i in range(3)]
    assert exports[0] == exports[1] == exports[2]
    assert len(exports[0]) > 2
    after = {file: content for file, content in tree(tmp_path).items() if not file.startswith("out")}
    assert after == before


def test_the_manifest(source: Source, tmp_path: Path) -> None:
    first = scene_records()[0]
    more = [replace(first, component=1, box_xyxy=(0, 0, 2, 2)), replace(first, component=2, fallback="seeds")]
    run = write_run(tmp_path / "run", [first, *more, *scene_records()[1:]])
    selection = SelectionSettings(min_area=0.01, fallbacks="drop")
    manifest = export_run(run, source, "coco", tmp_path / "out", selection).manifest
    assert manifest == json.loads((tmp_path / "out" / "export.json").read_text())
    assert manifest["run"]["name"] == "run"
    assert manifest["run"]["commit"] == "0123abc"
    assert manifest["run"]["config"] == {"dataset": "folder", "method": "cam"}
    assert manifest["counts"] == {
        "images": {"train": 5},
        "boxes": 5,
        "ignored": 0,
        "boxes_left_out": {"below `min_area`": 1, "fallback": 1},
        "boxes_fixed": {},
        "images_left_out": {},
        "media": {"copied": 4, "written upright": 1},
    }
    assert manifest["classes"][0] == {
        "name": "no", "id": 1, "images": 2, "boxes": 2, "ignored": 0, "left_out": {"below `min_area`": 1, "fallback": 1}
    }  # fmt: skip
    assert manifest["warnings"] == []
    assert manifest["image_folders"] == {"train": "train2017"}


def test_images_csv_tells_which_became_which(run: Path, source: Source, tmp_path: Path) -> None:
    export = export_run(run, source, "yolo", tmp_path / "out")
    rows = list(csv.DictReader((export.path / "images.csv").open(encoding="utf-8")))
    assert [row["file"] for row in rows] == [file for file, *_ in SCENE]
    names = [row["exported_file"] for row in rows]
    stems = {name.rpartition(".")[0].casefold() for name in names}
    assert len(stems) == 5  # a.jpg, sub/a.png and sub/A.jpg, too
    # Whatever else is exported: the name tells the image when corrected boxes come back.
    assert names[0] == f"{FIRST}.jpg"
    assert all((export.path / "images" / "train" / name).is_file() for name in names)
    assert {path.stem for path in (export.path / "labels" / "train").iterdir()} == {
        name.rpartition(".")[0] for name in names
    }


def _splits(run: Path, source: Source, out: Path, selection: SelectionSettings, fraction: float) -> dict[str, str]:
    layout = LayoutSettings(media="none", val_fraction=fraction)
    rows = csv.DictReader((export_run(run, source, "coco", out, selection, layout).path / "images.csv").open())
    return {row["image_id"]: row["split"] for row in rows}


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.5, 0.8])
def test_each_class_has_its_fraction_in_val(fraction: float, source: Source, tmp_path: Path) -> None:
    """Of 100, 20 and 10 images, of 260 of which no box is exported."""
    (first, *_), names = scene_records(), ["no"] * 100 + ["1e3"] * 20 + ["a"] * 10
    records = [
        replace(first, image_id=f"image {number}", class_name=name, quality=0.9) for number, name in enumerate(names)
    ]
    bad = [
        replace(first, image_id=f"bad {number}", class_name=name, quality=0.1)
        for number, name in enumerate([*names, *names])
    ]
    run = write_run(tmp_path / "run", [*bad, *records])
    found = []
    for number, selection in enumerate((SelectionSettings(min_score=0.5), SelectionSettings(top_fraction=1 / 3))):
        splits = _splits(run, source, tmp_path / f"out{number}", selection, fraction)
        assert splits.keys() == {one.image_id for one in records}
        counts = Counter(one.class_name for one in records if splits[one.image_id] == "val")
        assert counts == {name: round(fraction * count) for name, count in Counter(names).items()}
        found.append(splits)
    # The order of the run does not matter.
    run = write_run(tmp_path / "turned", [*reversed(records), *bad])
    found.append(_splits(run, source, tmp_path / "turned out", SelectionSettings(min_score=0.5), fraction))
    assert found[0] == found[1] == found[2]


def test_images_without_a_box_are_divided_as_a_class(source: Source, tmp_path: Path) -> None:
    records = [replace(scene_records()[0], image_id=f"image {n}", quality=0.1 if n < 10 else 0.9) for n in range(20)]
    run = write_run(tmp_path / "run", records)
    splits = _splits(run, source, tmp_path / "out", SelectionSettings(min_score=0.5, keep_empty=True), 0.2)
    assert Counter(split for image_id, split in splits.items() if len(image_id) < 8) == {"train": 8, "val": 2}
    assert Counter(splits.values()) == {"train": 16, "val": 4}


def test_a_data_set_keeps_its_own_numbers(tmp_path: Path) -> None:
    write_photo(tmp_path / "photos" / "x.jpg", (30, 30), (1, 1, 9, 9))
    source = Source(tmp_path / "photos", ("cat", "dog"), (17, 90))
    records = [
        record(image_id, name, (1, 1, 9, 9), (30, 30), file="x.jpg")
        for image_id, name in (("139", "dog"), ("7", "cat"), ("12", "new"))
    ]
    run = write_run(tmp_path / "run", records)
    document = instances(export_run(run, source, "coco", tmp_path / "out"))
    assert [(entry["id"], entry["name"]) for entry in document["categories"]] == [(17, "cat"), (90, "dog"), (91, "new")]
    assert [entry["id"] for entry in document["images"]] == [139, 7, 12]
    assert [(one["id"], one["image_id"], one["category_id"]) for one in document["annotations"]] == [
        (1, 139, 90), (2, 7, 17), (3, 12, 91)
    ]  # fmt: skip
    # VOC's ids look like numbers and are not: their zeros count.
    run = write_run(tmp_path / "voc", [replace(one, image_id=f"00{one.image_id}") for one in records])
    document = instances(export_run(run, source, "coco", tmp_path / "out2"))
    assert [entry["id"] for entry in document["images"]] == [1, 2, 3]


def test_uncertain_boxes_become_regions_to_ignore(source: Source, tmp_path: Path) -> None:
    first, *others = scene_records()
    second = replace(first, component=1, box_xyxy=(1, 1, 9, 9), quality=0.2)
    scores = (0.3, 0.4, 0.5, 0.6)
    graded = [replace(one, quality=score) for one, score in zip(others, scores, strict=True)]
    run = write_run(tmp_path / "run", [replace(first, quality=0.9), second, *graded])
    settings = SelectionSettings(ignore_below=0.35, uncertain="ignore")
    export = export_run(run, source, "coco", tmp_path / "out", settings)
    found = [(one["iscrowd"], one["score"]) for one in instances(export)["annotations"]]
    assert found == [(0, 0.9), (1, 0.2), (0, 0.4), (0, 0.5), (0, 0.6)]
    counts = export.manifest["counts"]
    assert (counts["boxes"], counts["ignored"]) == (4, 1)
    # An image of which nothing is certain teaches nothing.
    assert counts["images_left_out"] == {"without a box": 1}
    assert counts["boxes_left_out"] == {"in an image without a box": 1}
    annotations = export_run(run, source, "voc", tmp_path / "voc", settings).path / "VOCdevkit/VOC2012/Annotations"
    text = (annotations / f"{FIRST}.xml").read_text()
    assert text.count("<difficult>0<") == text.count("<difficult>1<") == 1


def test_top_share_of_each_class(source: Source, tmp_path: Path) -> None:
    scores = [0.5, 0.9, 0.7, 0.1]
    records = [
        replace(scene_records()[0], image_id=f"{number}{name}", class_name=name, quality=score)
        for number, score in enumerate(scores)
        for name in CLASSES[:2]
    ]
    run = write_run(tmp_path / "run", records)
    export = export_run(run, source, "coco", tmp_path / "out", SelectionSettings(top_fraction=0.5))
    assert [one["score"] for one in instances(export)["annotations"]] == [0.9, 0.9, 0.7, 0.7]
    assert export.manifest["counts"]["boxes_left_out"] == {"outside `top_fraction`": 4}
    assert export.manifest["counts"]["images_left_out"] == {"without a box": 4}


@pytest.mark.parametrize("name", ALL)
def test_images_without_a_box_when_asked_for(name: str, tmp_path: Path) -> None:
    source = write_photos(tmp_path / "photos", name)
    failure = Failure("turned.jpg", "turned.jpg", "no", "cut", "nothing was found")
    unreadable = Failure("gone.jpg", "gone.jpg", "no", "read", "it does not exist")
    run = write_run(tmp_path / "run", scene_records()[:3], [failure, unreadable])
    plain = export_run(run, source, name, tmp_path / "plain")
    assert plain.manifest["counts"]["images"] == {"train": 3}
    assert plain.manifest["counts"]["images_left_out"] == {"without a box": 2}
    export = export_run(run, source, name, tmp_path / "out", SelectionSettings(min_area=0.5, keep_empty=True))
    assert export.manifest["counts"]["images"] == {"train": 4}
    assert export.manifest["counts"]["images_left_out"] == {"missing, unreadable or of another size": 1}
    assert (export.path / "problems.txt").read_text().startswith("gone.jpg: ")
    if name == "yolo":
        assert (export.path / "labels/train/turned.txt").read_text() == ""


def test_an_image_whose_other_class_has_no_box_is_told(source: Source, tmp_path: Path) -> None:
    failure = Failure("a.jpg", "a.jpg", "1e3", "cut", "nothing was found")
    other = replace(scene_records()[0], class_name=CLASSES[1], quality=0.1)
    for name, run in (
        ("failed", write_run(tmp_path / "run", scene_records(), [failure])),
        ("dropped", write_run(tmp_path / "run2", [scene_records()[0], other, *scene_records()[1:]])),
    ):
        export = export_run(run, source, "coco", tmp_path / name, SelectionSettings(min_score=0.2))
        warning = export.manifest["warnings"][-1]
        assert warning.startswith("1 image without the box of a class")


@pytest.mark.parametrize(
    ("lost", "selection", "said"),
    [
        ((), SelectionSettings(min_score=0.3), []),
        ((1,), SelectionSettings(min_score=0.3), ["1e3 (1, below `min_score`){}"]),
        ((1, 3), SelectionSettings(min_score=0.3), ["1e3 (1, below `min_score`), {name} (1, below `min_score`){}"]),
        ((1,), SelectionSettings(min_score=0.3, uncertain="ignore"), ["1e3 (1, below `min_score`){}"]),
        ((1,), SelectionSettings(top_fraction=0.5), []),
    ],
)
def test_a_class_that_is_lost_is_said(
    source: Source, tmp_path: Path, lost: tuple[int, ...], selection: SelectionSettings, said: list[str]
) -> None:
    records = [replace(box, quality=0.1) if k in lost else box for k, box in enumerate(scene_records())]
    export = export_run(write_run(tmp_path / "run", records), source, "coco", tmp_path / "out", selection)
    remedy = "; `top_fraction` instead of `min_score` keeps the best of each class"
    sentences = [f"No box is left of {text.format(remedy, name=CLASSES[3])}." for text in said]
    assert [text for text in export.manifest["warnings"] if text.startswith("No box is left")] == sentences


def test_a_class_of_fallbacks_alone_is_said(source: Source, tmp_path: Path) -> None:
    records = [replace(box, fallback="seeds") if k == 1 else box for k, box in enumerate(scene_records())]
    run = write_run(tmp_path / "run", records)
    export = export_run(run, source, "coco", tmp_path / "out", SelectionSettings(fallbacks="drop"))
    assert export.manifest["warnings"] == [f"No box is left of {CLASSES[1]} (1, fallback)."]


def test_images_that_are_missing_or_changed_are_left_out_and_named(run: Path, source: Source, tmp_path: Path) -> None:
    (source.root / "a.jpg").unlink()
    write_photo(source.root / "sub/a.png", (50, 71), (1, 1, 9, 9))
    (source.root / "sub/A.jpg").write_bytes(b"no image")
    export = export_run(run, source, "coco", tmp_path / "out")
    problems = (export.path / "problems.txt").read_text().splitlines()
    assert [problem.partition(": ")[0] for problem in problems] == ["a.jpg", "sub/a.png", "sub/A.jpg"]
    assert "had 50 x 70 in the run" in problems[1]
    assert export.manifest["counts"]["images"] == {"train": 2}
    assert len(instances(export)["annotations"]) == 2
    # Where the images stay, they may be elsewhere by now; but one of another size is another image.
    export = export_run(run, source, "coco", tmp_path / "none", layout=LayoutSettings(media="none"))
    assert export.manifest["counts"]["images"] == {"train": 3}
    assert any(warning.startswith("1 image no longer where the run found") for warning in export.manifest["warnings"])


def test_hard_links(run: Path, source: Source, tmp_path: Path) -> None:
    (source.root / "link.jpg").symlink_to(source.root / "a.jpg")
    linked = replace(scene_records()[0], image_id="link.jpg", file="link.jpg")
    run = write_run(tmp_path / "linked", [*scene_records(), linked])
    export = export_run(run, source, "yolo", tmp_path / "out", layout=LayoutSettings(media="hardlink"))
    folder = export.path / "images" / "train"
    assert (folder / f"{FIRST}.jpg").samefile(source.root / "a.jpg")
    assert (folder / "link.jpg").samefile(source.root / "a.jpg")
    assert not any(path.is_symlink() for path in export.path.rglob("*"))
    assert not (folder / "turned.jpg").samefile(source.root / "turned.jpg")
    assert export.manifest["counts"]["media"] == {"linked": 5, "written upright": 1}


def test_what_cannot_be_linked_is_copied(
    run: Path, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    export = export_run(run, source, "coco", tmp_path / "out", layout=LayoutSettings(media="hardlink"))
    assert (export.path / "train2017" / f"{FIRST}.jpg").read_bytes() == (source.root / "a.jpg").read_bytes()
    assert any(warning.startswith("4 images copied, because") for warning in export.manifest["warnings"])


def test_faulty_boxes_are_counted(source: Source, tmp_path: Path) -> None:
    good = scene_records()[0]
    records = [
        good,
        good,
        replace(good, component=1, box_xyxy=(float("nan"), 0, 5, 5)),
        replace(good, component=2, box_xyxy=(70, 0, 80, 5)),
        replace(good, component=3, box_xyxy=(30, 10, 20, 20)),
        replace(good, component=4, size_wh=(61, 40)),
        replace(good, component=5, box_xyxy=(-5, -5, 20, 99), quality=float("nan")),
        replace(good, image_id="outside", file="../photos/a.jpg"),
        replace(scene_records()[1], probability=1.5),
        *scene_records()[2:],
        replace(good, component=6),  # once more, behind other images
    ]
    export = export_run(write_run(tmp_path / "run", records), source, "coco", tmp_path / "out")
    assert export.manifest["counts"]["boxes_left_out"] == {
        "empty, or outside the image": 2, "not finite": 1, "of a file outside the data set": 1,
        "of another image size than the first box": 1, "occurs twice": 2,
    }  # fmt: skip
    second = instances(export)["annotations"][1]
    assert (second["bbox"], second["score"]) == ([0, 0, 20, 40], 0)
    assert export.manifest["counts"]["boxes"] == 6
    # The second box's sides and score, and the score of the one of the next image; what is left out is not fixed.
    assert export.manifest["counts"]["boxes_fixed"] == {
        "cut off at the border of the image": 1, "with a score outside 0 to 1, or none": 2,
    }  # fmt: skip
    warnings = " ".join(export.manifest["warnings"])
    assert "1 box across the border of the image, and cut off there." in warnings
    assert "2 boxes with a score outside 0 to 1, which is clipped" in warnings


def test_boxes_without_a_mask_are_their_own_outline(source: Source, tmp_path: Path) -> None:
    records = [replace(one, mask_rle=None) for one in scene_records()]
    records[1] = replace(records[1], mask_rle={"size": [16, 16], "counts": "?"})
    export = export_run(
        write_run(tmp_path / "run", records),
        source,
        "coco",
        tmp_path / "out",
        layout=LayoutSettings(mask_pictures=True),
    )
    first = instances(export)["annotations"][0]
    assert (first["segmentation"], first["area"]) == ([[10, 5, 40, 5, 40, 30, 10, 30]], 750)
    assert any(warning.startswith("5 boxes without a mask; the box serves") for warning in export.manifest["warnings"])
    assert not (export.path / "mask_pictures").exists()


def test_an_unfinished_run(source: Source, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", scene_records(), complete=False)
    export = export_run(run, source, "coco", tmp_path / "out")
    assert any(warning.startswith("The run is unfinished") for warning in export.manifest["warnings"])
    assert export.manifest["run"]["complete"] is False


def test_an_export_that_exists(run: Path, source: Source, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export_run(run, source, "yolo", out)
    before = tree(out)
    with pytest.raises(UserError, match="exists; give another `out`, or `overwrite=True`"):
        export_run(run, source, "voc", out)
    assert tree(out) == before
    export_run(run, source, "voc", out, overwrite=True)
    assert not (out / "data.yaml").exists()
    with pytest.raises(UserError, match="is not the folder of an export, so `overwrite=True` leaves it alone"):
        export_run(run, source, "voc", source.root, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "photos", "run"]


def test_an_export_that_fails_leaves_what_was_there(
    run: Path, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_run(run, source, "coco", tmp_path / "out")
    before = tree(tmp_path)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("wsloc.exporters.stream.media.place", fail)
    with pytest.raises(UserError, match="No space left on device; make room"):
        export_run(run, source, "coco", tmp_path / "out", overwrite=True)
    assert tree(tmp_path) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "photos", "run"]


def test_what_a_killed_export_left_is_no_hindrance(run: Path, source: Source, tmp_path: Path) -> None:
    left = tmp_path / ".out.growing"
    (left / "annotations").mkdir(parents=True)
    (left / "half.json").write_text("{")
    export = export_run(run, source, "coco", tmp_path / "out")
    assert not (export.path / "half.json").exists()
    assert not left.exists()


@pytest.mark.parametrize(
    ("name", "selection", "layout", "sentence"),
    [
        ("yolo", {"uncertain": "ignore"}, {}, "`format='yolo'` has no regions to ignore"),
        ("cvat", {}, {"val_fraction": 0.5}, "`format='cvat'` has no splits"),
        ("label-studio", {}, {"val_fraction": 0.5}, "`format='label-studio'` has no splits"),
        ("voc", {}, {"segmentation": "rle"}, "`segmentation` is only for `format='coco'`"),
        ("imagefolder", {}, {"media": "none"}, "needs its images next to the table"),
        (
            "coco",
            {"ignore_below": 1.0, "uncertain": "ignore"},
            {},
            "No image of .*/run has a box to learn from: all boxes that are left are uncertain",
        ),
        ("coco", {"min_score": 0.9}, {}, "None of the 5 boxes of .* is left to export: 5 are below `min_score`"),
    ],
)
def test_what_is_refused(
    name: str,
    selection: dict[str, Any],
    layout: dict[str, Any],
    sentence: str,
    run: Path,
    source: Source,
    tmp_path: Path,
) -> None:
    with pytest.raises(UserError, match=sentence):
        export_run(run, source, name, tmp_path / "out", SelectionSettings(**selection), LayoutSettings(**layout))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos", "run"]


def test_a_run_without_boxes(source: Source, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [], [Failure("a.jpg", "a.jpg", "no", "read", "it is no image")])
    with pytest.raises(UserError, match="has no box to export: all of its 1 images failed"):
        export_run(run, source, "coco", tmp_path / "out")


def test_a_data_set_without_its_images(run: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"None of the 5 images of .* can be used .*does not exist.*`root` names their"):
        export_run(run, Source(tmp_path / "empty", CLASSES), "coco", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("keep_empty", [False, True])
def test_an_image_counts_once_wherever_its_records_stand(keep_empty: bool, source: Source, tmp_path: Path) -> None:
    first, second, *others = scene_records()
    faulty = replace(second, box_xyxy=(1, 1, 1, 1))
    failures = [Failure(one.image_id, one.file, "1e3", "cut", "nothing was found") for one in (first, second)]
    run = write_run(tmp_path / "run", [first, faulty, *others], failures)
    export = export_run(run, source, "coco", tmp_path / "out", SelectionSettings(keep_empty=keep_empty))
    assert [image["id"] for image in instances(export)["images"]] == list(range(1, 5 + keep_empty))
    counts = export.manifest["counts"]
    assert counts["images_left_out"] == ({} if keep_empty else {"without a box": 1})
    assert counts["boxes"] == 4


def test_no_image_from_outside_the_data_set_is_taken(source: Source, tmp_path: Path) -> None:
    write_photo(tmp_path / "secret.jpg", (30, 30), (1, 1, 9, 9))
    files = ("../secret.jpg", str(tmp_path / "secret.jpg"), "sub/../../secret.jpg")
    failures = [Failure(file, file, "no", "cut", "nothing was found") for file in files]
    run = write_run(tmp_path / "run", scene_records(), failures)
    export = export_run(run, source, "yolo", tmp_path / "out", SelectionSettings(keep_empty=True))
    assert export.manifest["counts"]["images"] == {"train": 5}
    assert len((export.path / "problems.txt").read_text().splitlines()) == 3
    assert not list(export.path.rglob("secret*"))


@pytest.mark.parametrize("name", ["cvat", "label-studio"])
@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_turned_image_does_not_stay_where_boxes_are_corrected(name: str, orientation: int, tmp_path: Path) -> None:
    """The tools turn it and give back another size, or do not turn it: the boxes would come back displaced."""
    write_photo(tmp_path / "photos/s.jpg", (60, 40), (10, 5, 40, 30))
    write_photo(tmp_path / "photos/t.jpg", (60, 40), (10, 5, 40, 30), orientation)
    records = [record(file, "no", (10, 5, 40, 30), (60, 40)) for file in ("s.jpg", "t.jpg")]
    run, source = write_run(tmp_path / "run", records), Source(tmp_path / "photos", CLASSES)
    with pytest.raises(UserError, match=r"^t\.jpg has an EXIF orientation, .*; leave `media` out, or give `media='cop"):
        export_run(run, source, name, tmp_path / "out", layout=LayoutSettings(media="none"))
    assert not (tmp_path / "out").exists()
    for media, others in ((None, "linked"), ("copy", "copied")):
        out = tmp_path / others
        export = export_run(run, source, name, out, layout=LayoutSettings(media=media))  # type: ignore[arg-type]
        assert export.has_images
        assert export.manifest["counts"]["media"] == {others: 1, "written upright": 1}
        assert any("upright copies of 1 image with" in one for one in export.manifest["warnings"]) == (media is None)
        with Image.open(out / "images/t.jpg") as placed:
            assert not placed.getexif().get(274)
            assert shows(np.asarray(placed), (10, 5, 40, 30))
    assert (tmp_path / "linked/images/s.jpg").samefile(tmp_path / "photos/s.jpg")


def test_images_stay_in_place_where_none_that_is_exported_is_turned(tmp_path: Path) -> None:
    """A turned image without a box is none of the export's; a missing one is counted as such."""
    for file, orientation in (("s.jpg", 1), ("t.jpg", 6)):
        write_photo(tmp_path / "photos" / file, (60, 40), (10, 5, 40, 30), orientation)
    records = [record(file, "no", (10, 5, 40, 30), (60, 40)) for file in ("s.jpg", "gone.jpg")]
    run = write_run(tmp_path / "run", records, [Failure("t.jpg", "t.jpg", "no", "cut", "nothing was found")])
    export = export_run(run, Source(tmp_path / "photos", CLASSES), "label-studio", tmp_path / "out")
    assert not export.has_images
    assert export.manifest["counts"]["media"] == {"not there": 1}


def test_cvat_gets_no_two_images_that_it_cannot_tell_apart(tmp_path: Path) -> None:
    files = ("cat/a.jpg", "dog/a.jpg", "cat/a.png")
    for file in files:
        write_photo(tmp_path / "photos" / file, (60, 40), (10, 5, 40, 30))
    source, records = Source(tmp_path / "photos"), [record(file, "no", (10, 5, 40, 30), (60, 40)) for file in files]
    run, in_place = write_run(tmp_path / "run", records), LayoutSettings(media="none")
    with pytest.raises(UserError, match=r"^cat/a\.png differs from another image by its suffix alone"):
        export_run(run, source, "cvat", tmp_path / "out", layout=in_place)
    export = export_run(run, source, "cvat", tmp_path / "out")
    assert export.manifest["counts"]["media"] == {"linked": 3}
    assert any("differ by their suffix alone" in one for one in export.manifest["warnings"])
    document = json.loads((export.path / "annotations/instances_default.json").read_text())
    assert len({Path(image["file_name"]).stem for image in document["images"]}) == 3
    run = write_run(tmp_path / "two", records[:2])
    assert export_run(run, source, "cvat", tmp_path / "two-out").manifest["counts"]["images"] == {"train": 2}
    # Others read the whole name.
    run = write_run(tmp_path / "three", records)
    assert export_run(run, source, "label-studio", tmp_path / "tasks").manifest["counts"]["images"] == {"train": 3}


def test_damaged_settings_of_the_run_are_named_and_nothing_is_written(run: Path, source: Source) -> None:
    (run / "config.yaml").write_text("limit: [")
    with pytest.raises(UserError, match=r"config\.yaml is not valid YAML"):
        export_run(run, source, "coco")
    assert not (run / "exports").exists()


@pytest.mark.parametrize(
    ("text", "expected"),
    [(None, None), ("", {}), ("a: 2001-02-03\nb: {2001-02-03: x, c: y}", {"a": "2001-02-03", "b": {"c": "y"}})],
)
def test_settings_of_the_run_are_kept_as_far_as_json_holds_them(
    text: str | None, expected: dict[str, Any] | None, run: Path, source: Source
) -> None:
    (run / "config.yaml").unlink()
    if text is not None:
        (run / "config.yaml").write_text(text)
    export = export_run(run, source, "coco")
    assert json.loads((export.path / "export.json").read_text())["run"]["config"] == expected
