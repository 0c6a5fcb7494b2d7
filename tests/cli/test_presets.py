"""``--preset``, and the refiner that ``best`` learns: on the command line, again, and on other images."""

from __future__ import annotations

import importlib
import json
import shlex
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

import wsloc
from wsloc.cli.main import run_verb
from wsloc.cli.options import parse_localize
from wsloc.config import LocalizeConfig
from wsloc.config_files import flatten, make_config, read_yaml, shipped_config
from wsloc.errors import UserError
from wsloc.registries import REFINERS

BEST = ["--preset", "best"]
BEST_FILE = str(shipped_config("best"))


def settings(*flags: str) -> dict[str, object]:
    return {key: value for key, value in flatten(parse_localize(flags)).items() if key != "preset"}


def test_default_is_the_default() -> None:
    assert settings("--dataset", "voc", "--preset", "default") == settings("--dataset", "voc")


@pytest.mark.parametrize("preset", ["fast", "best"])
def test_a_preset_is_its_file(preset: str) -> None:
    file = shipped_config(preset)
    assert file is not None
    found, plain = settings("--preset", preset), settings()
    assert {key: found[key] for key in found if found[key] != plain[key]} == read_yaml(file)


def test_flags_and_files_override_a_preset_and_a_preset_the_data_set(tmp_path: Path) -> None:
    assert settings("--dataset", "demo")["smoothing"] == 0.03
    assert settings("--dataset", "demo", *BEST)["smoothing"] == 0
    assert settings(*BEST, "--threshold", "0.5", "--views", "mirror")["threshold"] == 0.5
    (tmp_path / "own.yaml").write_text("threshold: 0.4\n")
    merged = settings(*BEST, "--config", str(tmp_path / "own.yaml"), "--batch-size", "7")
    assert (merged["threshold"], merged["refiner"], merged["batch_size"]) == (0.4, "pixel-classifier", 7)


def test_a_preset_from_python() -> None:
    config = make_config(LocalizeConfig, {"preset": "best", "dataset": "demo", "threshold": 0.5})
    expected = parse_localize([*BEST, "--dataset", "demo", "--threshold", "0.5", "--arch", "resnet50"])
    assert config == expected
    with pytest.raises(UserError, match="`preset` must be one of fast, default, best"):
        make_config(LocalizeConfig, {"preset": "bets"})


def test_a_preset_without_its_settings_is_refused() -> None:
    for preset in ("fast", "best"):
        with pytest.raises(UserError, match="is overridden by other settings"):
            wsloc.run(LocalizeConfig(preset=preset))  # type: ignore[arg-type]


def test_a_wrong_preset(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_verb("localize", ["--dataset", "demo", "--preset", "bets"]) == 2
    assert "best" in capsys.readouterr().err


def files(run: Path) -> dict[str, bytes]:
    return {name: (run / name).read_bytes() for name in ("localizations.jsonl", "refiner.safetensors")}


def test_best_learns_and_gives_the_same_bytes_for_any_number_of_workers(tiny: Path, tiny_flags: list[str]) -> None:
    for name, workers in (("first", "0"), ("again", "2")):
        assert run_verb("localize", [*tiny_flags, *BEST, "--workers", workers, "--out", name]) == 0
    assert files(tiny / "first") == files(tiny / "again")
    assert len(files(tiny / "first")["localizations.jsonl"].splitlines()) == 79
    assert not (tiny / "first" / "spool").exists()


def test_what_was_learned_serves_other_images(tiny: Path, tiny_flags: list[str]) -> None:
    assert run_verb("localize", [*tiny_flags, *BEST, "--out", "run"]) == 0
    shutil.copy(tiny / "run" / "refiner.safetensors", tiny / "mine.safetensors")
    (tiny / "forward-passes.txt").unlink()
    flags = [*tiny_flags, *BEST, "--refiner", "mine.safetensors", "--limit", "3", "--out", "later"]
    assert run_verb("localize", flags) == 0
    # The same three images as in the set, so the same boxes; and nothing is learned or stored.
    lines = [(tiny / name / "localizations.jsonl").read_bytes().splitlines() for name in ("run", "later")]
    assert lines[1] == lines[0][: len(lines[1])]
    assert len(lines[1]) == 6
    assert not (tiny / "later" / "refiner.safetensors").exists()
    assert not (tiny / "later" / "spool").exists()


def test_a_refiner_of_another_network_is_refused(
    tiny: Path, tiny_flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    import tinynet  # type: ignore[import-not-found]
    import torch

    assert run_verb("localize", [*tiny_flags, *BEST, "--out", "run"]) == 0
    torch.save({name: value + 0.1 for name, value in tinynet.make().state_dict().items()}, tiny / "tinynet.pth")
    flags = [*tiny_flags, *BEST, "--refiner", "run/refiner.safetensors", "--out", "other"]
    assert run_verb("localize", flags) == 2
    assert "give the same network, or fit the refiner again" in capsys.readouterr().err
    assert not (tiny / "other").exists()


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--limit", "19"], "pixel-classifier learns from 20 images or more, but there are 19; use --preset default"),
        (["--refiner", "missing.safetensors"], "missing.safetensors cannot be read"),
        (["--refiner", "photos/00.png.safetensors"], "00.png.safetensors cannot be read"),
        (["--refiner", "empty.safetensors"], "empty.safetensors is not a fitted refiner"),
        (["--refiner", "pixel"], "There is no refiner 'pixel'"),
        (["--feature-layers", "body.99"], "body.99"),
        (["--feature-layers", "body.7"], "have no place in an image"),
        (["--views", "ten-crop", "--resize", "short-side"], "choose other --views than ten-crop"),
        (["--refiner", "about.safetensors"], "about.safetensors is not a fitted refiner"),
        (["--maps", "run"], "--maps and --preset exclude each other"),
        (["--config", "default.yaml"], "--preset best is overridden by other settings"),
    ],
)
def test_bad_settings_are_a_sentence(
    tiny_flags: list[str], more: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch
    from safetensors.torch import save_file

    shutil.copy("photos/00.png", "photos/00.png.safetensors")
    save_file({"a": torch.zeros(1)}, "empty.safetensors")
    save_file({"a": torch.zeros(1)}, "about.safetensors", {"about": "{}"})
    default = {key: value for key, value in flatten(LocalizeConfig()).items() if key in read_yaml(Path(BEST_FILE))}
    Path("default.yaml").write_text(json.dumps(default))
    capsys.readouterr()
    assert run_verb("localize", [*tiny_flags, *BEST, *more, "--out", "run"]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert "Traceback" not in said
    assert not Path("run").exists()


@pytest.mark.usefixtures("tiny")
def test_the_layers_are_kept_with_what_was_learned(tiny_flags: list[str]) -> None:
    from safetensors import safe_open

    layers = ["body.0", "body.3"]
    assert run_verb("localize", [*tiny_flags, *BEST, "--feature-layers", *layers, "--out", "run"]) == 0
    with safe_open("run/refiner.safetensors", "np") as file:
        about = json.loads(file.metadata()["about"])
    assert (about["refiner"], about["layers"], about["network"]) == ("pixel-classifier", layers, "tinynet-make")
    assert about["refiner"] in REFINERS


def test_a_run_ends_with_the_command_that_finds_more(
    tiny: Path, tiny_flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_verb("localize", [*tiny_flags, "--out", "first run", "--overwrite"]) == 0
    said = capsys.readouterr().out
    (line,) = [line for line in said.splitlines() if "--preset best" in line]
    words = shlex.split(line)
    assert words[:3] == ["more", "right", "boxes"]
    assert words[3:5] == ["wsloc", "localize"]
    assert "--out" not in words
    assert run_verb("localize", [*words[5:], "--out", "better"]) == 0
    assert (tiny / "better" / "refiner.safetensors").exists()
    assert "--preset best" not in capsys.readouterr().out
    assert run_verb("localize", [*tiny_flags, "--limit", "19", "--out", "few"]) == 0
    assert "--preset best learns over the set, but from 20 images or more." in capsys.readouterr().out


def test_the_commands_after_a_learned_run_use_what_was_learned(
    tiny: Path, tiny_flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_verb("localize", [*tiny_flags, *BEST, "--out", "a run"]) == 0
    said = capsys.readouterr().out.splitlines()
    for title in ("pictures of 20 images", "another segmenter"):
        (line,) = [line for line in said if title in line]
        words = shlex.split(line.split("wsloc localize")[1])
        assert run_verb("localize", [*words, "--out", title]) == 0
        assert not (tiny / title / "refiner.safetensors").exists()
    assert run_verb("localize", ["--config", "a run/config.yaml", "--refiner", "a run/refiner.safetensors",
                                 "--feature-layers", "body.0", "--out", "b", "--trust"]) == 2  # fmt: skip
    assert "leave out --feature-layers" in capsys.readouterr().err


def test_an_image_whose_class_has_no_output_is_a_failure_alone(tiny: Path, tiny_flags: list[str]) -> None:
    (tiny / "labels.csv").write_text((tiny / "labels.csv").read_text().replace("03.png,red", "03.png,unicorn"))
    lines = ["classes:", "  red: 0", "  green: 1", "  blue: 2", "  unicorn: {relation: none, note: too rare}"]
    (tiny / "map.yaml").write_text("\n".join(lines) + "\n")
    assert run_verb("localize", [*tiny_flags, *BEST, "--label-map", "map.yaml", "--out", "run"]) == 1
    failures = (tiny / "run" / "failures.jsonl").read_text().splitlines()
    assert len(failures) == 1
    assert json.loads(failures[0])["class_name"] == "unicorn"


def test_a_run_is_not_resumed_with_another_refiner(
    tiny: Path, tiny_flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in ("0", "1"):
        assert run_verb("localize", [*tiny_flags, *BEST, "--seed", seed, "--out", f"seed{seed}"]) == 0
    shutil.copy("seed0/refiner.safetensors", "mine.safetensors")
    flags = [*tiny_flags, *BEST, "--refiner", "mine.safetensors", "--out", "run"]
    assert run_verb("localize", flags) == 0
    manifest = json.loads((tiny / "run" / "manifest.json").read_text())
    (tiny / "run" / "manifest.json").write_text(json.dumps(manifest | {"complete": False}))
    shutil.copy("seed1/refiner.safetensors", "mine.safetensors")
    assert run_verb("localize", [*flags, "--resume"]) == 2
    assert "started with another refiner" in capsys.readouterr().err


def test_from_python_what_was_learned_cuts_as_the_preset_does(tiny: Path, tiny_flags: list[str]) -> None:
    import tinynet
    import torch

    assert run_verb("localize", [*tiny_flags, *BEST, "--out", "run"]) == 0
    network = tinynet.make()
    network.load_state_dict(torch.load(tiny / "tinynet.pth"))
    given = {"model": network, "class_names": ("red", "green", "blue"), "input_size": 32, "working_size": 48}
    found = wsloc.localize(
        [tiny / "photos" / "00.png"], "red", preset="best", refiner="run/refiner.safetensors", **given
    )
    assert {record.segmenter for record in found.records} == {"grabcut-by-value"}
    with pytest.raises(UserError, match=r"fit it with wsloc\.run"):
        wsloc.localize([tiny / "photos" / "00.png"], "red", preset="best", **given)
    with pytest.raises(UserError, match="a saliency map is that of the network alone"):
        wsloc.saliency_map(network, tiny / "photos" / "00.png", 0, preset="best")


VISION_TRANSFORMER = """
from torchvision.models.vision_transformer import VisionTransformer


def make():
    return VisionTransformer(32, 8, num_layers=4, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=3)
"""


def test_a_vision_transformer_is_read_on_its_grid_of_patches(
    tiny: Path, tiny_flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (tiny / "tinyvit.py").write_text(VISION_TRANSFORMER)
    module = importlib.import_module("tinyvit")
    torch.manual_seed(0)
    network = module.make()
    # torchvision begins with a head of zeros, whose gradient is zero.
    torch.nn.init.normal_(network.heads.head.weight)
    torch.save(network.state_dict(), "tinyvit.pth")
    flags = [*tiny_flags, "--arch", "tinyvit:make", "--weights", "tinyvit.pth", *BEST, "--out", "transformer"]
    assert run_verb("localize", flags) == 2
    assert "--views" in capsys.readouterr().err
    assert run_verb("localize", [*flags, "--views", "whole"]) == 0
    with safe_open(tiny / "transformer" / "refiner.safetensors", "pt") as file:
        layers = json.loads(file.metadata()["about"])["layers"]
        assert layers == [f"encoder.layers.encoder_layer_{index}" for index in (1, 2, 3)]
        assert file.get_tensor(f"basis/{layers[0]}").shape == (16, 16)
