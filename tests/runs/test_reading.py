"""A run read back: whole, unfinished, of another version, damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from wsloc.config_files import settings_of_run
from wsloc.errors import UserError
from wsloc.records import SCORES, BoxRecord, Detection, Failure, Localization
from wsloc.runs.read_run import open_records, read_run
from wsloc.runs.record_lines import SCHEMA_VERSION, from_fields, is_failure, to_line
from wsloc.runs.run_folder import RunFolder

BOX: dict[str, Any] = {
    "kind": "localization",
    "image_id": "a", "file": "a.jpg", "class_name": "dog", "box_xyxy": [1.0, 2.0, 30.5, 40.0], "probability": 0.5,
    "quality": 0.25, "area_fraction": 0.1, "method": "gradient", "segmenter": "grabcut", "fallback": None,
    "component": 0, "size_wh": [100, 50],
}  # fmt: skip
MASK = {"size": [8, 9], "counts": "X2"}
"""Eight rows, nine columns."""
SIZE = "size_wh is not a width and height of at most 100 million pixels"
RLE = "mask_rle has no run lengths of a mask that an image can have"
FAILURE = {
    "kind": "failure",
    "image_id": "b",
    "file": "b.jpg",
    "class_name": "cat",
    "stage": "read",
    "reason": "it is no image",
}


def _write(run: Path, boxes: list[dict[str, Any]], failures: list[dict[str, Any]], **manifest: object) -> Path:
    run.mkdir()
    (run / "manifest.json").write_text(json.dumps({"schema_version": SCHEMA_VERSION, "complete": True, **manifest}))
    (run / "localizations.jsonl").write_text("".join(json.dumps(box) + "\n" for box in boxes))
    (run / "failures.jsonl").write_text("".join(json.dumps(failure) + "\n" for failure in failures))
    return run


def test_a_finished_run(tmp_path: Path) -> None:
    run = read_run(_write(tmp_path / "run", [BOX], [FAILURE]))
    (box,) = run.localizations
    assert (box.box_xyxy, box.size_wh, box.rank, box.mask_rle) == ((1.0, 2.0, 30.5, 40.0), (100, 50), None, None)
    (failure,) = run.failures
    assert failure.reason == "it is no image"
    assert (run.complete, run.notes, run.name, run.image_ids()) == (True, (), "run", {"a", "b"})


def test_an_unfinished_run_is_what_its_parts_hold(tmp_path: Path) -> None:
    path = _write(tmp_path / "run", [], [], complete=False)
    (path / "parts").mkdir()
    for number, lines in enumerate([[BOX, FAILURE], [{**BOX, "image_id": "c"}]]):
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (path / "parts" / f"{number:06d}.jsonl").write_text(text)
    run = read_run(path)
    assert [box.image_id for box in run.localizations] == ["a", "c"]
    assert len(run.failures) == 1
    assert not run.complete


def test_parts_that_a_kill_left_in_a_finished_run_are_not_read(tmp_path: Path) -> None:
    path = _write(tmp_path / "run", [BOX, {**BOX, "image_id": "c"}], [])
    (path / "parts").mkdir()
    (path / "parts" / "000000.jsonl").write_text(json.dumps(BOX) + "\n")
    assert [box.image_id for box in read_run(path).localizations] == ["a", "c"]


def test_an_unfinished_run_without_a_part_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.mkdir()
    (path / "manifest.json").write_text(json.dumps({"schema_version": SCHEMA_VERSION, "complete": False}))
    assert read_run(path).image_ids() == frozenset()


def test_an_empty_run(tmp_path: Path) -> None:
    run = read_run(_write(tmp_path / "run", [], []))
    assert (run.localizations, run.failures, run.image_ids()) == ((), (), frozenset())


@pytest.mark.parametrize(
    ("boxes", "kept", "note"),
    [
        ([BOX, {**BOX, "box_xyxy": [0, 0, 9, 9]}], [(1.0, 2.0, 30.5, 40.0)], "1 boxes occur twice"),
        ([{**BOX, "box_xyxy": [0, float("nan"), 9, 9]}], [], "1 boxes hold numbers that are not finite"),
        ([{**BOX, "probability": float("nan")}], [(1.0, 2.0, 30.5, 40.0)], "1 boxes have a score that is not a number"),
        ([{**BOX, "probability": None}], [(1.0, 2.0, 30.5, 40.0)], "1 boxes have a score that is not a number"),
        ([{**BOX, "quality": float("inf")}], [(1.0, 2.0, 30.5, 40.0)], "1 boxes have a score that is not a number"),
        ([{**BOX, "quality": 1.5}], [(1.0, 2.0, 30.5, 40.0)], "1 boxes have a score that is not a number from 0 to 1"),
        ([{**BOX, "probability": -1e308}], [(1.0, 2.0, 30.5, 40.0)], "1 boxes have a score that is not a number"),
    ],
)
def test_what_is_fixed_is_said(tmp_path: Path, boxes: list[dict[str, Any]], kept: list[object], note: str) -> None:
    run = read_run(_write(tmp_path / "run", boxes, []))
    assert [box.box_xyxy for box in run.localizations] == kept
    assert [said.startswith(note) for said in run.notes] == [True]
    assert all(0 <= box.score_by(name) <= 1 for box in run.localizations for name in SCORES)


def test_components_of_an_item_are_no_repetition(tmp_path: Path) -> None:
    run = read_run(_write(tmp_path / "run", [BOX, {**BOX, "component": 1}], []))
    assert (len(run.localizations), run.notes) == (2, ())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda run: (run / "localizations.jsonl").write_text("[" * 10**5), "line 1 is not a record"),
        (lambda run: (run / "manifest.json").write_text("[" * 10**5), "is not a run folder"),
        (lambda run: (run / "manifest.json").unlink(), "is not a run folder"),
        (lambda run: (run / "manifest.json").write_text('{"schema_version": 7}'), "schema 7, this one reads 1 and 2"),
        (lambda run: (run / "manifest.json").write_text("{}"), "schema None"),
        (lambda run: (run / "localizations.jsonl").unlink(), "cannot be read"),
        (lambda run: (run / "localizations.jsonl").write_text('{"image_id":'), "is damaged"),
        (lambda run: (run / "localizations.jsonl").write_text('{"image_id": "a"}'), "line 1 is not a record"),
        (lambda run: (run / "failures.jsonl").write_text('{"reason": "?"}'), "line 1 is not a record"),
        (lambda run: (run / "localizations.jsonl").write_bytes(b"\xff"), "is damaged"),
    ],
)
def test_what_is_refused(tmp_path: Path, change: Any, sentence: str) -> None:
    run = _write(tmp_path / "run", [BOX], [])
    change(run)
    with pytest.raises(UserError, match=sentence):
        read_run(run)


@pytest.mark.parametrize(
    ("field", "value", "fault"),
    [
        ("kind", ["detector"], "kind is not text"),
        ("commit", "\ud800", "commit is not text"),
        ("complete", "no", "complete is neither true nor false"),
        ("images", -1, "images is not a whole number of at least 0"),
        ("ranked_classes", 10**400, "ranked_classes is not a whole number of at least 0"),
        ("command", "wsloc localize", "command is not a list of texts"),
        ("command", [1], "command is not a list of texts"),
        ("without_substitute", [["dog"]], "without_substitute is not a list of pairs of texts"),
        ("without_substitute", ["ab"], "without_substitute is not a list of pairs of texts"),
        ("timing", [3], "timing is not a JSON object"),
        ("timing", {"wall_seconds": float("nan")}, "timing wall_seconds is not a number of seconds"),
        ("timing", {"images": "3"}, "timing images is not a whole number of at least 0"),
        ("learning_seconds", 10**400, "learning_seconds is not a number of seconds"),
        ("detector", "x", "detector is not a JSON object"),
        ("versions", {"torch": 2}, "versions is not texts by name"),
    ],
)
def test_a_field_of_a_bad_manifest_is_named(tmp_path: Path, field: str, value: object, fault: str) -> None:
    run = _write(tmp_path / "run", [BOX], [], **{field: value})
    with pytest.raises(UserError) as error:
        read_run(run)
    assert str(error.value) == f"{run / 'manifest.json'} is damaged: {fault}; run it again."


@pytest.mark.parametrize(
    "record",
    [
        Localization(
            "a", "é.jpg", "dog", (0, 1, 2.5, 3), 0.5, 0.25, 0.1, "cam", "grabcut", "seeds", 1, (9, 8), 2, MASK
        ),
        Localization("a", "a.jpg", "dog", (0, 1, 2.5, 3), 0.5, 0.25, 0.1, "cam", "grabcut", None, 0, (9, 8)),
        Detection("a", "a.jpg", "dog", (0, 1, 2.5, 3), 0.75, 0.1, "detector", 3, (9, 8), 1),
        Failure("a", "a.jpg", "", "read", "it is no image"),
        Failure("a", "caf\udce9.jpg", "dog", "cut", "the map is zero", 17),
    ],
)
def test_every_record_is_read_back_as_it_was_written(record: BoxRecord | Failure) -> None:
    line = to_line(record)
    assert (line[-1], line.count("\n")) == ("\n", 1)
    assert from_fields(json.loads(line)) == record
    assert is_failure(line) == isinstance(record, Failure)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"kind": "drawing"}, "its kind is 'drawing'"),
        ({"kind": []}, "its kind is []"),
        ({"quality": 10**400}, "quality int too large to convert to float"),
        ({"image_id": 7}, "image_id is not text"),
        ({"class_name": None}, "class_name is not text"),
        ({"box_xyxy": [0, 0, 9]}, "box_xyxy is not a box"),
        ({"box_xyxy": [0, 0, "9", 9]}, "box_xyxy is not a box"),
        ({"box_xyxy": [0, 0, 1e12, 9]}, "box_xyxy is not a box"),
        ({"probability": "high"}, "probability is not a number"),
        ({"quality": True}, "quality is not a number"),
        ({"area_fraction": float("nan")}, "area_fraction is not a number from 0 to 1"),
        ({"area_fraction": 1.5}, "area_fraction is not a number from 0 to 1"),
        *[
            ({"size_wh": size}, SIZE)
            for size in ([100], [100, 0], [100, 10**30], [10**5, 10**4], [1.5, 2], [True, 2], "ab")
        ],
        ({"component": -1}, "component is not a whole number of at least 0"),
        ({"rank": 0}, "rank is not a whole number of at least 1"),
        *[
            ({name: 10**30}, f"{name} is not a whole number of at least {low}")
            for name, low in (("component", 0), ("rank", 1))
        ],
        *[({"file": text}, "file is not text") for text in ("a\ud800.jpg", "a\0.jpg", ["a.jpg"], {}, None)],
        *[
            ({"mask_rle": mask}, RLE)
            for mask in ("5", {}, [], {**MASK, "size": [10**8, 10**8]}, {**MASK, "counts": [72]})
        ],
    ],
)
def test_the_line_of_a_bad_record_is_named(tmp_path: Path, change: dict[str, Any], what: str) -> None:
    run = _write(tmp_path / "run", [{**BOX, "component": 4}, {**BOX, **change}], [])
    with pytest.raises(UserError) as error:
        read_run(run)
    file = run / "localizations.jsonl"
    assert str(error.value) == f"{file} is damaged: line 2 is not a record ({what}); run it again."


def test_a_missing_field_is_named(tmp_path: Path) -> None:
    run = _write(tmp_path / "run", [{name: value for name, value in BOX.items() if name != "method"}], [])
    with pytest.raises(UserError, match=r"line 1 is not a record \(method is missing\)"):
        read_run(run)


def test_resource_forks_are_no_parts(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "000000.jsonl").write_text(json.dumps(BOX) + "\n")
    (tmp_path / "parts" / "._000000.jsonl").write_bytes(b"\0\5\x16\7")
    assert open_records(tmp_path).files == (tmp_path / "parts" / "000000.jsonl",)
    with RunFolder(tmp_path) as folder:
        assert folder.written_parts() == {0}
        folder.join()
    assert (tmp_path / "localizations.jsonl").read_text() == json.dumps(BOX) + "\n"


@pytest.mark.parametrize("line", ["dataset: []", "dataset: -1", f"preset: {'1' * 400}", "limit: x", "- a", "[" * 5000])
def test_damaged_settings_are_one_sentence(tmp_path: Path, line: str) -> None:
    run = _write(tmp_path / "run", [BOX], [])
    (run / "config.yaml").write_text(line)
    with pytest.raises(UserError, match=r"config\.yaml"):
        settings_of_run(run)
