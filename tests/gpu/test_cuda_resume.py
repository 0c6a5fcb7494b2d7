"""A run on CUDA that is interrupted resumes, and ends with the bytes of an undisturbed one."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from wsloc.cli.main import run_verb

NAMES = ("config.yaml", "localizations.jsonl", "failures.jsonl")


@pytest.mark.parametrize("extra", [[], ["--precision", "bfloat16"], ["--batch-size", "auto"]], ids=" ".join)
def test_resume(
    tiny: Path, tiny_flags: list[str], interrupted_at: Callable[[int], AbstractContextManager[None]], extra: list[str]
) -> None:
    flags = [*tiny_flags, "--checkpoint-every", "8", "--device", "cuda", *extra]
    assert run_verb("localize", [*flags, "--out", "undisturbed"]) == 0
    with interrupted_at(2):
        assert run_verb("localize", [*flags, "--out", "interrupted"]) == 130
    assert len(list((tiny / "interrupted" / "parts").glob("*.jsonl"))) == 2
    assert run_verb("localize", [*flags, "--out", "interrupted", "--resume"]) == 0
    for name in NAMES:
        assert (tiny / "interrupted" / name).read_bytes() == (tiny / "undisturbed" / name).read_bytes()
    manifest = json.loads((tiny / "interrupted" / "manifest.json").read_text())
    assert manifest["device"].startswith("cuda (")
    assert manifest["timing"]["images"] == 24
