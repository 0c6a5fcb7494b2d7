"""A run on CUDA that is interrupted resumes, and ends with the bytes of an undisturbed one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from wsloc.cli.main import run_verb
from wsloc.images import read_scaled
from wsloc.records import Source

NAMES = ("config.yaml", "localizations.jsonl", "failures.jsonl")


def interrupt_after(monkeypatch: pytest.MonkeyPatch, images: int) -> None:
    """Ctrl-C when the run has read that many images."""
    seen: list[Source] = []

    def interrupted(source: Source, least_side: int | None) -> tuple[NDArray[np.uint8], tuple[int, int]]:
        seen.append(source)
        if len(seen) > images:
            raise KeyboardInterrupt
        return read_scaled(source, least_side)

    monkeypatch.setattr("wsloc.pipeline.read_stage.read_scaled", interrupted)


@pytest.mark.parametrize("extra", [[], ["--precision", "bfloat16"], ["--batch-size", "auto"]], ids=" ".join)
def test_resume(tiny: Path, tiny_flags: list[str], monkeypatch: pytest.MonkeyPatch, extra: list[str]) -> None:
    flags = [*tiny_flags, "--checkpoint-every", "8", "--device", "cuda", *extra]
    assert run_verb("localize", [*flags, "--out", "undisturbed"]) == 0
    with monkeypatch.context() as patch:
        interrupt_after(patch, images=20)
        assert run_verb("localize", [*flags, "--out", "interrupted"]) == 130
    assert len(list((tiny / "interrupted" / "parts").glob("*.jsonl"))) == 2
    assert run_verb("localize", [*flags, "--out", "interrupted", "--resume"]) == 0
    for name in NAMES:
        assert (tiny / "interrupted" / name).read_bytes() == (tiny / "undisturbed" / name).read_bytes()
    manifest = json.loads((tiny / "interrupted" / "manifest.json").read_text())
    assert manifest["device"].startswith("cuda (")
    assert manifest["timing"]["images"] == 24
