"""Pages of finished runs: pictures come from the run folder and the data set, never from a network."""

from __future__ import annotations

import base64
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_runs import Page
from PIL import Image
from pycocotools import mask as coco_masks

from wsloc.cli.main import run_verb
from wsloc.cli.options import parse_localize
from wsloc.config import LocalizeConfig
from wsloc.datasets import Dataset, open_dataset
from wsloc.judging.judged_run import JudgedRun, judge_run
from wsloc.pipeline.model import Model
from wsloc.reporting.gallery import choose, gallery_items
from wsloc.reporting.writing import page_of_run
from wsloc.runs.kept_pictures import PICTURES, read_pictures
from wsloc.runs.read_run import read_run

Made = tuple[LocalizeConfig, Dataset, JudgedRun]


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report that loads a network fails."""
    monkeypatch.setattr(Model, "bound", property(lambda _self: pytest.fail("a report loads no network")))


def made_of(run: Path) -> Made:
    config = parse_localize(["--config", str(run / "config.yaml")])
    dataset = open_dataset(config.data)
    return config, dataset, judge_run(read_run(run), config.data, dataset)


@pytest.fixture
def copied(voc_run: Path, tmp_path: Path) -> Path:
    shutil.copytree(voc_run, tmp_path / "run")
    return tmp_path / "run"


def data_of(html: str) -> dict[str, list[dict[str, object]]]:
    ((_, text),) = Page(html).all("script", type="application/json")
    data: dict[str, list[dict[str, object]]] = json.loads(text)
    return data


def test_pictures_are_kept_of_what_has_a_box(voc_run: Path) -> None:
    contents = read_run(voc_run)
    pictures = read_pictures(voc_run)
    assert set(pictures) == {(record.image_id, record.class_name) for record in contents.localizations}
    assert all(set(layers) == {"saliency", "seeds", "mask"} for layers in pictures.values())


def test_the_mask_shown_is_that_of_the_box(voc_run: Path) -> None:
    pictures = read_pictures(voc_run)
    for record in read_run(voc_run).localizations:
        content = pictures[record.image_id, record.class_name]["mask"]
        shown = Image.open(io.BytesIO(content))
        assert record.mask_rle is not None
        mask = coco_masks.decode({**record.mask_rle, "counts": record.mask_rle["counts"].encode()})
        small = Image.fromarray(mask).resize(shown.size, Image.Resampling.NEAREST)
        # Dark outside, clear inside, and an outline between.
        outside = np.asarray(shown)[..., 3] == 170
        assert not (outside & (np.asarray(small) > 0)).any()
        assert outside.any()


def test_a_report_needs_neither_network_nor_weights(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (copied / "report.html").read_bytes()
    (copied / "report.html").unlink()
    monkeypatch.setattr("sys.path", [path for path in __import__("sys").path if path != str(copied)])
    (copied / "config.yaml").write_text(
        (copied / "config.yaml").read_text().replace("report_net:make", "gone_from_here:make")
    )
    assert run_verb("report", [str(copied)]) == 0
    ours, theirs = data_of((copied / "report.html").read_text()), data_of(before.decode())
    assert ours["items"] == theirs["items"]
    assert ours["photos"] == theirs["photos"]
    assert all(item["layers"] for item in ours["items"] if item["state"] == "box")


def test_without_kept_pictures_there_are_photographs(copied: Path) -> None:
    shutil.rmtree(copied / PICTURES)
    config, dataset, run = made_of(copied)
    data = data_of(page_of_run(run, config, dataset)[0])
    assert "the run kept none" in str(data["layersReason"])
    assert [item["layers"] for item in data["items"]] == [None] * 12
    assert len(data["photos"]) == 12


def test_without_the_data_set_there_are_layers(copied: Path) -> None:
    config, _, run = made_of(copied)
    data = data_of(page_of_run(run, config, None)[0])
    assert data["photos"] == {}
    assert sum(bool(item["layers"]) for item in data["items"]) == 11


def test_a_class_that_the_data_set_no_longer_has(copied: Path) -> None:
    config, dataset, run = made_of(copied)
    first, *rest = run.contents.localizations
    odd = replace(run.contents, localizations=(replace(first, class_name="cow"), *rest))
    data = data_of(page_of_run(JudgedRun(odd, None, None, "none"), config, dataset)[0])
    (item,) = [item for item in data["items"] if item["class"] == "cow"]
    assert item["layers"] is None
    assert data["photos"][first.image_id]["uri"]  # type: ignore[call-overload]


def test_a_damaged_picture_is_left_out(copied: Path) -> None:
    (path,) = (copied / PICTURES).glob("*.npz")
    content = bytearray(path.read_bytes())
    wanted = read_pictures(copied)["02", "cat"]["seeds"]
    start = content.index(wanted)
    content[start + 9] ^= 255
    path.write_bytes(content)
    pictures = read_pictures(copied)
    # Three layers are shown, or none.
    assert ("02", "cat") not in pictures
    config, dataset, run = made_of(copied)
    data = data_of(page_of_run(run, config, dataset)[0])
    layers = {(item["image"], item["class"]): item["layers"] for item in data["items"]}
    assert layers["02", "cat"] is None
    assert sum(bool(of_item) for of_item in layers.values()) == 10


def test_items_with_pictures_are_chosen_for_the_gallery(copied: Path) -> None:
    _, _, run = made_of(copied)
    items = gallery_items(run)
    pictured = frozenset(item.pair for item in items if item.state == "box")
    few = frozenset(sorted(pictured)[::2])
    chosen = choose(items, 5, few)
    assert len(chosen) == 5
    assert {item.pair for item in chosen if item.state == "box"} <= few
    # Where there are too few of them, the others are not left out.
    assert len(choose(items, 9, few)) == 9


def test_the_layers_of_a_page_are_those_of_the_run(copied: Path) -> None:
    config, dataset, run = made_of(copied)
    data = data_of(page_of_run(run, config, dataset)[0])
    kept = read_pictures(copied)
    for item in data["items"]:
        if item["layers"]:
            contents = [base64.b64decode(uri.partition(",")[2]) for uri in item["layers"]]  # type: ignore[attr-defined]
            assert contents == [kept[item["image"], item["class"]][name] for name in ("saliency", "seeds", "mask")]  # type: ignore[index]


def test_an_item_without_layers_says_how_many_have_some(copied: Path) -> None:
    config, dataset, run = made_of(copied)
    assert "because a run keeps those of 200 items." in str(
        data_of(page_of_run(run, config, dataset)[0])["layersReason"]
    )
