"""``wsloc classes`` and ``wsloc methods`` as a user types them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from wsloc.cli.main import main
from wsloc.registries import METHODS


def no_fetching(*_: object, **__: object) -> None:
    raise AssertionError("weights are not fetched to list names")


def test_every_output_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["classes", "--arch", "demo"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head == "demo: 6 outputs, input 112 x 112 pixels"
    assert [line.split() for line in lines] == [
        ["0", "astronaut"],
        ["1", "cameraman"],
        ["2", "cat"],
        ["3", "cup"],
        ["4", "motorcycle"],
        ["5", "shuttle"],
    ]


def test_a_word_chooses_outputs_and_is_explained_as_a_class(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """ImageNet's dogs are the outputs 151 to 268, its domestic cats 281 to 285."""
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", no_fetching)
    assert main(["classes", "Tabby", "--arch", "squeezenet1_0"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["   281  tabby"]
    assert main(["classes", "cat", "--arch", "squeezenet1_0"]) == 0
    *_, said = capsys.readouterr().out.splitlines()
    assert said.startswith("As a class to look for, 'cat' is 5 outputs (281, 282, 283, 284, 285)")


def test_of_a_name_that_no_output_has_the_nearest_are_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", no_fetching)
    assert main(["classes", "gazele", "--arch", "squeezenet1_0"]) == 1
    assert "No output is called 'gazele'; the nearest are 353 gazelle" in capsys.readouterr().out
    assert main(["classes", "qqqq", "--arch", "demo"]) == 1
    assert capsys.readouterr().out.splitlines()[1] == "No output is called 'qqqq'."


@pytest.mark.usefixtures("tiny_flags")
def test_names_come_from_the_file_and_must_be_as_many_as_the_outputs(capsys: pytest.CaptureFixture[str]) -> None:
    network = ["--arch", "tinynet:make", "--input-size", "32"]
    assert main(["classes", *network]) == 0
    assert capsys.readouterr().out.split("\n", 1)[1] == "     0  output 0\n     1  output 1\n     2  output 2\n"
    assert main(["classes", *network, "--classes-file", "classes.txt"]) == 0
    assert capsys.readouterr().out.split("\n", 1)[1] == "     0  red\n     1  green\n     2  blue\n"
    Path("classes.txt").write_text("red\ngreen\n")
    assert main(["classes", *network, "--classes-file", "classes.txt"]) == 2
    assert "3 outputs but 2 names; --classes-file needs" in capsys.readouterr().err


class Smooth(nn.Module):
    """SiLU in place of ReLU, so that no ReLU rule applies; and a flat head, so that CAM does not."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.SiLU(), nn.Flatten(), nn.Linear(4 * 8 * 8, 2))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.body(images)
        return scores


def test_a_method_that_does_not_fit_has_its_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    flags = ["--arch", f"{__name__}:Smooth", "--input-size", "32", "--occlusion-patch", "8", "--occlusion-stride", "4"]
    assert main(["methods", *flags]) == 0
    lines = [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines()[1:]]
    assert [name for _, name, _ in lines] == list(METHODS)
    answers = {name: (fits, text) for fits, name, text in lines}
    assert {name for name, (fits, _) in answers.items() if fits == "no"} == {
        "deconvnet",
        "guided",
        "guided-grad-cam",
        "cam",
    }
    assert answers["gradient"][1] == "1 forward pass per view and class"
    assert answers["layer-cam"][1] == "1 forward pass per view"
    assert re.search("ReLU", answers["guided"][1])
    assert re.search("pooling", answers["cam"][1])
