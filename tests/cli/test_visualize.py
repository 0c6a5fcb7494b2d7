"""``wsloc visualize`` as a user types it."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsloc.cli.main import run_verb

SCRIPT = Path(__file__).parents[2] / "scripts" / "visualize_class.py"
NETWORK = "--arch tinynet:make --weights tinynet.pth --classes-file classes.txt --input-size 32 --device cpu".split()
BLUE = (*NETWORK, "--class", "blue")
DEAD = """

class Dead(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Conv2d(3, 2, 1)
        with torch.no_grad():
            self.last.weight.fill_(0.5)
            self.last.bias.copy_(torch.tensor([-1.0, 1.0]))

    def forward(self, images):
        return torch.relu(self.last(images)).mean(dim=(2, 3))
"""
Visualize = Callable[..., tuple[int, str, str]]


@pytest.fixture
def visualize(tiny: Path, tiny_flags: list[str], capsys: pytest.CaptureFixture[str]) -> Visualize:  # noqa: ARG001
    """Runs the command; the exit status, standard output and standard error."""

    def run(*words: str) -> tuple[int, str, str]:
        status = run_verb("visualize", words)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def _pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_what_a_run_writes(tiny: Path, visualize: Visualize) -> None:
    status, shown, error = visualize(
        *BLUE, "--steps", "12", "--save-every", "5", "--penalty", "0.00001", "--learning-rate", "0.2"
    )
    assert status == 0, error
    folder = tiny / "runs" / "visualize-tinynet-make-blue-001"
    assert f"Folder: {folder.relative_to(tiny)}" in shown
    assert "before the last ReLU" not in shown
    assert "12/12" in error
    found = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.*"))
    steps = [f"steps/{number:04d}.png" for number in (0, 5, 10)]
    assert found == ["image.png", "manifest.json", "score.png", "scores.csv", *steps]
    for name in ("image.png", *steps):
        assert _pixels(folder / name).shape == (32, 32, 3)
    assert not np.array_equal(_pixels(folder / "image.png"), _pixels(folder / steps[-1]))
    rows = list(csv.DictReader((folder / "scores.csv").open()))
    assert [int(row["step"]) for row in rows] == list(range(13))
    assert float(rows[-1]["score"]) > float(rows[-1]["objective"]) > float(rows[0]["score"])
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["complete"] is True
    assert manifest["score_before_last_relu"] is False
    assert manifest["settings"]["class_name"] == "blue"
    assert manifest["settings"]["penalty"] == 0.00001
    assert (manifest["first_score"], manifest["last_score"]) == (float(rows[0]["score"]), float(rows[-1]["score"]))
    assert visualize(*BLUE, "--steps", "1")[0] == 0
    assert (tiny / "runs" / "visualize-tinynet-make-blue-002").is_dir()


def test_the_seed_alone_decides(tiny: Path, visualize: Visualize) -> None:
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert visualize(*BLUE, "--steps", "6", "--seed", seed, "--start", "noise", "--out", name)[0] == 0
    a, b, c = ((tiny / name / "image.png").read_bytes() for name in "abc")
    assert a == b != c


def test_a_photograph_is_where_it_starts(tiny: Path, visualize: Visualize) -> None:
    assert visualize(*BLUE, "--steps", "3", "--start", "photos/03.png", "--out", "run")[0] == 0
    with Image.open(tiny / "photos" / "03.png") as photograph:
        small = np.asarray(photograph.resize((32, 32), Image.Resampling.BILINEAR), dtype=float)
    # The picture is the photograph but for its contrast.
    assert np.corrcoef(_pixels(tiny / "run" / "steps" / "0000.png").ravel(), small.ravel())[0, 1] > 0.99


def test_a_photograph_that_keeps_its_aspect(tiny: Path, visualize: Visualize) -> None:
    Image.new("RGB", (80, 40), "red").save(tiny / "wide.png")
    assert visualize(*BLUE, "--steps", "2", "--start", "wide.png", "--resize", "short-side", "--out", "run")[0] == 0
    assert _pixels(tiny / "run" / "image.png").shape == (32, 64, 3)


def test_a_unit_in_place_of_a_class(tiny: Path, visualize: Visualize) -> None:
    status, _, error = visualize(*NETWORK, "--layer", "body.3", "--unit", "7", "--steps", "2")
    assert status == 0, error
    folder = tiny / "runs" / "visualize-tinynet-make-body.3-unit-7-001"
    assert json.loads((folder / "manifest.json").read_text())["settings"]["classifier"]["unit"] == [7]


def test_a_score_behind_a_dead_relu_is_asked_before_it_and_says_so(tiny: Path, visualize: Visualize) -> None:
    (tiny / "deadnet.py").write_text("import torch\nfrom torch import nn\n" + DEAD)
    (tiny / "two.txt").write_text("dead\nlive\n")
    flags = "--arch deadnet:Dead --classes-file two.txt --input-size 16 --steps 2 --device cpu".split()
    import torch

    torch.save({"last.weight": torch.full((2, 3, 1, 1), 0.5), "last.bias": torch.tensor([-1.0, 1.0])}, tiny / "d.pth")
    status, shown, error = visualize(*flags, "--weights", "d.pth", "--class", "dead", "--out", "dead")
    assert status == 0, error
    assert "so the score before the last ReLU is used instead" in shown
    assert "Score -1.0 at the start" in shown
    assert json.loads((tiny / "dead" / "manifest.json").read_text())["score_before_last_relu"] is True
    _, shown, _ = visualize(*flags, "--weights", "d.pth", "--class", "live", "--out", "live")
    assert "ReLU" not in shown
    assert "Score 1.0 at the start" in shown


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (NETWORK, "Give what to visualize: either --class NAME, or --layer NAME and --unit K"),
        ((*BLUE, "--layer", "body.0", "--unit", "1"), "Give what to visualize: either --class NAME"),
        ((*NETWORK, "--class", "horse"), "none is known to be 'horse'"),
        ((*BLUE, "--steps", "0"), "--steps must be at least 1, not 0"),
        ((*BLUE, "--save-every", "0"), "--save-every must be at least 1, not 0"),
        ((*BLUE, "--blur-every", "0"), "--blur-every must be at least 1, not 0"),
        ((*BLUE, "--learning-rate", "0"), "--learning-rate must be above 0, not 0.0"),
        ((*BLUE, "--learning-rate", "nan"), "--learning-rate must be above 0, not nan"),
        ((*BLUE, "--penalty", "-1"), "--penalty must be at least 0, not -1.0"),
        ((*BLUE, "--jitter", "-1"), "--jitter must be at least 0, not -1"),
        ((*BLUE, "--blur", "21"), "--blur must be between 0 and 20 pixels, not 21.0"),
        ((*BLUE, "--start", "none.png"), "--start: none.png does not exist; give zero, noise or a photograph"),
        ((*BLUE, "--start", "classes.txt"), "--start: classes.txt is not an image that can be read"),
        ((*BLUE, "--weights", "none.pth"), "The weights none.pth do not exist"),
        ((*BLUE, "--out", "photos"), "photos exists; give another --out"),
        ((*BLUE, "--out", "classes.txt/run"), "The folder classes.txt/run cannot be made: Not a directory"),
        ((*NETWORK, "--layer", "body.9", "--unit", "1"), "The network has no layer 'body.9'"),
        ((*NETWORK, "--layer", "body.0", "--unit", "99"), "unit 99 is none of them"),
    ],
    ids=lambda value: " ".join(word for word in value if word not in NETWORK)[-40:] if isinstance(value, tuple) else "",
)
def test_a_users_error_is_one_sentence_and_leaves_nothing(
    tiny: Path, visualize: Visualize, flags: tuple[str, ...], sentence: str
) -> None:
    def files() -> set[Path]:
        return {
            path for path in tiny.rglob("*") if "__pycache__" not in path.parts and path.name != "forward-passes.txt"
        }

    before = files()
    status, shown, error = visualize(*flags)
    assert (status, shown) == (2, "")
    assert error.startswith("wsloc: ")
    assert error.count("\n") == 1
    assert sentence in error
    assert files() == before


def test_the_script_as_a_user_types_it(tiny: Path, tiny_flags: list[str]) -> None:  # noqa: ARG001
    """The same through a process of its own: a sound run, and a misspelled flag."""

    def typed(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(SCRIPT), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    ran = typed(*BLUE, "--steps", "2", "--out", "run")
    assert ran.returncode == 0, ran.stderr
    assert (tiny / "run" / "image.png").is_file()
    misspelled = typed(*BLUE, "--step", "2")
    assert misspelled.returncode == 2
    assert "Traceback" not in misspelled.stderr
