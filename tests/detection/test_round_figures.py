"""The table of the rounds, and the best of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsloc.config import DataSettings
from wsloc.datasets import Dataset
from wsloc.detection.inference import detection
from wsloc.detection.round_figures import GAIN, HEADLINE, RoundFigures, best_round, round_figures, write_figures
from wsloc.detection.rounds import Round
from wsloc.evaluation import Estimate
from wsloc.judging.judged_run import judge_run
from wsloc.records import BoxRecord, ImageRecord, boxes_by_item
from wsloc.runs.read_run import RunContents

ROWS = ["a.png,red,0,0,10,10", "b.png,red,0,0,10,10"]


def figures(index: int, value: float | None) -> RoundFigures:
    metrics = {} if value is None else {HEADLINE: Estimate(value, 0.0, 1.0), GAIN: Estimate(0.25, -0.5, 0.5)}
    return RoundFigures(index, 3, index, metrics)


@pytest.mark.parametrize(
    ("values", "best"),
    [((0.2, 0.5, 0.4), 1), ((0.5, 0.5), 0), ((0.1,), 0), ((None, None), None), ((0.2, None), None)],
)
def test_the_best_round(values: tuple[float | None, ...], best: int | None) -> None:
    assert best_round([figures(index, value) for index, value in enumerate(values)]) == best


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (
            0.5,
            "round,boxes,found,CorLoc class-wise,CorLoc class-wise low,CorLoc class-wise high,"
            "gain over round 0,gain over round 0 low,gain over round 0 high\n"
            "0,3,0,0.5,0.0,1.0,0.25,-0.5,0.5\n1,3,1,0.5,0.0,1.0,0.25,-0.5,0.5\n",
        ),
        (None, "round,boxes,found\n0,3,0\n1,3,1\n"),
    ],
)
def test_the_table(tmp_path: Path, value: float | None, text: str) -> None:
    write_figures(tmp_path / "rounds.csv", [figures(0, value), figures(1, value)])
    assert (tmp_path / "rounds.csv").read_text() == text


def made_round(index: int, images: tuple[ImageRecord, ...], folder: Path, ends: tuple[int, int]) -> Round:
    """A round with the box ``(0, 0, end, 10)`` on each of two images, whose true box is ``(0, 0, 10, 10)``."""
    (folder / "boxes.csv").write_text("\n".join(["image,class,x0,y0,x1,y1", *ROWS]) + "\n")
    boxes: list[BoxRecord] = [
        detection(image, "red", (0.0, 0.0, float(end), 10.0), 0.5, (40, 40), method="cam")
        for image, end in zip(images, ends, strict=True)
    ]
    contents = RunContents(folder, {}, tuple(boxes), (), True, ())
    dataset = Dataset("made", folder, ("red",), images)
    settings = DataSettings(dataset="folder", root=folder, boxes=folder / "boxes.csv")
    return Round(index, index, boxes_by_item(boxes), judge_run(contents, settings, dataset), 0)


def test_figures_by_hand(tmp_path: Path) -> None:
    """IoU 0.4 and 0.8, then 1 and 0.6: half of the boxes are right, then all."""
    names = ("a.png", "b.png")
    for name in names:
        Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(tmp_path / name)
    images = tuple(ImageRecord(name, name, tmp_path / name, ("red",)) for name in names)
    first, second = (made_round(k, images, tmp_path, ends) for k, ends in enumerate([(4, 8), (10, 6)]))
    zero, one = round_figures([first, second])
    values = [{name: metric.value for name, metric in own.metrics.items()} for own in (zero, one)]
    found = {"CorLoc image-wise": 0.5, "box recall pooled": 0.5, "box precision pooled": 0.5}
    assert values[0] == pytest.approx({HEADLINE: 0.5, **found, "mean IoU": 0.6, GAIN: 0})
    assert values[1] == pytest.approx({HEADLINE: 1, **dict.fromkeys(found, 1), "mean IoU": 0.8, GAIN: 0.5})
    assert [(own.index, own.boxes, own.found) for own in (zero, one)] == [(0, 2, 0), (1, 2, 1)]
