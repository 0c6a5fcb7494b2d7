"""Marks of a person decide what is exported, whatever the scores say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_run import CLASSES, record, scene_records, write_photos, write_run

from wsloc.cli.main import run_verb
from wsloc.errors import UserError
from wsloc.exporters.export_settings import LayoutSettings, SelectionSettings
from wsloc.exporters.exporting import export_run
from wsloc.exporters.review import Review, read_review
from wsloc.exporters.selection import ScoredBox, select

WH = (100, 100)


def _file(path: Path, accepted: list[tuple[str, str]], rejected: list[tuple[str, str]], **more: Any) -> Path:
    lists = {"accepted": accepted, "rejected": rejected}
    entries = {key: [{"image_id": image, "class_name": name} for image, name in pairs] for key, pairs in lists.items()}
    path.write_text(json.dumps({**entries, **more}), encoding="utf-8")
    return path


def test_an_accepted_item_passes_every_score_but_not_the_number_of_boxes() -> None:
    boxes = [
        record("i", "cat", (0, 0, 2, 2), WH, quality=0.1, fallback="seeds"),
        record("i", "cat", (50, 50, 60, 60), WH, quality=0.1, component=1),
        record("i", "dog", (0, 0, 50, 50), WH, quality=0.1),
    ]
    strict = SelectionSettings(
        min_score=0.5, min_area=0.1, fallbacks="drop", boxes_per_class=1, ignore_below=0.9, uncertain="ignore"
    )
    review = Review("run", accepted=frozenset({("i", "cat")}))
    found = select(boxes, strict, review)
    assert found.kept == (ScoredBox(boxes[0], 0.1, uncertain=False, accepted=True),)
    assert [reason for _, reason in found.left_out] == ["beyond `boxes_per_class`", "below `min_score`"]
    found = select(boxes, SelectionSettings(), Review("run", rejected=frozenset({("i", "cat")})))
    assert [box.record for box in found.kept] == [boxes[2]]
    assert [reason for _, reason in found.left_out] == ["rejected in `review`"] * 2


@pytest.mark.parametrize("uncertain", ["drop", "ignore"])
def test_what_is_accepted_is_of_the_best_fraction(uncertain: Any, tmp_path: Path) -> None:
    """Of four boxes of one class the best quarter is one; two are accepted, the worst ones."""
    qualities = {"a.jpg": 0.9, "sub/a.png": 0.8, "sub/A.jpg": 0.2, "images/odd näme #1.jpg": 0.1}
    records = [
        replace(one, class_name="no", quality=qualities[one.file]) for one in scene_records() if one.file in qualities
    ]
    run, source = write_run(tmp_path / "run", records), write_photos(tmp_path / "photos")
    review = _file(tmp_path / "r.json", [(file, "no") for file in list(qualities)[2:]], [])
    selection = SelectionSettings(review=review, top_fraction=0.25, uncertain=uncertain)
    for val_fraction in (0.0, 0.5):
        layout = LayoutSettings(val_fraction=val_fraction)
        export = export_run(run, source, "coco", tmp_path / "out", selection, layout, overwrite=True)
        assert export.manifest["counts"]["boxes"] == 2
        assert export.manifest["counts"]["ignored"] == 0
        assert export.manifest["counts"]["images"] == ({"train": 1, "val": 1} if val_fraction else {"train": 2})


def test_an_export_by_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = scene_records()
    run = write_run(tmp_path / "run", records)
    write_photos(tmp_path / "photos")
    rejected = [(records[0].image_id, records[0].class_name), ("gone", "cat")]
    review = _file(tmp_path / "r.json", [(records[3].image_id, CLASSES[3])], rejected)
    (run / "config.yaml").write_text(f"images: {tmp_path}/photos/**\n")
    flags = ["--review", str(review), "--min-score", "0.9", "--root", str(tmp_path / "photos")]
    assert run_verb("export", [str(run), "--format", "coco", *flags]) == 0
    told = capsys.readouterr().out
    assert "1 box on 1 image (1 train)" in told
    assert "torchvision (its reference script needs a split val: --val-fraction 0.1):" in told
    assert "left out: 1 box rejected in --review" in told
    assert "The review has 1 mark of items that have no box in the run." in told


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "is not JSON; give the file that the page of `wsloc report RUN` saves"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "has no lists `accepted` and `rejected`"),
        ('{"accepted": []}', "has no lists"),
        ('{"accepted": {}, "rejected": []}', "has no lists"),
        ('{"accepted": [1], "rejected": []}', "entry without `image_id` and `class_name`"),
        ('{"accepted": [], "rejected": [{"image_id": 1, "class_name": "a"}]}', "entry without"),
    ],
)
def test_what_is_no_review(text: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(text)
    with pytest.raises(UserError, match=sentence):
        read_review(path)


def test_a_review_of_another_run_or_of_two_minds(tmp_path: Path) -> None:
    run, source = write_run(tmp_path / "run", scene_records()), write_photos(tmp_path / "photos")
    review = _file(tmp_path / "r.json", [("x", "cat")], [], run="other-001")
    with pytest.raises(UserError, match=r"^None of the 1 marks of `review` is of .*; it is of the run other-001\.$"):
        export_run(run, source, "coco", tmp_path / "out", SelectionSettings(review=review))
    with pytest.raises(UserError, match="both accepts and rejects cat in x"):
        read_review(_file(review, [("x", "cat")], [("x", "cat")]))
