"""Which addresses and labels a list holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from wsloc.datasets.label_table import Columns, read_labels
from wsloc.datasets.url_list import ListedUrl, read_url_list
from wsloc.errors import UserError

A, B = "https://a.b/1.jpg?x=1&y=2", "HTTP://a.b/2"


def read(tmp_path: Path, text: str, name: str = "list.csv", **columns: str) -> list[tuple[str, str]]:
    (tmp_path / name).write_text(text, encoding="utf-8")
    return [(row.url, row.labels) for row in read_url_list(tmp_path / name, Columns(**columns))]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (f"{A},cat;dog\n{B},dog\n", "list.csv"),
        (f"cat;dog,{A}\ndog,{B}\n", "list.csv"),
        (f"link\tlabel\tcaption\n{A}\tcat;dog\tx\n{B}\tdog\ty\n", "list.tsv"),
        (f'{{"URL": "{A}", "label": ["cat", "dog"], "n": 1}}\n{{"URL": "{B}", "label": "dog"}}\n', "list.jsonl"),
    ],
)
def test_columns_are_told_by_what_they_hold(tmp_path: Path, text: str, name: str) -> None:
    assert read(tmp_path, text, name) == [(A, "cat;dog"), (B, "dog")]


def test_lists_without_labels(tmp_path: Path) -> None:
    assert read(tmp_path, f"{A},with,commas\n\n {B}\n", "list.txt") == [(f"{A},with,commas", ""), (B, "")]
    assert read(tmp_path, f"url\n{A}\n{B}\n") == [(A, ""), (B, "")]
    assert read(tmp_path, f"url,caption\n{A},x\n") == [(A, "")]
    assert read(tmp_path, f"url,caption\n{A},x\n", label="Caption") == [(A, "x")]


def test_a_row_without_an_address_stays(tmp_path: Path) -> None:
    assert read(tmp_path, f"{A},cat\nlocal.jpg,cat\n,dog\n") == [(A, "cat"), ("local.jpg", "cat"), ("", "dog")]
    assert read_url_list(tmp_path / "list.csv", Columns())[0] == ListedUrl(A, "cat")


@pytest.mark.parametrize("first", ["s3://a/1.jpg", "images/1.jpg"])
def test_a_first_row_of_another_kind_is_no_header(tmp_path: Path, first: str) -> None:
    assert read(tmp_path, f"{first},cat\n{A},dog\n") == [(first, "cat"), (A, "dog")]
    assert read(tmp_path, f"www.a.b/1\n{A}\n", "list.txt") == [("www.a.b/1", ""), (A, "")]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "has no http or https address in its first rows"),
        ("image,label\na.jpg,cat\n", "has no http or https address in its first rows; `image_column` names"),
        (f"u,v\n{A},{B}\n", "has addresses in the columns u, v; `image_column` names the one"),
        (f"{A},{B}\n", "has addresses in the columns number 1, number 2"),
        (f"u,label,class\n{A},1,2\n", "has labels in the columns label, class; `label_column` names the one"),
        (f"{A},cat\n{B}\n", "row 2: expected 2 columns but found 1"),
    ],
)
def test_what_cannot_be_told(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        read(tmp_path, text)


@pytest.mark.parametrize(
    "text", [f"{A},cat\n", f"url,label\n{A},cat\n", f"image,label,n\n{A},cat,1\n", "s3://a/b.jpg,c\n"]
)
def test_a_run_names_the_verb_that_fetches(tmp_path: Path, text: str) -> None:
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(UserError, match=r"is an address, and runs read files: .*\(wsloc fetch\)"):
        read_labels(tmp_path / "list.csv", tmp_path, Columns())
