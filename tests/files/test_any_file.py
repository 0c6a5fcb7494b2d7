"""Whatever a file of settings, of a run, of weights or of marks holds, its reader raises nothing but a sentence."""

from __future__ import annotations

import contextlib
import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from wsloc.classifiers.weights_file import read_states
from wsloc.cli.options import parse_localize
from wsloc.config_files import read_yaml, settings_of_run
from wsloc.detection.checkpoint import load_detector
from wsloc.errors import UserError
from wsloc.exporters.review import read_review
from wsloc.runs.read_run import read_run

FUZZ = settings(max_examples=25, suppress_health_check=list(HealthCheck))
LEAVES: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 90), st.floats(), st.text(max_size=4),
    st.sampled_from([10**400, -(10**30), 2**63, 1e308, "a.jpg", "cat", "fasterrcnn_mobilenet_v3_large_fpn"]),
)  # fmt: skip
JSON = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
)
ANY_TEXT = st.one_of(st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace")), st.binary(max_size=60))
SETTINGS = ["dataset", "root", "classes", "arch", "method", "batch_size", "views", "seed", "class", "targets", "device",
            "rise_masks", "limit", "ids", "mean", "input_size", "kind", "data"]  # fmt: skip
YAML_VALUES = st.one_of(
    st.sampled_from(
        ["2001-99-99", "!!int x", "!!float x", "!!bool x", "!!timestamp x", "!!binary \u00e9", "1:99:1e9", "0b", "[",
         "&a [*a]", "!!python/object:os.system {}", "9" * 5000, ".inf", "{? [a] : b}", "<<: 1", "!!set {a}", "|"]
    ),
    JSON.map(lambda value: json.dumps(value)),
)  # fmt: skip


@FUZZ
@given(content=ANY_TEXT)
def test_settings_of_any_bytes(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "c.yaml").write_bytes(content)
    with contextlib.suppress(UserError):
        read_yaml(tmp_path / "c.yaml")


@FUZZ
@given(key=st.sampled_from(SETTINGS), value=YAML_VALUES)
@example(key="9" * 5000, value="1")
@example(key="dataset", value="{}")
@example(key="limit", value=f"0x{'f' * 5000}")
@example(key="classes", value="&a [*a]")
def test_settings_of_any_value(tmp_path: Path, key: str, value: str) -> None:
    run = tmp_path / "run"
    run.mkdir(exist_ok=True)
    (run / "manifest.json").write_text('{"schema_version": 2, "complete": true}')
    (run / "config.yaml").write_text(f"{key}: {value}\n", encoding="utf-8", errors="replace")
    with contextlib.suppress(UserError):
        settings_of_run(run)
    with contextlib.suppress(UserError):
        parse_localize(["--config", str(run / "config.yaml")])


@FUZZ
@given(document=JSON, part=st.sampled_from(["", "image_id", "file", "class_name", "box_xyxy", "quality", "probability",
       "size_wh", "component", "mask_rle", "fallback", "rank"]), content=ANY_TEXT)  # fmt: skip
def test_records_of_any_value(tmp_path: Path, document: Any, part: str, content: bytes) -> None:
    fields = {
        "image_id": "a", "file": "a.jpg", "class_name": "cat", "box_xyxy": [1, 2, 3, 4], "probability": 0.5,
        "quality": 0.5, "area_fraction": 0.1, "method": "cam", "segmenter": "grabcut", "fallback": None,
        "component": 0, "size_wh": [9, 9], "rank": None, "mask_rle": None,
    }  # fmt: skip
    (tmp_path / "manifest.json").write_text('{"schema_version": 2, "complete": true}')
    (tmp_path / "failures.jsonl").write_text("")
    for line in (json.dumps({**fields, part: document} if part else document).encode(), content):
        (tmp_path / "localizations.jsonl").write_bytes(line + b"\n")
        with contextlib.suppress(UserError):
            read_run(tmp_path)


@FUZZ
@given(document=JSON, part=st.sampled_from(["", "schema_version", "complete", "kind", "images", "data"]))
def test_manifests_of_any_value(tmp_path: Path, document: Any, part: str) -> None:
    sound = {"schema_version": 2, "complete": True}
    (tmp_path / "manifest.json").write_text(json.dumps({**sound, part: document} if part else document))
    (tmp_path / "config.yaml").write_text("dataset: voc\n")
    for name in ("localizations.jsonl", "failures.jsonl"):
        (tmp_path / name).write_text("")
    for read in (read_run, settings_of_run):
        with contextlib.suppress(UserError):
            read(tmp_path)


@FUZZ
@given(document=JSON, part=st.sampled_from(["", "settings", "class_names", "arch", "input_size", "min_size"]))
def test_detectors_of_any_value(tmp_path: Path, document: Any, part: str) -> None:
    info: Any = {"class_names": ["cat"], "settings": {"arch": "none"}}
    if part in info:
        info[part] = document
    elif part:
        info["settings"][part] = document
    else:
        info = document
    path = tmp_path / "d.safetensors"
    for text in (json.dumps(info), "[" * 50_000):
        path.write_bytes(save({"a": torch.zeros(1)}, metadata={"wsloc_detector": text}))
        with contextlib.suppress(UserError):
            load_detector(path)


@FUZZ
@given(content=st.binary(max_size=80), length=st.integers(0, 2**64 - 1))
def test_weights_of_any_bytes(tmp_path: Path, content: bytes, length: int) -> None:
    path = tmp_path / "w.pth"
    for head in (b"", b"PK\x03\x04", b"\x80\x02", struct.pack("<Q", length) + b"{", struct.pack("<Q", 60) + b'{"a":'):
        path.write_bytes(head + content)
        for read in (read_states, load_detector):
            with contextlib.suppress(UserError):
                read(path)


@FUZZ
@given(document=JSON, content=ANY_TEXT)
def test_reviews_of_any_value(tmp_path: Path, document: Any, content: bytes) -> None:
    for text in (content, json.dumps({"accepted": document, "rejected": []}).encode(), json.dumps(document).encode()):
        (tmp_path / "r.json").write_bytes(text)
        with contextlib.suppress(UserError):
            read_review(tmp_path / "r.json")


@pytest.mark.parametrize("text", ["a: 2001-99-99", "a: !!bool x", "a: !!timestamp x", f"a: {'9' * 5000}", "a: !!int x"])
def test_values_that_yaml_cannot_make_are_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(UserError, match=r"c\.yaml is not valid YAML"):
        read_yaml(tmp_path / "c.yaml")
