"""Tables of JSON lines and Parquet mean what the same table of CSV means."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from wsloc.datasets.label_table import Columns, read_labels, read_rows_of
from wsloc.datasets.own_truth import read_box_rows
from wsloc.errors import UserError

LABELS = {"a.jpg": ("cat", "dog"), "b.jpg": ("dog",)}


def labels_of(path: Path, text: str, **columns: str) -> dict[str, tuple[str, ...]]:
    path.write_text(text, encoding="utf-8")
    return read_labels(path, path.parent, Columns(**columns))


@pytest.mark.parametrize("name", ["labels.jsonl", "labels.JSONL", "labels.ndjson"])
def test_json_lines(tmp_path: Path, name: str) -> None:
    lines = '{"file_name": "a.jpg", "label": ["cat", "dog"]}\n\n{"label": "dog", "file_name": "b.jpg"}\n'
    assert labels_of(tmp_path / name, lines) == LABELS
    more = lines.replace('"file_name"', '"width": 640, "file_name"')
    assert labels_of(tmp_path / name, more) == LABELS
    other = lines.replace("file_name", "x").replace('"label"', '"z": null, "y"')
    assert labels_of(tmp_path / name, other, image="x", label="y") == LABELS


def test_a_key_may_be_missing_or_come_later(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"a": 1}\n{"b": 2.5, "a": null}\n{"c": true, "a": ["x", 3]}\n')
    assert read_rows_of(tmp_path / "t.jsonl", "labels", 2) == [
        ["a", "b", "c"],
        ["1", "", ""],
        ["", "2.5", ""],
        ["x;3", "", "True"],
    ]


def test_boxes(tmp_path: Path) -> None:
    (tmp_path / "boxes.csv").write_text("image,class,x0,y0,x1,y1\na.jpg,cat,1,2,30.5,40\n")
    line = '{"image": "a.jpg", "class": "cat", "x0": 1, "y0": 2, "x1": 30.5, "y1": 40}\n'
    (tmp_path / "boxes.jsonl").write_text(line)
    ours, theirs = (read_box_rows(tmp_path / name) for name in ("boxes.jsonl", "boxes.csv"))
    assert ours.of_image == theirs.of_image != {}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"image": "a.jpg", "label": "cat"}\n{"image": ', r"labels.jsonl, line 2 is not JSON: "),
        ("[" * 100_000, r"labels.jsonl, line 1 is not JSON: "),
        ('["a.jpg", "cat"]\n', r"line 1 is not a JSON object, such as"),
        ('{"image": "a.jpg", "label": ["cat;dog"]}\n', r"a value of label holds ; or \|, which"),
        ('{"image": "a.jpg", "label": ["cat|dog"]}\n', r"a value of label holds ; or \|, which"),
        ('{"image": "a.jpg", "label": {"id": 3}}\n', r"the column label holds dict, but text or numbers"),
        ('{"image": "a.jpg", "label": "\\ud800"}\n', r"the column label holds '\\ud800', which is no text"),
        ("\n", r"names no image"),
        ('{"image": "../a.jpg", "label": "cat"}\n', r"row 2: ../a.jpg is outside"),
    ],
)
def test_bad_lines_are_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        labels_of(tmp_path / "labels.jsonl", text)


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install 'wsloc[parquet]'")
    from pyarrow import parquet

    path = tmp_path / "labels.parquet"
    columns = {"path": ["a.jpg", "b.jpg"], "labels": [["cat", "dog"], ["dog"]], "width": [640, None]}
    parquet.write_table(pyarrow.table(columns), path)
    assert read_labels(path, tmp_path, Columns(label="labels")) == LABELS
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"The table of labels .*labels.parquet cannot be read: "):
        read_labels(path, tmp_path, Columns())
    with pytest.raises(UserError, match=r"none.parquet does not exist; check the path"):
        read_labels(tmp_path / "none.parquet", tmp_path, Columns())


def test_parquet_without_pyarrow_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"needs pyarrow to be read: pip install 'wsloc\[parquet\]'"):
        read_labels(tmp_path / "labels.parquet", tmp_path, Columns())
