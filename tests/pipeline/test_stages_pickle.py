"""Every stage is picklable, also after use, and its copy gives the same answers."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wsloc.cli.main import run_verb
from wsloc.cli.options import parse_localize
from wsloc.datasets import asked_classes, open_dataset
from wsloc.pipeline import Localizer, Runner, make_localizer
from wsloc.pipeline.cut_stage import CutStage, PairMap
from wsloc.pipeline.map_stage import ImageMaps, MapStage
from wsloc.pipeline.read_stage import ReadImage, ReadStage
from wsloc.pipeline.refine_stage import RefineStage
from wsloc.pipeline.results import ItemResult
from wsloc.records import ImageRecord
from wsloc.runs.stored_maps import StoredMaps


def copied(stage: Any) -> Any:
    return pickle.loads(pickle.dumps(stage))


@pytest.fixture
def opened(tiny_flags: list[str]) -> tuple[Localizer, tuple[ImageRecord, ...]]:
    config = parse_localize([*tiny_flags, "--limit", "3", "--method", "smoothgrad", "--smoothgrad-samples", "2"])
    dataset = open_dataset(config.data)
    return make_localizer(config, asked_classes(config.data, dataset)), dataset.images


def read_images(localizer: Localizer, images: tuple[ImageRecord, ...]) -> list[ReadImage]:
    found = [image for image in localizer.read(images) if isinstance(image, ReadImage)]
    assert len(found) == len(images)
    return found


def maps_of(stage: Any, images: list[ReadImage]) -> list[ImageMaps]:
    return [image for image in stage.compute(images, Runner()) if isinstance(image, ImageMaps)]


def assert_equal(ours: list[ImageMaps], theirs: list[ImageMaps]) -> None:
    assert len(ours) == len(theirs) == 3
    for one, other in zip(ours, theirs, strict=True):
        assert list(one.maps) == list(other.maps)
        assert one.maps
        assert (one.probabilities, one.ranks) == (other.probabilities, other.ranks)
        assert all(one.maps[name].tobytes() == other.maps[name].tobytes() for name in one.maps)


def test_the_read_stage(opened: tuple[Localizer, tuple[ImageRecord, ...]]) -> None:
    localizer, images = opened
    again = copied(localizer.read)
    assert isinstance(again, ReadStage)
    for ours, theirs in zip(read_images(localizer, images), again(images), strict=True):
        assert np.array_equal(ours.working_rgb, theirs.working_rgb)
        assert ours.views is not None
        assert all(a.pixels.equal(b.pixels) for a, b in zip(ours.views.views, theirs.views.views, strict=True))


def test_the_map_stage_loads_its_weights_in_the_copy(
    opened: tuple[Localizer, tuple[ImageRecord, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    localizer, images = opened
    stage, read = localizer.network, read_images(localizer, images)
    expected = maps_of(stage, read)
    loaded: list[object] = []
    load = __import__("wsloc.pipeline.model", fromlist=["load_classifier"]).load_classifier
    monkeypatch.setattr("wsloc.pipeline.model.load_classifier", lambda own: (loaded.append(own), load(own))[1])
    content = pickle.dumps(stage)
    # Settings, but no weights.
    assert len(content) < 20_000
    again = pickle.loads(content)
    assert isinstance(again, MapStage)
    assert loaded == []
    assert_equal(maps_of(again, read), expected)
    assert len(loaded) == 1
    assert_equal(maps_of(again, read), expected)
    assert len(loaded) == 1
    assert again.identity() == stage.identity()


def test_the_cut_stage(opened: tuple[Localizer, tuple[ImageRecord, ...]]) -> None:
    localizer, images = opened
    pairs = [
        PairMap(image.read, name, saliency, image.probabilities[name], image.ranks[name])
        for image in maps_of(localizer.network, read_images(localizer, images))
        for name, saliency in image.maps.items()
    ]

    def boxes(stage: CutStage) -> list[object]:
        return [item.localizations if isinstance(item, ItemResult) else item.reason for item in stage(pairs)]

    expected = boxes(localizer.cut)
    again = copied(localizer.cut)
    assert isinstance(again, CutStage)
    assert "segmenter" not in again.__dict__
    assert boxes(again) == expected
    assert boxes(copied(again)) == expected


def test_stored_maps(tiny: Path, tiny_flags: list[str], opened: tuple[Localizer, tuple[ImageRecord, ...]]) -> None:
    localizer, images = opened
    flags = [*tiny_flags, "--limit", "3", "--method", "smoothgrad", "--smoothgrad-samples", "2", "--save-maps"]
    assert run_verb("localize", [*flags, "--out", "run"]) == 0
    read = read_images(localizer, images)
    expected = maps_of(localizer.network, read)
    stage = StoredMaps(tiny / "run", reasons={"unicorn": "too rare"})
    assert_equal(maps_of(stage, read), expected)
    again = copied(stage)
    assert_equal(maps_of(again, read), expected)
    assert again.why_no_map("unicorn") == "too rare"
    assert again.identity() == stage.identity() == localizer.maps.identity()


@dataclass
class Doubled:
    """A fitted refiner."""

    factor: float

    def __call__(self, image: ImageMaps) -> ImageMaps:
        return replace(image, maps={name: self.factor * values for name, values in image.maps.items()})

    def save(self, path: Path, metadata: Mapping[str, str]) -> None:
        raise NotImplementedError


def test_the_refine_stage(opened: tuple[Localizer, tuple[ImageRecord, ...]]) -> None:
    localizer, images = opened
    maps = maps_of(localizer.network, read_images(localizer, images))
    again = copied(RefineStage(Doubled(2), ""))
    for ours, theirs in zip(again(maps), maps, strict=True):
        for name, values in theirs.maps.items():
            assert np.array_equal(ours.maps[name], 2 * values)


def test_a_whole_localizer(opened: tuple[Localizer, tuple[ImageRecord, ...]]) -> None:
    from wsloc.pipeline import localize_images

    localizer, images = opened

    def found(one: Localizer) -> list[object]:
        return [item.localizations for result in localize_images(one, images) for item in result.items]

    expected = found(localizer)
    assert found(copied(localizer)) == expected
    assert all(expected)
