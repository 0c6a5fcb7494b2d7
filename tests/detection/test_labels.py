"""Boxes to train on from an annotation, a run and an export of the same images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_images import as_dataset, write_coco, write_images, write_tables

from wsloc.config import DataSettings
from wsloc.detection.inference import detection
from wsloc.detection.labels import (
    given_boxes,
    is_run,
    labels_of_export,
    labels_of_run,
    labels_of_truth,
    open_labels,
    read_boxes_of_run,
)
from wsloc.errors import UserError
from wsloc.runs.record_lines import SCHEMA_VERSION, to_line

RED = (1, 2, 31, 32)
Objects = dict[str, list[tuple[str, tuple[int, int, int, int]]]]


def write_run(path: Path, images: Path, objects: Objects, **manifest: Any) -> Path:
    """A run of the true boxes."""
    dataset, _ = as_dataset(images, objects)
    records = [
        detection(image, name, tuple(map(float, box)), 0.5, (96, 96), method="cam")
        for image in dataset.images
        for name, box in objects[image.file]
    ]
    path.mkdir()
    lines = map(to_line, records)
    (path / "localizations.jsonl").write_text("".join(lines))
    (path / "failures.jsonl").touch()
    (path / "manifest.json").write_text(json.dumps({"schema_version": SCHEMA_VERSION, "complete": True, **manifest}))
    return path


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, Objects, DataSettings]:
    images = tmp_path / "images"
    objects = write_images(images, 3)
    write_tables(images, objects)
    settings = DataSettings(dataset="folder", root=images, labels=images / "labels.csv", boxes=images / "boxes.csv")
    return images, objects, settings


def test_three_sources_of_the_same_boxes(tmp_path: Path, made: tuple[Path, Objects, DataSettings]) -> None:
    images, objects, settings = made
    write_coco(images / "instances_train.json", objects)
    run = write_run(tmp_path / "run", images, objects)
    assert is_run(run)
    assert not is_run(images)
    found = [
        labels_of_truth(settings),
        labels_of_run(read_boxes_of_run(run), settings),
        labels_of_export(images, settings),
        labels_of_export(images, DataSettings()),
    ]
    assert [labels.settings for labels in found] == [settings, settings, settings, None]
    assert [labels.run is not None for labels in found] == [False, True, False, False]
    for labels in found:
        names = labels.boxed.class_names
        given = {
            boxed.image.file: {(names[k - 1], *box) for k, box in zip(boxed.classes, boxed.boxes_xyxy, strict=True)}
            for boxed in labels.boxed.images
        }
        assert given == {file: {(name, *box) for name, box in own} for file, own in objects.items()}
        assert [image.file for image in labels.dataset.images] == list(objects)
        assert all(sorted(image.labels) == ["green", "red"] for image in labels.dataset.images)
        by_item, unread = given_boxes(labels)
        assert not unread
        files = {image.image_id: image.file for image in labels.dataset.images}
        assert [(files[image_id], name, record.box_xyxy) for (image_id, name), (record,) in by_item.items()] == [
            (file, name, box) for file, own in objects.items() for name, box in own
        ]


def test_boxes_without_a_quality_cannot_be_ranked(made: tuple[Path, Objects, DataSettings]) -> None:
    images, objects, settings = made
    write_coco(images / "instances_train.json", objects)
    for named, sentence in (
        ("truth", "leave it out with true boxes"),
        (str(images), f"the export {images} has none; give the run as `boxes_from`, or export it"),
        (str(images / "missing"), "missing does not exist"),
    ):
        with pytest.raises(UserError, match=sentence):
            open_labels(named, settings, drop_empty=False, ignore_fraction=0.25)


def test_all_components_are_learned_and_kept(tmp_path: Path, made: tuple[Path, Objects, DataSettings]) -> None:
    """As an export of the same run has them: an object without a label would be learned as background."""
    images, objects, settings = made
    run = write_run(tmp_path / "run", images, objects)
    records = [json.loads(line) for line in (run / "localizations.jsonl").read_text().splitlines()]
    records.insert(1, {**records[0], "index": 1, "box_xyxy": [0.0, 0.0, 5.0, 5.0]})
    (run / "localizations.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    labels = labels_of_run(read_boxes_of_run(run), settings)
    first = labels.boxed.images[0]
    own = [tuple(map(float, box)) for _, box in objects["00.png"]]
    assert [tuple(box) for box in first.boxes_xyxy.tolist()] == [own[0], (0, 0, 5, 5), *own[1:]]
    assert first.classes[0] == first.classes[1]
    by_item, _ = given_boxes(labels)
    assert [[record.box_xyxy for record in item] for item in by_item.values()][: len(own)] == [
        [own[0], (0, 0, 5, 5)],
        *([box] for box in own[1:]),
    ]


def test_all_boxes_of_a_class_and_none_of_an_unreadable_image(made: tuple[Path, Objects, DataSettings]) -> None:
    images, objects, _ = made
    objects["00.png"].insert(0, ("red", RED))
    write_coco(images / "instances_train.json", objects)
    labels = labels_of_export(images, DataSettings())
    (images / "02.png").write_bytes(b"")
    found, unread = given_boxes(labels)
    ids = {image.file: image.image_id for image in labels.dataset.images}
    assert [(box.box_xyxy, box.index) for box in found[ids["00.png"], "red"]] == [
        (RED, 0),
        (objects["00.png"][1][1], 1),
    ]
    assert {image_id for image_id, _ in found} == {ids["00.png"], ids["01.png"]}
    assert set(unread) == {ids["02.png"]}


def test_only_the_classes_asked_for(made: tuple[Path, Objects, DataSettings]) -> None:
    images, objects, _ = made
    write_coco(images / "instances_train.json", objects)
    labels = labels_of_export(images, DataSettings(classes=("green",)))
    assert labels.boxed.class_names == ("green",)
    assert all(np.array_equal(boxed.classes, [1]) for boxed in labels.boxed.images)
    with pytest.raises(UserError, match="the export has no class 'blue', only red, green"):
        labels_of_export(images, DataSettings(classes=("blue",)))


@pytest.mark.parametrize(
    ("manifest", "sentence"),
    [
        ({"kind": "self-training"}, "holds rounds of self-training; give one of them"),
        ({"kind": "detector"}, "holds all that a detector found"),
        ({"complete": False}, "is unfinished"),
    ],
)
def test_runs_that_nothing_is_learned_from(
    tmp_path: Path, made: tuple[Path, Objects, DataSettings], manifest: dict[str, Any], sentence: str
) -> None:
    images, objects, _ = made
    run = write_run(tmp_path / "run", images, objects, **manifest)
    with pytest.raises(UserError, match=sentence):
        read_boxes_of_run(run)
