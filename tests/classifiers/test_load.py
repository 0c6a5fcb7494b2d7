from __future__ import annotations

import os
import re
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from wsloc.classifiers.check_network import check_network
from wsloc.classifiers.load import load_classifier
from wsloc.classifiers.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from wsloc.classifiers.scorer import Scorer, make_scorer, scoring_mode
from wsloc.config import ClassifierSettings
from wsloc.errors import UserError

PREFIXES = ("model.", "_orig_mod.", "backbone.", "net.", "module._orig_mod.", "arch.encoder.")
SQUEEZENET_IMAGES = torch.linspace(-2, 2, 2 * 3 * 64 * 64).reshape(2, 3, 64, 64)


@pytest.fixture(autouse=True)
def _own_import_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """What loading a user's module adds to the import path ends with the test."""
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture
def narrow(tmp_path: Path) -> tuple[nn.Module, ClassifierSettings]:
    """A small torchvision network of three outputs with weights of its own, and settings that lack only them."""
    from torchvision.models import squeezenet1_1

    torch.manual_seed(1)
    (tmp_path / "names.txt").write_text("cat\ndog\n\n horse \n")
    return squeezenet1_1(num_classes=3).eval(), ClassifierSettings(
        arch="squeezenet1_1", classes_file=tmp_path / "names.txt"
    )


def _with(settings: ClassifierSettings, weights: Path) -> ClassifierSettings:
    return ClassifierSettings(arch=settings.arch, classes_file=settings.classes_file, weights=weights)


def _save(path: Path, form: str, state: dict[str, Tensor]) -> Path:
    if form == "safetensors":
        save_file(state, path.with_suffix(".safetensors"))
        return path.with_suffix(".safetensors")
    content: object = {
        "plain": state,
        "state_dict": {"state_dict": state, "epoch": 3, "best": 0.5},
        "model": {"model": state, "args": {"lr": 0.1}},
        "module.": OrderedDict((f"module.{key}", value) for key, value in state.items()),
        "both": {"state_dict": {f"module.{key}": value for key, value in state.items()}},
        **{prefix: {f"{prefix}{key}": value for key, value in state.items()} for prefix in PREFIXES},
        **{key: {"epoch": 3, key: state} for key in ("net", "ema", "model_ema", "state_dict_ema", "generator")},
        "deep": {"ema": {"module": state}, "optimizer": {"state": {0: {"step": torch.zeros(1)}}}},
        "lightning": {
            "state_dict": {"loss.weight": torch.ones(3), **{f"model.{key}": value for key, value in state.items()}},
            "hyper_parameters": {"lr": 0.1},
        },
        "one part": {key.replace("features.", "features.module."): value for key, value in state.items()},
    }[form]
    torch.save(content, path)
    return path


@pytest.mark.parametrize(
    "form",
    [
        *"plain safetensors state_dict model module. both net ema model_ema state_dict_ema".split(),
        *"generator deep lightning".split(),
        *PREFIXES,
        "one part",
    ],
)
def test_every_form_of_a_state_dict_gives_the_same_outputs(
    tmp_path: Path, narrow: tuple[nn.Module, ClassifierSettings], form: str
) -> None:
    network, settings = narrow
    weights = _save(tmp_path / "net.pth", form, network.state_dict())
    classifier = load_classifier(_with(settings, weights))
    with torch.no_grad():
        assert torch.equal(classifier.network.eval()(SQUEEZENET_IMAGES), network(SQUEEZENET_IMAGES))
    assert classifier.output_names == ("cat", "dog", "horse")
    assert classifier.name == "squeezenet1_1"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            lambda state: {f"net.{key}": value for key, value in state.items()},
            r"net\.pth: net\. was taken off the keys$",
        ),
        (
            lambda state: {"loss.weight": torch.ones(1), **{f"net.{key}": value for key, value in state.items()}},
            r"net\. was taken off the keys, 1 key without it left out$",
        ),
        (
            lambda state: {"ema": state, "state_dict": state},
            r"of state_dict, ema in the file, state_dict was taken$",
        ),
        (lambda state: {"other": {"weight": torch.ones(1)}, "state_dict": state}, None),
        (lambda state: {"state_dict": state}, None),
    ],
    ids=["prefix", "more", "two", "one fits", "one"],
)
def test_a_note_says_how_an_unusual_file_was_read(
    tmp_path: Path,
    narrow: tuple[nn.Module, ClassifierSettings],
    content: Callable[[object], object],
    said: str | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    torch.save(content(narrow[0].state_dict()), tmp_path / "net.pth")
    with caplog.at_level("INFO", "wsloc"):
        load_classifier(_with(narrow[1], tmp_path / "net.pth"))
    assert len(caplog.messages) == (said is not None)
    assert all(re.search(str(said), message) for message in caplog.messages)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty; copy or download it again"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4\n",
            "is a pointer of Git LFS.*: git lfs pull",
        ),
        (b"\n<!DOCTYPE html><html>", "is a web page, not weights; download the file itself"),
    ],
    ids=["empty", "pointer", "page"],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_what_stands_where_weights_should_be(
    tmp_path: Path, narrow: tuple[nn.Module, ClassifierSettings], content: bytes, said: str, suffix: str
) -> None:
    path = tmp_path / f"net{suffix}"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"The weights .* cannot be read: the file {said.removeprefix('the file ')}"):
        load_classifier(_with(narrow[1], path))


def test_a_file_is_told_by_what_it_holds(tmp_path: Path, narrow: tuple[nn.Module, ClassifierSettings]) -> None:
    network, settings = narrow
    save_file(network.state_dict(), tmp_path / "net.bin")
    torch.save(network.state_dict(), tmp_path / "net.safetensors")
    for name in ("net.bin", "net.safetensors"):
        loaded = load_classifier(_with(settings, tmp_path / name)).network
        assert torch.equal(loaded.classifier[1].bias, network.classifier[1].bias)


def test_an_archive_of_torchscript_is_explained(tmp_path: Path, narrow: tuple[nn.Module, ClassifierSettings]) -> None:
    torch.jit.script(nn.Linear(1, 1)).save(tmp_path / "net.pt")
    with pytest.raises(UserError, match=r"is a TorchScript archive; open it with torch\.jit\.load, and save network"):
        load_classifier(_with(narrow[1], tmp_path / "net.pt"))


def test_weights_of_another_architecture_name_the_first_keys(
    tmp_path: Path, narrow: tuple[nn.Module, ClassifierSettings]
) -> None:
    network, settings = narrow
    torch.save({f"deep.{key}s": value for key, value in network.state_dict().items()}, tmp_path / "net.pth")
    keys = list(network.state_dict())
    with pytest.raises(UserError, match="do not belong to squeezenet1_1: the file lacks ") as raised:
        load_classifier(_with(settings, tmp_path / "net.pth"))
    first = f"lacks {keys[0]}, {keys[1]}, {keys[2]}, ... ({len(keys)} keys)"
    assert f"{first} and has unknown deep.{keys[0]}s, deep.{keys[1]}s, deep.{keys[2]}s, ... (" in str(raised.value)
    assert keys[3] not in str(raised.value)


def test_unknown_keys_and_shapes_are_named(tmp_path: Path, narrow: tuple[nn.Module, ClassifierSettings]) -> None:
    network, settings = narrow
    state = network.state_dict()
    torch.save({**state, "extra.weight": torch.zeros(1)}, tmp_path / "more.pth")
    with pytest.raises(UserError, match=r"the file has unknown extra\.weight \(1 key\); choose `arch`"):
        load_classifier(_with(settings, tmp_path / "more.pth"))
    (tmp_path / "two.txt").write_text("cat\ndog\n")
    torch.save(state, tmp_path / "net.pth")
    two = ClassifierSettings(arch="squeezenet1_1", classes_file=tmp_path / "two.txt", weights=tmp_path / "net.pth")
    shape = r"has another shape for classifier\.1\.weight \(3, 512, 1, 1\) instead of \(2, 512, 1, 1\)"
    with pytest.raises(UserError, match=shape + r".*`classes_file` to match\.$"):
        load_classifier(two)


class _Harmful:
    """Its pickle makes a folder when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_a_pickle_with_code_in_it_is_refused_and_not_run(
    tmp_path: Path, narrow: tuple[nn.Module, ClassifierSettings]
) -> None:
    torch.save({"weight": _Harmful(tmp_path / "proof")}, tmp_path / "net.pth")
    with pytest.raises(UserError, match="cannot be read as a plain state dict") as raised:
        load_classifier(_with(narrow[1], tmp_path / "net.pth"))
    assert not (tmp_path / "proof").exists()
    assert "\n" not in str(raised.value)
    torch.load(tmp_path / "net.pth", weights_only=False)
    assert (tmp_path / "proof").exists()  # the pickle was a live one


def test_a_whole_pickled_network_is_refused(tmp_path: Path, narrow: tuple[nn.Module, ClassifierSettings]) -> None:
    torch.save(narrow[0], tmp_path / "net.pth")
    with pytest.raises(UserError, match=r"the file holds Python objects \(torchvision\.\S*SqueezeNet\)"):
        load_classifier(_with(narrow[1], tmp_path / "net.pth"))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    "content",
    [b"", b"hello", b"\x80", b"\x80\x02.", b"0", b"}.", b"PK\x03\x04", b"\xff" * 99, b"<html>", b"(dp1\n"],
    ids=repr,
)
def test_files_that_are_no_weights_are_a_users_error(
    tmp_path: Path, narrow: tuple[nn.Module, ClassifierSettings], suffix: str, content: bytes
) -> None:
    path = tmp_path / f"net{suffix}"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"The weights .*net\.\w+ (cannot be read|hold no state dict)") as raised:
        load_classifier(_with(narrow[1], path))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "content", [[1, 2], {"weight": 3}, {"epoch": torch.zeros(1), "model": "resnet"}, {1: torch.zeros(1)}], ids=str
)
def test_a_checkpoint_without_state_dict_is_a_users_error(
    tmp_path: Path, narrow: tuple[nn.Module, ClassifierSettings], content: object
) -> None:
    torch.save(content, tmp_path / "net.pth")
    with pytest.raises(UserError, match=r"hold no state dict; save network\.state_dict\(\)\.$"):
        load_classifier(_with(narrow[1], tmp_path / "net.pth"))


def test_missing_files_are_a_users_error(tmp_path: Path, narrow: tuple[nn.Module, ClassifierSettings]) -> None:
    with pytest.raises(UserError, match=r"The weights .*none\.pth do not exist\.$"):
        load_classifier(_with(narrow[1], tmp_path / "none.pth"))
    with pytest.raises(UserError, match=r"The classes file .*none\.txt does not exist"):
        load_classifier(ClassifierSettings(arch="squeezenet1_1", classes_file=tmp_path / "none.txt"))
    (tmp_path / "empty.txt").write_text(" \n\n")
    with pytest.raises(UserError, match=r"The classes file .*empty\.txt is empty; it needs one class name per line\.$"):
        load_classifier(ClassifierSettings(arch="squeezenet1_1", classes_file=tmp_path / "empty.txt"))


@pytest.mark.parametrize(
    ("arch", "sentence"),
    [
        ("resnet5O", r"There is no network 'resnet5O' in torchvision; did you mean resnet50\?$"),
        ("zzz", r"There is no network 'zzz' in torchvision; give a torchvision name, timm:NAME or package"),
        ("no_such_module:make", r"The network no_such_module:make: the module no_such_module cannot be imported from"),
        ("json:make", r"The network json:make: the module json has no function make\.$"),
        ("json:__name__", r"the module json has no function __name__\.$"),
        ("builtins:dict", r"The network builtins:dict must return an nn\.Module, not dict\.$"),
    ],
)
def test_a_network_that_does_not_exist_is_a_users_error(arch: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        load_classifier(ClassifierSettings(arch=arch))


MODULE = """
from torch import nn

def make(channels=3):
    return nn.Sequential(nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))

def gray():
    return make(1)

def broken():
    raise KeyError("width")

def needs(width):
    return make(width)
"""


def test_a_users_module_lies_in_the_folder_where_the_command_is_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "load_own_net.py").write_text(MODULE)
    settings = ClassifierSettings(arch="load_own_net:make", input_size=32)
    with pytest.raises(UserError, match=r"the module load_own_net cannot be imported from .*No module named"):
        load_classifier(settings)
    monkeypatch.chdir(tmp_path)
    classifier = load_classifier(settings)
    assert classifier.name == "load_own_net-make"
    assert classifier.output_names is None
    assert classifier.preprocessing.input_size_hw == (32, 32)
    assert classifier.preprocessing.mean == IMAGENET_MEAN
    assert classifier.preprocessing.std == IMAGENET_STD
    assert classifier.network(torch.zeros(1, 3, 32, 32)).shape == (1, 2)
    gray = load_classifier(ClassifierSettings(arch="load_own_net:gray"))
    assert (gray.preprocessing.channels, gray.preprocessing.mean) == (1, (0.5,))
    assert check_network(make_scorer(gray.network, [[0]]), (1, 32, 32)) == 2


@pytest.mark.parametrize(
    ("arch", "sentence"),
    [
        ("load_bad_net:broken", "KeyError"),
        ("load_bad_net:needs", "missing 1 required positional argument"),
        ("load_no_python:make", "SyntaxError"),
    ],
)
def test_a_users_module_that_raises_is_a_users_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arch: str, sentence: str
) -> None:
    (tmp_path / "load_bad_net.py").write_text(MODULE)
    (tmp_path / "load_no_python.py").write_text("def make(:\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=sentence) as raised:
        load_classifier(ClassifierSettings(arch=arch))
    assert "\n" not in str(raised.value)


def test_settings_go_before_what_the_weights_bring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "load_plain_net.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    settings = ClassifierSettings(
        arch="load_plain_net:make",
        mean=(0.1, 0.2, 0.3),
        std=(1.0, 2.0, 3.0),
        input_size=48,
        resize="short-side",
        activation="sigmoid",
    )
    classifier = load_classifier(settings)
    assert classifier.preprocessing.mean == (0.1, 0.2, 0.3)
    assert classifier.preprocessing.std == (1.0, 2.0, 3.0)
    assert classifier.preprocessing.input_size_hw == (48, 48)
    assert classifier.preprocessing.resize == "short-side"
    assert classifier.activation == "sigmoid"
    for mean, std in (((0.5,), None), ((0.5, 0.5), (0.5, 0.5)), (None, (1.0,))):
        with pytest.raises(UserError, match="`mean` and `std` need three numbers each, or one each"):
            load_classifier(ClassifierSettings(arch="load_plain_net:make", mean=mean, std=std))


def test_the_demo_brings_its_weights_and_names() -> None:
    classifier = load_classifier(ClassifierSettings(arch="demo"))
    assert classifier.output_names is not None
    shape = (3, *classifier.preprocessing.input_size_hw)
    assert check_network(_scorer(classifier.network), shape) == len(classifier.output_names)


def _scorer(network: nn.Module) -> Scorer:
    return make_scorer(network, [[0]])


@pytest.mark.parametrize("name", ["squeezenet1_0", "mobilenet_v2", "densenet121"])
def test_real_weights_load_strictly(shared: Path, name: str) -> None:
    classifier = load_classifier(ClassifierSettings(arch=name, weights=shared / "weights" / f"{name}.pth"))
    assert classifier.output_names is not None
    assert classifier.output_names[281] == "tabby"
    assert classifier.preprocessing.input_size_hw == (224, 224)
    assert check_network(_scorer(classifier.network), (3, 64, 64)) == 1000
    with scoring_mode(classifier.network):
        assert not any(parameter.requires_grad for parameter in classifier.network.parameters())


def test_a_normalization_inside_the_network_becomes_that_of_the_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torchvision's GoogLeNet turns ImageNet's normalization into one by 0.5, but only if it fetched the weights."""
    torch.manual_seed(0)
    published = torchvision.models.googlenet(init_weights=False, aux_logits=False).eval()
    torch.save(published.state_dict(), tmp_path / "net.pth")
    published.transform_input = True

    monkeypatch.setattr(
        torchvision.models,
        "get_model",
        lambda name, weights: torchvision.models.get_model_builder(name)(
            weights=weights, init_weights=False, aux_logits=False
        ),
    )  # drawing the weights would take long
    loaded = load_classifier(ClassifierSettings(arch="googlenet", weights=tmp_path / "net.pth"))
    assert loaded.preprocessing.mean == loaded.preprocessing.std == (0.5,) * 3
    image = torch.rand((1, 3, 64, 64))
    mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    with torch.no_grad():
        expected = published((image - mean) / std)
        assert torch.allclose(loaded.network.eval()((image - 0.5) / 0.5), expected, atol=1e-4)
