"""JSON and YAML of others: what they mean by hand, and that nothing but the two expected errors comes out of them."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from wsloc.classifiers.checkpoint import load_checkpoint
from wsloc.classifiers.labelmap import load_label_map
from wsloc.datasets.demo.generate import read_marker
from wsloc.errors import UserError
from wsloc.exporters.export_folder import read_manifest
from wsloc.files.documents import parse_json, parse_yaml
from wsloc.reporting.report_model import saved_metrics

NESTED = "[" * 100_000
LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10))
"""Ten lines that stand for 9^9 pairs of x."""


def test_what_documents_mean() -> None:
    assert parse_json('{"a": [1, null, 2.5]}') == {"a": [1, None, 2.5]}
    assert parse_json("{}", object_pairs_hook=list) == []
    assert parse_yaml("cat: &a [281, b]\ndog: *a\n") == {"cat": [281, "b"], "dog": [281, "b"]}
    assert parse_yaml("") is None
    with pytest.raises(yaml.YAMLError):
        parse_yaml("[")
    assert parse_yaml("a: " + "x" * 9_000_000)["a"][:2] == "xx"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (NESTED, "nested too deeply"),
        ("a: !!bool x", "cannot be made"),
        ("a: !!timestamp x", "cannot be made"),
        ("a: 2001-99-99", "month must be in"),
        (f"a: 0x{'f' * 5000}", "limit"),
        (f"? 0x{'f' * 5000}\n: a", "limit"),
        (LAUGHS, "aliases stand for more than ten million"),
        ("a: &a [*a]", "aliases stand for more than ten million"),
        ("a: &a {b: *a}", "aliases stand for more than ten million"),
    ],
    ids=lambda value: value[:20],
)
def test_what_yaml_must_not_hold(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_yaml(text)


def test_endless_json_is_refused() -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json(NESTED)


def _checkpoint(path: Path) -> None:
    header = json.dumps({"__metadata__": {"wsloc": NESTED}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("map.json", lambda folder: load_label_map(folder / "map.json")),
        ("map.yaml", lambda folder: load_label_map(folder / "map.yaml")),
        ("net.safetensors", lambda folder: load_checkpoint(folder / "net.safetensors")),
    ],
)
def test_files_of_endless_nesting_are_named(name: str, read: Callable[[Path], object], tmp_path: Path) -> None:
    if name.endswith("safetensors"):
        _checkpoint(tmp_path / name)
    else:
        (tmp_path / name).write_text(NESTED)
    with pytest.raises(UserError, match="nested too deeply"):
        read(tmp_path)


def test_files_of_endless_nesting_count_as_missing(tmp_path: Path) -> None:
    for name in ("metrics.json", "export.json", "demo.json"):
        (tmp_path / name).write_text(NESTED)
    assert saved_metrics(tmp_path) == (None, {})
    assert read_manifest(tmp_path) is None
    assert read_marker(tmp_path) is None
