"""``--batch-size auto``: what half of a device's memory holds; here a CUDA device is only played."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wsloc.cli.main import run_verb
from wsloc.cli.options import parse_localize
from wsloc.pipeline import batch_size
from wsloc.pipeline.batch_size import LARGEST, chosen_batch_size, fitting_size
from wsloc.pipeline.model import BoundModel
from wsloc.saliency import Attribution, PairBatch

GIB = 2**30


@pytest.mark.parametrize(
    ("bytes_of_row", "memory", "size"),
    [
        (GIB, 8 * GIB, 4),
        (GIB + 1, 8 * GIB, 2),
        (GIB / 16, 8 * GIB, 64),
        (GIB / 17, 8 * GIB, 64),
        (1, 80 * GIB, 64),
        (0, GIB, 64),
        (9 * GIB, 8 * GIB, 1),
    ],
)
def test_half_of_the_memory_in_powers_of_two(bytes_of_row: float, memory: int, size: int) -> None:
    assert fitting_size(bytes_of_row, memory) == size


@given(st.integers(1, 2**40), st.integers(1, 2**40))
def test_twice_as_many_rows_would_not_fit(bytes_of_row: int, memory: int) -> None:
    size = fitting_size(bytes_of_row, memory)
    assert size == 1 or 2 * size * bytes_of_row <= memory
    assert size == LARGEST or 4 * size * bytes_of_row > memory


def played(monkeypatch: pytest.MonkeyPatch, bytes_of_row: int, memory: int) -> tuple[BoundModel, list[PairBatch]]:
    """A method on a CUDA device of so much memory that takes so much for a row, and the batches it was given."""
    batches: list[PairBatch] = []
    peak = 0

    def compute(batch: PairBatch) -> Attribution:
        nonlocal peak
        batches.append(batch)
        peak = GIB + bytes_of_row * len(batch.images)
        return Attribution(batch.images[:, 0], batch.images[:, 0, 0])

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _device: SimpleNamespace(total_memory=memory))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _device: GIB)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda _device: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _device: peak)
    monkeypatch.setattr(batch_size.torch, "arange", on_cpu(torch.arange))
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, *_args, **_kwargs: tensor)
    scorer = SimpleNamespace(device=torch.device("cuda"))
    return SimpleNamespace(scorer=scorer, method=SimpleNamespace(compute=compute)), batches  # type: ignore[return-value]


def on_cpu(make: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    return lambda *args, **_kwargs: make(*args)


def test_the_probe_measures_rows_above_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batches = played(monkeypatch, GIB // 4, 16 * GIB)
    assert chosen_batch_size("auto", model, (3, 32, 48)) == 32
    (batch,) = batches
    assert batch.images.shape == (2, 3, 32, 48)
    assert batch.image_index.tolist() == [0, 1]
    assert chosen_batch_size(7, model, (3, 32, 48)) == 7
    assert len(batches) == 1


def test_elsewhere_it_is_the_usual_one_and_the_manifest_says_so(tiny: Path, tiny_flags: list[str]) -> None:
    flags = [*tiny_flags, "--limit", "4", "--device", "cpu"]
    for size in ("auto", "16"):
        assert run_verb("localize", [*flags, "--batch-size", size, "--out", size]) == 0
        assert json.loads((tiny / size / "manifest.json").read_text())["batch_size"] == 16
    assert "batch_size: auto" in (tiny / "auto" / "config.yaml").read_text()
    auto, fixed = ((tiny / size / "localizations.jsonl").read_bytes() for size in ("auto", "16"))
    assert auto == fixed


def test_a_run_that_chose_another_size_is_not_resumed(
    tiny: Path, tiny_flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [*tiny_flags, "--limit", "4", "--batch-size", "auto", "--out", "run"]
    assert run_verb("localize", flags) == 0
    path = tiny / "run" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"complete": False, "batch_size": 32}))
    assert run_verb("localize", [*flags, "--resume"]) == 2
    assert "was started with another batch size" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["0", "-1", "many", "1.5"])
def test_other_values_are_refused(tiny_flags: list[str], capsys: pytest.CaptureFixture[str], value: str) -> None:
    assert run_verb("localize", [*tiny_flags, "--batch-size", value]) == 2
    assert "--batch-size" in capsys.readouterr().err


def test_a_training_has_a_number(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_verb("train-classifier", ["--dataset", "demo", "--batch-size", "auto"]) == 2
    assert "--batch-size" in capsys.readouterr().err


def test_the_configuration_of_localize_takes_both() -> None:
    config = parse_localize(["--batch-size", "auto"])
    assert config.compute.batch_size == "auto"
    assert replace(config.compute, batch_size=3).batch_size == 3
