"""GrabCut of a batch against GrabCut by OpenCV."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from cut_oracle import edges_of, energy_of, min_energy
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from wsloc.config import SegmentationSettings
from wsloc.errors import ItemError, UserError
from wsloc.images import read_image
from wsloc.segmentation import CutInput, fit_color_models, grabcut, make_seeds, working_image
from wsloc.segmentation import batched_grabcut as module
from wsloc.segmentation.batched_cut import min_cut
from wsloc.segmentation.batched_grabcut import bind_grabcut_torch, grabcut_batch, image_links, image_pulls
from wsloc.segmentation.batched_mixtures import first_components, log_likelihoods, moments
from wsloc.segmentation.seeds import BACKGROUND, FOREGROUND, PROBABLE_BACKGROUND, PROBABLE_FOREGROUND, is_foreground

Image = NDArray[np.uint8]
CPU = torch.device("cpu")
BLUE, RED = (20, 40, 200), (210, 60, 30)
CODES = (BACKGROUND, FOREGROUND, PROBABLE_BACKGROUND, PROBABLE_FOREGROUND)


def _cut(image: Image, trimap: Image, iterations: int = 5, coarse_size: int = 80) -> NDArray[np.bool_]:
    return grabcut_batch(image[None], trimap[None], CPU, iterations, coarse_size)[0]


def _disc(seed: int, size_hw: tuple[int, int] = (60, 80)) -> tuple[Image, Image]:
    """A disc of radius 20 whose colors overlap with those around it, seeds in the middle and near the border."""
    y, x = np.mgrid[: size_hw[0], : size_hw[1]]
    distance = np.hypot(y - size_hw[0] / 2, x - size_hw[1] / 2)
    means = np.where((distance < 20)[..., None], (140, 110, 90), (100, 120, 140))
    image = np.clip(np.random.default_rng(seed).normal(means, 12), 0, 255).astype(np.uint8)
    trimap = np.select([distance < 8, (distance > 26) & (distance < 28)], [FOREGROUND, BACKGROUND], PROBABLE_BACKGROUND)
    return image, trimap.astype(np.uint8)


def _blob(size_hw: tuple[int, int]) -> NDArray[np.float32]:
    """A map that is highest in the middle and falls off to 0 at the border."""
    y, x = (np.linspace(-1, 1, side) for side in size_hw)
    return np.maximum(0, 1 - np.hypot(y[:, None], x)).astype(np.float32)


@pytest.mark.parametrize("coarse_size", [12, 20, 80])
@pytest.mark.parametrize("edge", [20, 23, 40])
def test_two_colors_are_parted_along_their_edge(edge: int, coarse_size: int) -> None:
    image = np.full((24, 60, 3), BLUE, dtype=np.uint8)
    image[:, edge:] = RED
    trimap = np.full((24, 60), PROBABLE_BACKGROUND, dtype=np.uint8)
    trimap[:, :4], trimap[:, -4:] = BACKGROUND, FOREGROUND
    mask = _cut(image, trimap, coarse_size=coarse_size)
    assert mask.dtype == bool
    assert np.array_equal(mask, np.broadcast_to(np.arange(60) >= edge, (24, 60)))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("iterations", "coarse_size"), [(1, 80), (5, 80), (5, 40), (2, 27)])
def test_the_mask_of_opencv(seed: int, iterations: int, coarse_size: int) -> None:
    image, trimap = _disc(seed)
    expected = grabcut(image, trimap, iterations, coarse_size)
    assert 1000 < expected.sum() < 1500
    assert np.array_equal(_cut(image, trimap, iterations, coarse_size), expected)


def test_photographs_are_cut_as_by_opencv(shared: Path) -> None:
    paths = sorted((shared / "VOCdevkit/VOC2012/JPEGImages").glob("*.jpg"))[::120]
    assert len(paths) >= 7
    overlaps = []
    for path in paths:
        image = working_image(read_image(path), 112)
        trimap = make_seeds(_blob(image.shape[:2]), 0.9, 0.3)
        expected, mask = grabcut(image, trimap, coarse_size=40), _cut(image, trimap, coarse_size=40)
        overlaps.append((mask & expected).sum() / (mask | expected).sum())
    assert np.median(overlaps) == 1
    assert np.mean(np.array(overlaps) > 0.99) >= 0.9


@pytest.mark.parametrize("seed", range(5))
def test_a_single_cut_has_the_least_energy_of_its_models(seed: int) -> None:
    """Links and pulls as OpenCV's formulas have them, the minimum by SciPy, the same of OpenCV's frozen models."""
    image, trimap = (values[20:40, 28:52] for values in _disc(seed))
    image, trimap = np.ascontiguousarray(image), np.ascontiguousarray(trimap)
    trimap[0], trimap[-1] = BACKGROUND, BACKGROUND
    colors, labels = (
        torch.from_numpy(image).movedim(-1, 0)[None].double(),
        torch.from_numpy(is_foreground(trimap))[None],
    )
    likelihoods, _ = log_likelihoods(moments(colors, first_components(colors, labels)), colors)
    pulls, links = image_pulls(likelihoods, torch.from_numpy(trimap)[None]), image_links(colors)
    mask = min_cut(pulls, links)[0].numpy()

    unary = pulls.clamp(min=0).double().numpy().ravel(), (-pulls).clamp(min=0).double().numpy().ravel()
    least = min_energy(unary, edges_of(image))
    assert energy_of(mask, unary, edges_of(image)) == pytest.approx(least, rel=1e-5)
    of_opencv = trimap.copy()
    models = fit_color_models(image, is_foreground(trimap))
    cv2.grabCut(image, of_opencv, (0, 0, 0, 0), *models, 1, cv2.GC_EVAL_FREEZE_MODEL)
    assert energy_of(is_foreground(of_opencv), unary, edges_of(image)) == pytest.approx(least, rel=1e-5)
    assert mask.any()
    assert not mask.all()


@st.composite
def scenes(draw: st.DrawFn) -> tuple[Image, Image]:
    """A batch of images of few or many colors, and trimaps of any codes with 5 pixels or more on either side."""
    count = draw(st.integers(1, 4))
    height, width = draw(st.sampled_from([(1, 30), (30, 1), (9, 20), (17, 16), (2, 25)]))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    levels = draw(st.sampled_from([1, 2, 256]))
    images = generator.integers(0, levels, (count, height, width, 3)) * (255 // levels)
    trimaps = generator.choice(
        CODES, size=(count, height, width), p=draw(st.sampled_from([[0.25] * 4, [0, 0, 0.5, 0.5]]))
    )
    trimaps.reshape(count, -1)[:, :5], trimaps.reshape(count, -1)[:, -5:] = PROBABLE_FOREGROUND, PROBABLE_BACKGROUND
    return images.astype(np.uint8), trimaps.astype(np.uint8)


@given(scenes(), st.integers(1, 3), st.sampled_from([5, 12, 40]))
@settings(max_examples=25)
def test_properties(scene: tuple[Image, Image], iterations: int, coarse_size: int) -> None:
    images, trimaps = scene
    before = images.copy(), trimaps.copy()
    masks = grabcut_batch(images, trimaps, CPU, iterations, coarse_size)
    assert masks.dtype == bool
    assert masks.shape == trimaps.shape
    assert masks[trimaps == FOREGROUND].all()
    assert not masks[trimaps == BACKGROUND].any()
    assert np.array_equal(images, before[0])
    assert np.array_equal(trimaps, before[1])
    for image, trimap, mask in zip(images, trimaps, masks, strict=True):
        assert np.array_equal(_cut(image, trimap, iterations, coarse_size), mask)


def test_a_flat_image_gets_one_label() -> None:
    """Nothing tells its pixels apart but the seeds, and only one side has any."""
    image = np.full((40, 60, 3), BLUE, dtype=np.uint8)
    trimap = np.full((40, 60), PROBABLE_BACKGROUND, dtype=np.uint8)
    trimap[10:20, 10:20] = PROBABLE_FOREGROUND
    assert not _cut(image, trimap, coarse_size=20).any()
    trimap[10:20, 10:20] = FOREGROUND
    assert _cut(image, trimap, coarse_size=20).all()


def _items(count: int) -> list[CutInput]:
    return [CutInput(_disc(seed)[0], _blob((60, 80))) for seed in range(count)]


def test_an_item_without_seeds_is_a_failure_of_its_own() -> None:
    segmenter = bind_grabcut_torch(SegmentationSettings(), CPU)
    good = _items(2)
    one_pixel = np.zeros((60, 80), dtype=np.float32)
    one_pixel[5, 5] = 1
    first, bad, second = segmenter.segment([good[0], CutInput(good[0].image_rgb, one_pixel), good[1]])
    assert isinstance(bad, ItemError)
    assert "1 foreground seeds" in str(bad)
    for item, found in zip(good, (first, second), strict=True):
        assert not isinstance(found, ItemError)
        assert np.array_equal(found.mask, grabcut(item.image_rgb, found.trimap))
    (alone,) = segmenter.segment([CutInput(good[0].image_rgb, one_pixel)])
    assert isinstance(alone, ItemError)
    assert segmenter.segment([]) == []


def test_a_batch_holds_fewer_large_images() -> None:
    sizes = [bind_grabcut_torch(SegmentationSettings(working_size=size), CPU).batch_size for size in (224, 500, 4096)]
    assert sizes == [41, 8, 1]


def _memory_for(count: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The device holds so many images; the sizes of the batches that were tried."""
    tried: list[int] = []

    def limited(images: Image, *others: object) -> object:
        tried.append(len(images))
        if len(images) > count:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return grabcut_batch(images, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "grabcut_batch", limited)
    return tried


def _masks(found: Sequence[object]) -> list[bytes]:
    return [cut.mask.tobytes() for cut in found]  # type: ignore[attr-defined]


def test_a_batch_too_large_for_the_memory_is_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter = bind_grabcut_torch(SegmentationSettings(), CPU)
    expected = _masks(segmenter.segment(_items(5)))
    tried = _memory_for(2, monkeypatch)
    assert _masks(segmenter.segment(_items(5))) == expected
    assert tried == [5, 2, 3, 1, 2]
    _memory_for(0, monkeypatch)
    with pytest.raises(UserError, match="smaller `working_size`"):
        segmenter.segment(_items(1))


def test_a_device_without_64_bit_floats_is_refused() -> None:
    with pytest.raises(UserError, match="64-bit"):
        bind_grabcut_torch(SegmentationSettings(), torch.device("mps"))
