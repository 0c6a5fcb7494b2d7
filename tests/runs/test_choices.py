"""Every choice that the command line offers is run once, and does what it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from wsloc.cli.main import run_verb
from wsloc.config import ClassifierSettings, ComputeSettings, SaliencySettings, SegmentationSettings


def choices(settings: type, field: str) -> list[str]:
    """The values of a Literal field; None is dropped."""
    annotation = get_type_hints(settings)[field]
    inner = [value for part in get_args(annotation) for value in (get_args(part) or (part,))]
    return [value for value in inner if isinstance(value, str)]


EVERY_CHOICE = [
    ("--method", value) for value in choices(SaliencySettings, "method")
] + [("--views", value) for value in choices(SaliencySettings, "views")] + [
    ("--segmenter", value) for value in choices(SegmentationSettings, "segmenter")
] + [("--resize", value) for value in choices(ClassifierSettings, "resize")] + [
    ("--activation", value) for value in choices(ClassifierSettings, "activation")
] + [("--precision", value) for value in choices(ComputeSettings, "precision")]  # fmt: skip


def records_of(run: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (run / "localizations.jsonl").read_text().splitlines()]


def test_the_choices_are_all_there() -> None:
    assert len(EVERY_CHOICE) == 4 + 3 + 3 + 2 + 2 + 3


@pytest.mark.parametrize(("flag", "value"), EVERY_CHOICE)
def test_each_choice_runs(tiny: Path, tiny_flags: list[str], flag: str, value: str) -> None:
    assert run_verb("localize", [*tiny_flags, flag, value, "--limit", "4", "--out", "run"]) == 0
    records = records_of(tiny / "run")
    assert len(records) == 7
    if flag in ("--method", "--segmenter"):
        assert {record[flag.removeprefix("--")] for record in records} == {value}
    for record in records:
        assert 0 <= record["probability"] <= 1
        assert 0 <= record["quality"] <= 1


def test_sigmoid_and_softmax_differ(tiny: Path, tiny_flags: list[str]) -> None:
    for activation in ("softmax", "sigmoid"):
        flags = [*tiny_flags, "--activation", activation, "--limit", "4", "--out", activation]
        assert run_verb("localize", flags) == 0
    probabilities = [[r["probability"] for r in records_of(tiny / name)] for name in ("softmax", "sigmoid")]
    assert probabilities[0] != probabilities[1]


def test_top_k_looks_for_the_most_probable_classes(tiny: Path, tiny_flags: list[str]) -> None:
    assert run_verb("localize", [*tiny_flags, "--targets", "top2", "--out", "run"]) == 0
    records = records_of(tiny / "run")
    assert len(records) == 2 * 40
    for first, second in zip(records[::2], records[1::2], strict=True):
        assert first["image_id"] == second["image_id"]
        assert first["probability"] >= second["probability"]


def test_one_class_by_name(tiny: Path, tiny_flags: list[str]) -> None:
    assert run_verb("localize", [*tiny_flags, "--class", "green", "--out", "run"]) == 0
    assert [record["class_name"] for record in records_of(tiny / "run")] == ["green"] * 40


def test_several_components_are_records_of_their_own(tiny: Path, tiny_flags: list[str]) -> None:
    flags = [*tiny_flags, "--components", "3", "--component-area-share", "0.001", "--segmenter", "threshold"]
    assert run_verb("localize", [*flags, "--threshold", "0.7", "--smoothing", "0", "--out", "run"]) == 0
    numbers = [record["component"] for record in records_of(tiny / "run")]
    assert set(numbers) == {0, 1, 2}
    manifest = json.loads((tiny / "run" / "manifest.json").read_text())
    assert manifest["counts"]["boxes"] == len(numbers)
    assert manifest["counts"]["items"] == numbers.count(0)


def test_images_by_glob_without_a_data_set(tiny: Path, tiny_flags: list[str]) -> None:
    network = tiny_flags[tiny_flags.index("--arch") :]
    flags = ["--images", "photos/0*.png", "--class", "red", *network, "--out", "run", "--overlays", "2"]
    assert run_verb("localize", flags) == 0
    assert [record["file"] for record in records_of(tiny / "run")] == [f"{number:02d}.png" for number in range(10)]
    assert len(list((tiny / "run" / "overlays").iterdir())) == 2


def test_a_grey_network(tiny: Path) -> None:
    (tiny / "greynet.py").write_text(
        "from torch import nn\n\n"
        "def make():\n"
        "    layers = nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)\n"
        "    return nn.Sequential(*layers)\n"
    )
    import torch

    torch.manual_seed(0)
    import greynet  # type: ignore[import-not-found]

    torch.save(greynet.make().state_dict(), tiny / "grey.pth")
    flags = (
        "--dataset folder --root photos --labels labels.csv --arch greynet:make --weights grey.pth "
        "--classes-file classes.txt --input-size 28 --batch-size 4 --out run"
    )
    assert run_verb("localize", flags.split()) == 0
    assert len(records_of(tiny / "run")) == 79


def test_the_resolved_configuration_runs_again(tiny: Path, tiny_flags: list[str]) -> None:
    assert run_verb("localize", [*tiny_flags, "--seed", "3", "--smoothing", "0.05", "--out", "first"]) == 0
    assert run_verb("localize", ["--config", "first/config.yaml", "--out", "second"]) == 0
    for name in ("config.yaml", "localizations.jsonl", "failures.jsonl"):
        assert (tiny / "first" / name).read_bytes() == (tiny / "second" / name).read_bytes()


def test_an_arch_of_timm(tiny: Path) -> None:
    timm = pytest.importorskip("timm")
    import torch

    torch.save(timm.create_model("resnet10t", num_classes=3).state_dict(), tiny / "timm.pth")
    flags = (
        "--dataset folder --root photos --labels labels.csv --arch timm:resnet10t --weights timm.pth "
        "--classes-file classes.txt --input-size 64 --batch-size 4 --limit 4 --out run"
    )
    assert run_verb("localize", flags.split()) == 0
    assert len(records_of(tiny / "run")) == 7
