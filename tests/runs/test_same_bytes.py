"""Whole run folders: the same bytes for any run and number of workers; maps and boxes within bounds for any batch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from wsloc.cli.main import run_verb
from wsloc.runs.map_store import SavedMaps

ITEMS = 79
MORE = ("--save-maps", "--overlays", "3", "--checkpoint-every", "16")


def files_of(run: Path) -> dict[str, bytes]:
    """All that the promise is about: everything but the manifest and the log, which tell the time."""
    return {
        path.relative_to(run).as_posix(): path.read_bytes()
        for path in run.rglob("*")
        if path.is_file() and path.name not in ("manifest.json", "log.txt", ".lock")
    }


def test_three_runs_and_1_2_and_4_workers_leave_the_same_bytes(
    tiny: Path, tiny_flags: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Else no more workers would be begun than there are cores.
    monkeypatch.setattr("wsloc.threads.available_cores", lambda: 16)
    runs = {"first": [], "second": [], "third": [], **{f"workers-{n}": ["--workers", str(n)] for n in (1, 2, 4)}}
    for name, flags in runs.items():
        assert run_verb("localize", [*tiny_flags, *MORE, *flags, "--out", name]) == 0
    first = files_of(tiny / "first")
    assert {"localizations.jsonl", "config.yaml", "maps/000002.npz", "pictures/000002.npz"} <= first.keys()
    assert sum(name.startswith("overlays/") for name in first) == 6
    for name in runs:
        assert files_of(tiny / name) == first, name
    threads = json.loads((tiny / "workers-4" / "manifest.json").read_text())["timing"]["threads"]
    assert threads["workers"] == 4


def test_batches_of_1_7_and_32_agree_within_bounds(tiny: Path, tiny_flags: list[str]) -> None:
    maps: dict[int, dict[tuple[str, str], NDArray[np.float32]]] = {}
    boxes: dict[int, dict[tuple[str, str], object]] = {}
    for size in (1, 7, 32):
        run = tiny / f"batch-{size}"
        assert run_verb("localize", [*tiny_flags, "--save-maps", "--batch-size", str(size), "--out", str(run)]) == 0
        saved = SavedMaps(run / "maps")
        maps[size] = {
            (image, name): found
            for image, names in saved.rows.items()
            for name in names
            if (found := saved.read(image, name)) is not None
        }
        lines = (run / "localizations.jsonl").read_text().splitlines()
        boxes[size] = {(row["image_id"], row["class_name"]): row["box_xyxy"] for row in map(json.loads, lines)}
    assert len(maps[7]) == len(boxes[7]) == ITEMS
    for size in (1, 32):
        assert maps[size].keys() == maps[7].keys()
        for item, values in maps[7].items():
            assert np.abs(maps[size][item] - values).max() <= 1e-5 * values.max()
        assert sum(boxes[size][item] == box for item, box in boxes[7].items()) >= 0.99 * ITEMS
