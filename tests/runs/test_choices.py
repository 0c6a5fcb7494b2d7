"""Every choice that the command line offers is run once, and does what it says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from wsloc.cli.main import run_verb
from wsloc.config import ClassifierSettings, ComputeSettings, SaliencySettings, SegmentationSettings
from wsloc.registries import METHODS, SEGMENTERS, VIEWS

REGISTRIES: dict[str, Mapping[str, object]] = {
    "method": METHODS,
    "second_method": METHODS,
    "views": VIEWS,
    "segmenter": SEGMENTERS,
}


def choices(settings: type, field: str) -> list[str]:
    """The names of a registry, or the values of a Literal field without None."""
    if field in REGISTRIES:
        return list(REGISTRIES[field])
    annotation = get_type_hints(settings)[field]
    inner = [value for part in get_args(annotation) for value in (get_args(part) or (part,))]
    return [value for value in inner if isinstance(value, str)]


FAST = (
    "--smoothgrad-samples 2 --integrated-steps 2 --occlusion-patch 12 --occlusion-stride 10 --rise-masks 9 "
    "--score-cam-channels 3"
).split()
"""So that methods of many passes are soon done."""
EVERY_CHOICE = [
    (flags, value)
    for settings, flags in (
        (SaliencySettings, "--method"),
        (SaliencySettings, "--second-method"),
        (SaliencySettings, "--second-method guided --combine"),
        (SaliencySettings, "--method occlusion --occlusion-fill"),
        (SaliencySettings, "--views"),
        (SegmentationSettings, "--segmenter"),
        (ClassifierSettings, "--resize"),
        (ClassifierSettings, "--activation"),
        (ComputeSettings, "--precision"),
    )
    for value in choices(settings, flags.split()[-1].removeprefix("--").replace("-", "_"))
]


def records_of(run: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (run / "localizations.jsonl").read_text().splitlines()]


def test_the_choices_are_all_there() -> None:
    assert len(EVERY_CHOICE) == 19 + 19 + 2 + 6 + 6 + 3 + 2 + 2 + 3


@pytest.mark.parametrize(("flags", "value"), EVERY_CHOICE)
def test_each_choice_runs(tiny: Path, tiny_flags: list[str], flags: str, value: str) -> None:
    # The score of green rises wherever this network misses something, so that its occlusion map is zero.
    more = ["--classes", "red", "blue", "--limit", "4", "--out", "run"]
    assert run_verb("localize", [*tiny_flags, *FAST, *flags.split(), value, *more]) == 0
    records = records_of(tiny / "run")
    assert [record["class_name"] for record in records] == ["red", "red", "red", "blue", "red"]
    if flags in ("--method", "--segmenter"):
        assert {record[flags.removeprefix("--")] for record in records} == {value}
    if flags == "--second-method":
        assert {record["method"] for record in records} == {f"gradient-x-{value}"}
    if flags.endswith("--combine"):
        assert {record["method"] for record in records} == {f"gradient-{'x' if value == 'product' else 'and'}-guided"}
    for record in records:
        assert 0 <= record["probability"] <= 1
        assert 0 <= record["quality"] <= 1


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("method", ["guided", "cam", "grad-cam++", "score-cam", "rise", "smoothgrad-squared"])
@pytest.mark.usefixtures("tiny")
def test_no_kind_of_method_needs_full_precision(tiny_flags: list[str], method: str, precision: str) -> None:
    flags = [*tiny_flags, *FAST, "--method", method, "--precision", precision, "--class", "red", "--limit", "2"]
    assert run_verb("localize", [*flags, "--out", "run"]) == 0


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
    flags = [*tiny_flags, "--components", "3", "--component-area-fraction", "0.001", "--segmenter", "threshold"]
    assert run_verb("localize", [*flags, "--threshold", "0.7", "--smoothing", "0", "--out", "run"]) == 0
    numbers = [record["component"] for record in records_of(tiny / "run")]
    assert set(numbers) == {0, 1, 2}
    manifest = json.loads((tiny / "run" / "manifest.json").read_text())
    assert manifest["counts"]["boxes"] == len(numbers)
    assert manifest["counts"]["items"] == numbers.count(0)


def test_a_unit_in_place_of_a_class(tiny: Path, tiny_flags: list[str]) -> None:
    flags = [*tiny_flags, "--layer", "body.3", "--unit", "2", "--limit", "6"]
    assert run_verb("localize", [*flags, "--out", "channel"]) == 0
    assert run_verb("localize", [*flags[:-3], "2", "8", "9", "--limit", "6", "--out", "neuron"]) == 0
    channel, neuron = (records_of(tiny / name) for name in ("channel", "neuron"))
    # Once in each image, whatever its labels.
    assert [record["class_name"] for record in channel] == ["body.3 unit 2"] * 6
    assert [record["class_name"] for record in neuron] == ["body.3 unit 2 8 9"] * 6
    assert [record["box_xyxy"] for record in channel] != [record["box_xyxy"] for record in neuron]
    # Its configuration reads back and gives the same bytes.
    assert run_verb("localize", ["--config", "neuron/config.yaml", "--out", "again", "--trust"]) == 0
    for name in ("config.yaml", "localizations.jsonl"):
        assert (tiny / "again" / name).read_bytes() == (tiny / "neuron" / name).read_bytes()


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ("--layer body.9 --unit 2", "The network has no layer 'body.9'"),
        ("--layer body.3 --unit 16", "so unit 16 is none of them"),
        ("--layer body.3 --unit 2 99 0", "so unit 2 99 0 is none of them"),
        ("--method grad-cam --cam-layers body.9", "The network has no layer 'body.9'"),
        ("--method grad-cam --cam-layers body.7", "have no place in an image of 32 x 32"),
        ("--method score-cam --cam-layers body.1 body.4", "Score-CAM reads one layer"),
        ("--method cam --cam-layers body.1", "CAM reads the input of the global pooling and no other layer"),
        # The unit lies below the features.
        ("--layer body.0 --unit 1 --method grad-cam", "--cam-layers"),
        ("--layer body.0 --unit 1 --method guided-grad-cam --cam-layers body.4", "--cam-layers"),
        # A patch that leaves nothing to be seen, and that no blur has pixels for.
        ("--method occlusion --occlusion-patch 32", "--occlusion-patch"),
        ("--method occlusion --occlusion-patch 80 --occlusion-fill blur", "--occlusion-patch"),
    ],
)
def test_a_layer_or_unit_that_cannot_be_asked_is_refused_at_once(
    tiny: Path, tiny_flags: list[str], flags: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_verb("localize", [*tiny_flags, *flags.split(), "--out", "run"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("wsloc: ")
    assert error.count("\n") == 1
    assert sentence in error
    assert not (tiny / "run").exists()


def test_several_layers_are_fused(tiny: Path, tiny_flags: list[str]) -> None:
    for name, layers in (("lower", ["body.1"]), ("upper", ["body.4"]), ("both", ["body.1", "body.4"])):
        flags = [*tiny_flags, "--method", "layer-cam", "--cam-layers", *layers, "--limit", "6", "--out", name]
        assert run_verb("localize", flags) == 0
    boxes = [[record["box_xyxy"] for record in records_of(tiny / name)] for name in ("lower", "upper", "both")]
    assert boxes[2] != boxes[0]
    assert boxes[2] != boxes[1]


def test_images_by_glob_without_a_data_set(tiny: Path, tiny_flags: list[str]) -> None:
    network = tiny_flags[tiny_flags.index("--arch") :]
    flags = ["--images", "photos/0*.png", "--class", "red", *network, "--out", "run", "--overlays", "2"]
    assert run_verb("localize", flags) == 0
    assert [record["file"] for record in records_of(tiny / "run")] == [f"{number:02d}.png" for number in range(10)]
    assert len(list((tiny / "run" / "overlays").iterdir())) == 2


def test_a_gray_network(tiny: Path) -> None:
    (tiny / "graynet.py").write_text(
        "from torch import nn\n\n"
        "def make():\n"
        "    layers = nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)\n"
        "    return nn.Sequential(*layers)\n"
    )
    import torch

    torch.manual_seed(0)
    import graynet  # type: ignore[import-not-found]

    torch.save(graynet.make().state_dict(), tiny / "gray.pth")
    flags = (
        "--dataset folder --root photos --labels labels.csv --arch graynet:make --weights gray.pth "
        "--classes-file classes.txt --input-size 28 --batch-size 4 --out run"
    )
    assert run_verb("localize", flags.split()) == 0
    assert len(records_of(tiny / "run")) == 79


def test_the_resolved_configuration_runs_again(tiny: Path, tiny_flags: list[str]) -> None:
    assert run_verb("localize", [*tiny_flags, "--seed", "3", "--smoothing", "0.05", "--out", "first"]) == 0
    assert run_verb("localize", ["--config", "first/config.yaml", "--out", "second", "--trust"]) == 0
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
