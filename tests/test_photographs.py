"""The main job on real photographs with real networks, and a control that the map knows its class."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from wsloc import boxes
from wsloc.cli.main import run_verb
from wsloc.cli.options import parse_localize
from wsloc.datasets import asked_classes, open_dataset, read_ground_truth
from wsloc.pipeline import Runner, make_localizer
from wsloc.pipeline.map_stage import ImageMaps
from wsloc.threads import applied, plan_threads

NETWORKS = ["squeezenet1_0", "mobilenet_v2", "densenet121"]


def flags(shared: Path, network: str, split: str = "val") -> list[str]:
    return [
        *("--dataset", "voc", "--root", str(shared), "--year", "2012", "--split", split),
        *("--arch", network, "--weights", str(shared / "weights" / f"{network}.pth")),
    ]  # fmt: skip


def metrics_of(run: Path) -> dict[str, dict[str, float]]:
    rows = json.loads((run / "metrics.json").read_text())["rows"]
    return {row["name"]: {name: metric["value"] for name, metric in row["metrics"].items()} for row in rows}


@pytest.mark.parametrize("network", NETWORKS)
def test_main_job_beats_the_center_box(
    shared: Path, network: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert run_verb("localize", [*flags(shared, network), "--limit", "60", "--out", str(run), "--overlays", "2"]) == 0

    printed = capsys.readouterr().out
    assert "CorLoc class-wise" in printed
    assert "person: ImageNet-1k has no person class" in printed
    assert str(run) in printed
    evaluation = json.loads((run / "metrics.json").read_text())
    assert evaluation["items"] >= 60
    assert len((run / "localizations.jsonl").read_text().splitlines()) == evaluation["items"]
    rows = metrics_of(run)
    assert rows["wsloc"]["CorLoc class-wise"] > rows["center box"]["CorLoc class-wise"]
    assert list((run / "overlays").glob("*.jpg"))


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_main_job_beats_the_center_box_on_all_of_val(shared: Path, network: str, tmp_path: Path) -> None:
    """Class-wise over the six large classes: the other 14 have 2 to 14 images each, so one image moves their mean."""
    run = tmp_path / "run"
    assert run_verb("localize", [*flags(shared, network), "--out", str(run)]) == 0
    rows = metrics_of(run)
    for metric in ("CorLoc image-wise", "mean IoU"):
        assert rows["wsloc"][metric] > rows["center box"][metric]
    classes = json.loads((run / "metrics.json").read_text())["classes"]
    large = [scores for scores in classes if scores["items"] >= 60]
    assert [scores["class_name"] for scores in large] == ["cat", "cow", "dog", "horse", "person", "sheep"]
    own, center = np.mean([(scores["corloc"], scores["baselines"]["center box"]) for scores in large], axis=0)
    assert own > center


def test_each_map_prefers_the_boxes_of_its_own_class(shared: Path) -> None:
    """In photographs with two classes, each map puts more of its mass into its own boxes than the other does."""
    config = parse_localize([*flags(shared, "densenet121", "trainval"), "--batch-size", "8"])
    dataset = open_dataset(config.data)
    localizer = make_localizer(config, asked_classes(config.data, dataset))
    substituted = {mapped.name for mapped in localizer.model.label_map.without_substitute()}
    images = [
        image for image in dataset.images if len(image.labels) == 2 and not substituted.intersection(image.labels)
    ]
    truth_set = read_ground_truth(config.data, dataset)
    assert truth_set is not None
    torch.set_num_threads(1)

    wins = []
    for found in localizer.compute_maps(images, Runner()):
        assert isinstance(found, ImageMaps)
        truth = truth_set.images[found.read.image.image_id]
        for own, other in itertools.permutations(found.maps):
            own_boxes = truth.boxes_xyxy[[name == own for name in truth.class_names]]
            fractions = [mass_fraction(found.maps[name], own_boxes, truth.size_wh) for name in (own, other)]
            wins.append(fractions[0] > fractions[1])
    assert len(wins) >= 60
    assert np.mean(wins) >= 0.65


def mass_fraction(saliency: np.ndarray, boxes_xyxy: np.ndarray, size_wh: tuple[int, int]) -> float:
    """Fraction of the map's sum that lies in the union of the boxes."""
    height, width = saliency.shape
    inside = np.zeros(saliency.shape, dtype=bool)
    for x0, y0, x1, y1 in boxes.scale(boxes_xyxy, size_wh, (width, height)).round().astype(int):
        inside[y0:y1, x0:x1] = True
    return float(saliency[inside].sum() / saliency.sum())


def test_batch_sizes_agree(shared: Path) -> None:
    """Across batch sizes, maps agree to 1e-5 of their maximum and 99 % of the boxes are equal."""
    config = parse_localize([*flags(shared, "mobilenet_v2"), "--limit", "60"])
    dataset = open_dataset(config.data)
    localizer = make_localizer(config, asked_classes(config.data, dataset))
    found = {}
    for size in (1, 8):
        one = replace(localizer, maps=replace(localizer.network, batch_size=size))
        with applied(plan_threads(torch.device("cpu"))):
            images = one.compute_maps(dataset.images, Runner())
            found[size] = [image for image in images if isinstance(image, ImageMaps)]
    assert len(found[1]) == len(dataset.images)
    boxes_of = {
        size: [item.localizations[0].box_xyxy for result in localizer.cut_maps(maps, Runner()) for item in result.items]
        for size, maps in found.items()
    }
    for ours, theirs in zip(found[1], found[8], strict=True):
        for name, saliency in ours.maps.items():
            assert np.abs(saliency - theirs.maps[name]).max() <= 1e-5 * saliency.max()
    equal = [a == b for a, b in zip(boxes_of[1], boxes_of[8], strict=True)]
    assert len(equal) >= 60
    assert np.mean(equal) >= 0.99
