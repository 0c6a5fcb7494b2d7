"""Pictures of chosen items, made once more by the settings of the run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from wsloc.cli.options import parse_localize
from wsloc.config import LocalizeConfig
from wsloc.datasets import Dataset, open_dataset
from wsloc.judging.judged_run import judge_run
from wsloc.pipeline import make_localizer
from wsloc.records import ImageRecord
from wsloc.reporting import Pictures, chosen_images, take_pictures
from wsloc.reporting.gallery import GalleryItem, gallery_items
from wsloc.runs.read_run import read_run


@pytest.fixture(scope="module")
def made(voc_run: Path) -> tuple[LocalizeConfig, Dataset, tuple[GalleryItem, ...]]:
    config = parse_localize(["--config", str(voc_run / "config.yaml")])
    dataset = open_dataset(config.data)
    return config, dataset, gallery_items(judge_run(read_run(voc_run), config.data, dataset))


def test_images_are_asked_for_what_has_a_box(made: tuple[LocalizeConfig, Dataset, tuple[GalleryItem, ...]]) -> None:
    _, dataset, items = made
    images = chosen_images([item for item in items if item.image_id in ("05", "01", "02")], dataset)
    assert [(image.image_id, image.labels) for image in images] == [("01", ()), ("02", ("cat",)), ("05", ("dog",))]


def test_only_boxes_that_moved_are_told(made: tuple[LocalizeConfig, Dataset, tuple[GalleryItem, ...]]) -> None:
    config, dataset, items = made
    by_image = {item.image_id: item for item in items}

    def moved(image_id: str, by: float) -> GalleryItem:
        x0, y0, x1, y1 = by_image[image_id].boxes_xyxy[0]
        return replace(by_image[image_id], boxes_xyxy=((x0, y0, x1 - by, y1),))

    chosen = [by_image["00"], moved("02", 0.9), moved("03", 1.1), by_image["01"]]
    chosen.append(replace(by_image["04"], boxes_xyxy=by_image["04"].boxes_xyxy * 2))
    pictures = Pictures()
    images = chosen_images(chosen, dataset)
    assert len(list(take_pictures(chosen, images, make_localizer(config, dataset), pictures))) == 5
    assert set(pictures.notes) == {("03", "dog"), ("04", "cat")}
    assert set(pictures.layers) == {("00", "cat"), ("02", "cat"), ("03", "dog"), ("04", "cat")}
    assert {image_id for image_id, photo in pictures.photos.items() if photo.uri} == {"00", "02", "03", "04"}
    assert pictures.photos["00"].size_wh == by_image["00"].size_wh


def test_without_the_network_there_are_photographs(
    made: tuple[LocalizeConfig, Dataset, tuple[GalleryItem, ...]],
) -> None:
    _, dataset, items = made
    pictures = Pictures(reason="gone")
    list(take_pictures(items[:2], chosen_images(items[:2], dataset), None, pictures))
    assert (len(pictures.photos), pictures.layers, pictures.notes) == (2, {}, {})


def test_a_class_that_the_data_set_no_longer_has(
    made: tuple[LocalizeConfig, Dataset, tuple[GalleryItem, ...]],
) -> None:
    config, dataset, items = made
    odd = replace(items[0], class_name="cow")
    image: tuple[ImageRecord, ...] = chosen_images([odd], dataset)
    pictures = Pictures()
    list(take_pictures([odd], image, make_localizer(config, dataset), pictures))
    assert (list(pictures.photos), pictures.layers) == (["00"], {})


def test_a_map_that_is_no_longer_there_is_told(
    made: tuple[LocalizeConfig, Dataset, tuple[GalleryItem, ...]],
) -> None:
    config, dataset, items = made
    failed = next(item for item in items if item.state == "failed")
    # As if it had a box when the run was made.
    once = replace(failed, boxes_xyxy=((0.0, 0.0, 9.0, 9.0),))
    pictures = Pictures()
    list(take_pictures([once], chosen_images([once], dataset), make_localizer(config, dataset), pictures))
    assert pictures.notes[once.pair].startswith("Localized again it has no box (01.jpg is not an image")
    assert pictures.layers == {}
