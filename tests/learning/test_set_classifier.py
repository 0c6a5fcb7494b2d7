"""The refiner ``pixel-classifier`` on made-up images whose features name their objects."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors import safe_open

from wsloc.config import RefinementSettings
from wsloc.errors import ItemError, UserError
from wsloc.learning import set_classifier
from wsloc.learning.set_classifier import PIXEL_CLASSIFIER, SetClassifier, map_labels
from wsloc.pipeline.map_stage import ImageMaps
from wsloc.pipeline.read_stage import ReadImage
from wsloc.records import ImageRecord
from wsloc.segmentation import working_map

SETTINGS = RefinementSettings(refiner="pixel-classifier")
CLASSES = ("cat", "dog")
SIDE = 16


def image_maps(index: int, **changes: object) -> ImageMaps:
    """An image with one object or two; its map sees only the head, and something beside it."""
    generator = np.random.default_rng(index)
    labels = (CLASSES[index % 2],) if index % 3 else CLASSES
    fine = generator.normal(0, 0.3, (8, SIDE, SIDE))
    maps = {}
    for name in labels:
        rows, columns = object_of(index, name)
        fine[CLASSES.index(name), rows, columns] += 3
        fine[2, rows, columns] += 2
        saliency = generator.uniform(0, 0.1, (SIDE, SIDE)).astype(np.float32)
        saliency[rows.start : rows.start + 2, columns] += 1
        maps[name] = saliency
    coarse = fine.reshape(8, SIDE // 2, 2, SIDE // 2, 2).mean(axis=(2, 4))
    record = ImageRecord(f"{index}.png", f"{index}.png", Path(f"{index}.png"), labels)
    read = ReadImage(record, labels, (SIDE, SIDE), np.zeros((SIDE, SIDE, 3), np.uint8), None)
    features = {"fine": fine.astype(np.float16), "coarse": coarse.astype(np.float16)}
    made = ImageMaps(read, maps, dict.fromkeys(labels, 0.9), dict.fromkeys(labels, 1), features)
    return replace(made, **changes)  # type: ignore[arg-type]


def object_of(index: int, name: str) -> tuple[slice, slice]:
    generator = np.random.default_rng(1000 + index)
    top = int(generator.integers(0, SIDE - 8))
    left = 0 if name == "cat" else SIDE // 2
    return slice(top, top + 8), slice(left + 1, left + 7)


def stream() -> Iterator[ImageMaps]:
    return map(image_maps, range(60))


@pytest.fixture(scope="module")
def fitted() -> SetClassifier:
    refiner = PIXEL_CLASSIFIER.fit(stream, SETTINGS, 0)
    assert isinstance(refiner, SetClassifier)
    return refiner


def overlap(found: NDArray[np.bool_], index: int, name: str) -> float:
    true = np.zeros((SIDE, SIDE), dtype=bool)
    true[object_of(index, name)] = True
    return float((found & true).sum() / (found | true).sum())


def test_it_finds_whole_objects_where_maps_show_their_heads(fitted: SetClassifier) -> None:
    before, after = [], []
    for image in map(image_maps, range(100, 130)):
        index = int(image.read.image.image_id.removesuffix(".png"))
        for name, values in fitted(image).maps.items():
            assert values.shape == (SIDE, SIDE)
            assert values.dtype == np.float32
            assert 0 <= values.min() <= values.max() <= 1
            before.append(overlap(image.maps[name] > 0.5, index, name))
            after.append(overlap(values > 0.5, index, name))
    assert np.mean(before) < 0.3
    assert np.mean(after) > 0.8


def test_the_same_bytes_again(fitted: SetClassifier, tmp_path: Path) -> None:
    about = {"about": "this"}
    fitted.save(tmp_path / "first.safetensors", about)
    PIXEL_CLASSIFIER.fit(stream, SETTINGS, 0).save(tmp_path / "again.safetensors", about)
    assert (tmp_path / "first.safetensors").read_bytes() == (tmp_path / "again.safetensors").read_bytes()
    with safe_open(tmp_path / "first.safetensors", "np") as file:
        assert file.metadata() == about


@pytest.mark.parametrize("way", ["file", "pickle"])
def test_a_copy_gives_the_same_answers(fitted: SetClassifier, tmp_path: Path, way: str) -> None:
    fitted.save(tmp_path / "kept.safetensors", {})
    again = (
        PIXEL_CLASSIFIER.load(tmp_path / "kept.safetensors") if way == "file" else pickle.loads(pickle.dumps(fitted))
    )
    image = image_maps(102)
    for name, values in fitted(image).maps.items():
        assert np.array_equal(again(image).maps[name], values)


@pytest.fixture
def unpropagated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Maps as they are before the random walk."""
    monkeypatch.setattr(set_classifier, "propagate", lambda maps, _vectors: maps)


@pytest.mark.usefixtures("unpropagated")
def test_a_class_that_was_never_seen_has_the_images_own_map(fitted: SetClassifier) -> None:
    image = image_maps(101)
    (name,) = image.maps
    found = fitted(replace(image, maps={"zebra": image.maps[name]})).maps["zebra"]
    # Its ranks, smoothed: the head is on top, the rest is below.
    head = image.maps[name] > 0.5
    assert found.max() == 1
    assert found[head].mean() > 0.9
    assert found[~head].mean() < 0.7


@pytest.mark.usefixtures("unpropagated")
def test_the_rarer_a_class_the_more_its_own_map_counts(fitted: SetClassifier) -> None:
    image = image_maps(101)
    (name,) = image.maps
    probability = fitted(image).maps[name]
    rare = replace(fitted, counts={**fitted.counts, name: 1})
    alone = fitted(replace(image, maps={"zebra": image.maps[name]})).maps["zebra"]
    # 1 image of 1 + 10; in the set, n of n + 10.
    trust = fitted.counts[name] / (fitted.counts[name] + 10)
    learned = (probability / alone ** (1 - trust)) ** (1 / trust)
    assert np.allclose(rare(image).maps[name], learned ** (1 / 11) * alone ** (10 / 11), atol=1e-3)


def test_a_map_that_says_nothing_leaves_it_to_the_set(fitted: SetClassifier) -> None:
    image = image_maps(101)
    (name,) = image.maps
    flat = replace(image, maps={name: np.ones((SIDE, SIDE), np.float32)})
    assert overlap(fitted(flat).maps[name] > 0.5, 101, name) > 0.6


@pytest.mark.parametrize("value", [0.0, 1.0, np.nan, np.inf])
def test_an_unusable_map_of_a_class_that_was_never_seen_stays_unusable(fitted: SetClassifier, value: float) -> None:
    image = image_maps(101)
    (name,) = image.maps
    unusable = np.full((SIDE, SIDE), value, np.float32)
    found = fitted(replace(image, maps={"zebra": unusable, name: image.maps[name]})).maps
    assert list(found) == ["zebra", name]
    with pytest.raises(ItemError):
        working_map(found["zebra"], (SIDE, SIDE), 0)
    assert np.array_equal(found[name], fitted(image).maps[name])
    assert fitted(replace(image, maps={"zebra": unusable})).maps["zebra"] is unusable


@pytest.mark.usefixtures("unpropagated")
def test_undecided_positions_rank_in_the_middle(fitted: SetClassifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(set_classifier, "SMOOTHING", 0)
    monkeypatch.setattr(set_classifier, "RANK_SMOOTHING", 0)
    half = np.arange(SIDE * SIDE, dtype=np.float32).reshape(SIDE, SIDE)
    half[:, ::2] = np.nan
    ranks = fitted(image_maps(101, maps={"zebra": half})).maps["zebra"]
    assert np.allclose(ranks[:, ::2], ranks[:, 1::2].mean(), atol=0.01)
    assert ranks[-1, -1] == 1


def test_the_coarsest_layer_is_the_last_however_they_are_named(fitted: SetClassifier) -> None:
    def swapped() -> Iterator[ImageMaps]:
        for image in stream():
            yield replace(image, features=dict(reversed(image.features.items())))

    other = PIXEL_CLASSIFIER.fit(swapped, SETTINGS, 0)
    assert isinstance(other, SetClassifier)
    assert list(other.projections) == list(fitted.projections) == ["fine", "coarse"]
    assert torch.equal(other.classifier.weight, fitted.classifier.weight)


def test_features_that_are_not_finite(fitted: SetClassifier) -> None:
    broken = image_maps(100)
    broken = replace(broken, features={**broken.features, "fine": np.full((8, SIDE, SIDE), np.inf, np.float16)})
    with pytest.raises(ItemError, match="not finite"):
        fitted(broken)
    # In the set they are passed over.
    PIXEL_CLASSIFIER.fit(lambda: iter([*stream(), broken]), SETTINGS, 0)


@pytest.mark.parametrize("content", [b"", b"no tensors"])
def test_a_damaged_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "kept.safetensors").write_bytes(content)
    with pytest.raises(UserError, match="is not a fitted pixel classifier"):
        PIXEL_CLASSIFIER.load(tmp_path / "kept.safetensors")


def test_a_set_without_a_usable_map_is_refused() -> None:
    def flat() -> Iterator[ImageMaps]:
        for image in stream():
            yield replace(image, maps={name: np.ones((SIDE, SIDE), np.float32) for name in image.maps})

    with pytest.raises(UserError, match="No map of the set tells object from background"):
        PIXEL_CLASSIFIER.fit(flat, SETTINGS, 0)
    with pytest.raises(UserError, match="No image has a map"):
        PIXEL_CLASSIFIER.fit(lambda: iter(()), SETTINGS, 0)


def test_first_labels_by_hand() -> None:
    """20 x 20 positions: 5 % of each map is its class, what is low in both maps is background."""
    ramp = np.arange(400, dtype=np.float32).reshape(20, 20)
    image = image_maps(0, maps={"cat": ramp, "dog": ramp[::-1].copy()})
    labels = map_labels(image, (20, 20), ["cat", "dog"])
    # The last row is cat's top 5 %, the first dog's; no position is in the lowest 30 % of both.
    assert torch.equal(labels[19], torch.full((20,), 1))
    assert torch.equal(labels[0], torch.full((20,), 2))
    assert (labels[1:19] == -1).all()
    alone = map_labels(image_maps(0, maps={"cat": ramp}), (20, 20), ["cat", "dog"])
    assert torch.equal(alone[:6], torch.zeros(6, 20, dtype=torch.int64))
    assert (alone[6:19] == -1).all()
    assert (alone[19] == 1).all()
