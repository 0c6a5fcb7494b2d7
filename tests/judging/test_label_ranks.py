"""What the network itself makes of the labels, in manifest, summary and report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsloc.cli.main import run_verb
from wsloc.judging.label_ranks import LabelRanks, label_ranks
from wsloc.records import Detection, Failure, Localization
from wsloc.runs.read_run import RunContents

COLORS = '''
import torch
from torch import nn


class Colors(nn.Module):
    """Scores red, green and blue by the mean of that channel."""

    def __init__(self):
        super().__init__()
        self.same = nn.Conv2d(3, 3, 1, bias=False)
        self.same.weight.data.copy_(torch.eye(3)[:, :, None, None])

    def forward(self, images):
        return 8 * self.same(images).relu().mean(dim=(2, 3))
'''


def _box(image_id: str, class_name: str, rank: int | None, component: int = 0) -> Localization:
    box = (0.0, 0.0, 5.0, 5.0)
    return Localization(
        image_id, f"{image_id}.jpg", class_name, box, 0.5, 0.5, 0.25, "cam", "grabcut", None, component, (10, 10), rank
    )


def _run(*records: Localization | Failure | Detection, classes: object = 10) -> RunContents:
    boxes = tuple(record for record in records if not isinstance(record, Failure))
    failures = tuple(record for record in records if isinstance(record, Failure))
    return RunContents(Path("run"), {"ranked_classes": classes}, boxes, failures, True, ())


def test_by_hand() -> None:
    """Six images of ten classes; the fifth has two labels, the last one failed after the network was asked."""
    ranks = {"a": 1, "b": 1, "c": 5, "d": 6, "e": 1}
    records = [_box(name, "dog", rank) for name, rank in ranks.items()]
    records += [_box("e", "cat", 2), _box("a", "dog", 1, component=1)]
    found = label_ranks(_run(*records, Failure("f", "f.jpg", "dog", "cut", "the map is zero", 9)))
    assert found is not None
    assert (found.items, found.classes, found.best, found.best_five) == (7, 10, 3, 5)
    assert found.by_chance == pytest.approx(5 / 10 + 2 / 10)
    assert not found.doubtful
    assert found.warning == ""
    assert found.sentence == (
        "The label is the network's best of 10 classes in 3 of 7 items (0.7 by chance), among its best five in 5."
    )


@pytest.mark.parametrize(
    ("ranks", "classes", "doubtful"),
    [
        ([7] * 20, 1000, True),  # none of twenty
        ([2] * 20, 2, True),  # two classes in the wrong order
        ([1] * 20, 2, False),
        ([1] * 14 + [2] * 6, 2, False),  # 14 > 10 + sqrt(5)
        ([1] * 12 + [2] * 8, 2, True),  # 12 < 10 + sqrt(5)
        ([1] * 8 + [2] * 4, 3, False),  # 8 > 4 + sqrt(8 / 3)
        ([3] * 4, 10, False),  # too few to say
        ([3] * 5, 10, True),
        ([1, 3, 3, 3, 3], 10, True),  # 1 < 0.5 + sqrt(0.45)
    ],
)
def test_what_is_hardly_better_than_chance(ranks: list[int], classes: int, doubtful: bool) -> None:
    found = label_ranks(_run(*[_box(str(k), "dog", rank) for k, rank in enumerate(ranks)], classes=classes))
    assert found is not None
    assert (found.doubtful, bool(found.warning)) == (doubtful, doubtful)


def test_an_image_labeled_with_every_class_proves_nothing() -> None:
    both = [_box(str(k), name, rank) for k in range(9) for name, rank in (("dog", 1), ("cat", 2))]
    assert label_ranks(_run(*both, classes=2)) is None
    found = label_ranks(_run(*both, _box("x", "dog", 2), classes=2))
    assert found == LabelRanks(items=1, classes=2, best=0, best_five=1, by_chance=0.5, doubtful=False)
    assert "best five" not in found.sentence


@pytest.mark.parametrize("classes", [None, 1, "7", 0, True, [2]])
def test_runs_that_have_nothing_to_compare(classes: object) -> None:
    """The classifier's best classes, one class, runs of earlier versions and of detectors, and edited manifests."""
    assert label_ranks(_run(_box("a", "dog", 1), classes=classes)) is None


def test_labels_without_a_rank_are_not_counted() -> None:
    assert label_ranks(_run(_box("a", "dog", None), Failure("b", "b.jpg", "dog", "read", "it is cut off"))) is None


@pytest.fixture
def colors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Flags of a run over nine images of one color each, by a network that is always right."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "color_ranks_net.py").write_text(COLORS)
    for channel, name in enumerate(("red", "green", "blue")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(3):
            pixels = np.full((40, 50, 3), 30, np.uint8)
            pixels[10:30, 10 + number : 30, channel] = 250
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.png")
    (tmp_path / "right.txt").write_text("red\ngreen\nblue\n")
    (tmp_path / "wrong.txt").write_text("green\nblue\nred\n")
    (tmp_path / "letters.txt").write_text("r\ng\nb\n")
    (tmp_path / "map.yaml").write_text("red: [r]\ngreen: [g]\nblue: [b]\n")
    flags = "--dataset folder --root photos --arch color_ranks_net:Colors --input-size 32 --mean 0 0 0 --std 1 1 1"
    return [*flags.split(), "--method", "cam", "--segmenter", "threshold", "--working-size", "48"]


@pytest.mark.parametrize(
    ("names", "best"),
    [
        (("--classes-file", "right.txt"), 9),
        (("--classes-file", "wrong.txt"), 0),
        (("--classes-file", "letters.txt", "--label-map", "map.yaml"), 9),
    ],
)
def test_a_run_says_it(
    colors: list[str], names: tuple[str, ...], best: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_verb("localize", [*colors, *names, "--out", "run", "--report", "--save-maps"]) in (0, 1)
    shown = capsys.readouterr().out
    line = f"The label is the network's best of 3 classes in {best} of 9 items (3.0 by chance)."
    doubt = "hardly better than chance, so the boxes may be of other classes: check that the classes file (--classes"
    assert line in shown
    assert (doubt in shown) == (best == 0)
    manifest = json.loads(Path("run/manifest.json").read_text())
    assert (manifest["ranked_classes"], manifest["label_ranks"]["best"], manifest["label_ranks"]["items"]) == (
        3,
        best,
        9,
    )
    for page in (Path("run/report.html"), Path("run/report.md")):
        text = page.read_text()
        assert f"best of 3 classes in {best} of 9 items" in text
        assert ("hardly better than chance" in text) == (best == 0)
    assert run_verb("localize", ["--maps", "run", "--out", "again"]) in (0, 1)
    assert line in capsys.readouterr().out


def test_the_networks_own_classes_are_no_labels(colors: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    flags = [*colors, "--classes-file", "wrong.txt", "--targets", "top2", "--out", "run"]
    assert run_verb("localize", flags) in (0, 1)
    assert "network's best" not in capsys.readouterr().out
