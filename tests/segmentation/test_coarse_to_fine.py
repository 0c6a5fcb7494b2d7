from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from wsloc.config import SegmentationSettings
from wsloc.errors import ItemError
from wsloc.images import read_image
from wsloc.segmentation import CutInput, grabcut, grabcut_coarse_to_fine, make_seeds, working_image
from wsloc.segmentation.graphcut import iterated_cut
from wsloc.segmentation.seeds import BACKGROUND, FOREGROUND, PROBABLE_BACKGROUND, PROBABLE_FOREGROUND
from wsloc.segmentation.segment import (
    segment_by_grabcut,
    segment_by_grabcut_by_value,
    segment_by_grabcut_coarse_to_fine,
)

Image = NDArray[np.uint8]
Call = tuple[int, Image, Image]
BLUE, RED = (20, 40, 200), (210, 60, 30)
CODES = (BACKGROUND, FOREGROUND, PROBABLE_BACKGROUND, PROBABLE_FOREGROUND)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """Of each call of OpenCV its mode, its image, and its labels before the cut."""
    seen: list[Call] = []

    def watched(original, image: Image, labels: Image, *arguments: object) -> object:
        seen.append((arguments[-1], image.copy(), labels.copy()))
        return original(image, labels, *arguments)

    monkeypatch.setattr(cv2, "grabCut", partial(watched, cv2.grabCut))
    return seen


def _halves(size_hw: tuple[int, int], edge: int) -> tuple[Image, Image]:
    """Blue to the left of a column and red from there on, with seeds in the four outermost columns of either side."""
    image = np.full((*size_hw, 3), BLUE, dtype=np.uint8)
    image[:, edge:] = RED
    trimap = np.full(size_hw, PROBABLE_BACKGROUND, dtype=np.uint8)
    trimap[:, :4], trimap[:, -4:] = BACKGROUND, FOREGROUND
    return image, trimap


def _noisy_disc() -> tuple[Image, Image]:
    """Every color within reach of both models, seeds in the middle and near the border."""
    y, x = np.mgrid[:60, :80]
    distance = np.hypot(y - 30, x - 40)
    means = np.where((distance < 20)[..., None], (140, 110, 90), (100, 120, 140))
    image = np.clip(np.random.default_rng(0).normal(means, 30), 0, 255).astype(np.uint8)
    trimap = np.select([distance < 8, (distance > 28) & (distance < 29)], [FOREGROUND, BACKGROUND], PROBABLE_BACKGROUND)
    return image, trimap.astype(np.uint8)


def test_what_is_cut_by_hand(calls: list[Call]) -> None:
    """12 x 24 pixels at half size: the border lies between columns 5 and 6 of 12, so these two are cut again."""
    image, trimap = _halves((12, 24), edge=12)
    grabcut_coarse_to_fine(image, trimap, 0, coarse_size=12)
    *coarse, (mode, fine, labels) = calls
    assert {shape for _, small, small_labels in coarse for shape in (small.shape[:2], small_labels.shape)} == {(6, 12)}
    assert [mode for mode, _, _ in coarse] == [cv2.GC_INIT_WITH_MASK] + [cv2.GC_EVAL] * (len(coarse) - 1)
    assert mode == cv2.GC_EVAL_FREEZE_MODEL
    # Columns 10 to 13 of 24, and a neighbor on either side.
    assert np.array_equal(fine, image[:, 9:15])
    expected = [BACKGROUND, *[PROBABLE_FOREGROUND] * 4, FOREGROUND]
    assert np.array_equal(labels, np.broadcast_to(expected, (12, 6)))


def test_the_small_trimap_is_the_middle_of_its_pixels(calls: list[Call]) -> None:
    trimap = np.random.default_rng(0).choice(CODES, size=(15, 30)).astype(np.uint8)
    image = np.random.default_rng(1).integers(0, 256, (15, 30, 3), dtype=np.uint8)
    grabcut_coarse_to_fine(image, trimap, 0, coarse_size=10)
    _, small, labels = calls[0]
    assert np.array_equal(small, image.reshape(5, 3, 10, 3, 3).mean(axis=(1, 3)).round())
    assert np.array_equal(labels, trimap[1::3, 1::3])


@pytest.mark.parametrize(("band", "columns"), [(1, slice(9, 15)), (2, slice(7, 17)), (3, slice(5, 19))])
def test_the_band_is_that_of_small_pixels_on_either_side(calls: list[Call], band: int, columns: slice) -> None:
    image, trimap = _halves((12, 24), edge=12)
    grabcut_coarse_to_fine(image, trimap, 0, coarse_size=12, band=band)
    assert np.array_equal(calls[-1][1], image[:, columns])


@pytest.mark.parametrize("coarse_size", [12, 16, 20, 30])
@pytest.mark.parametrize("edge", range(20, 41, 3))
def test_an_edge_inside_a_small_pixel_is_found(coarse_size: int, edge: int) -> None:
    image, trimap = _halves((24, 60), edge)
    mask = grabcut_coarse_to_fine(image, trimap, 0, coarse_size=coarse_size)
    assert mask.dtype == bool
    assert np.array_equal(mask, np.broadcast_to(np.arange(60) >= edge, (24, 60)))


def test_a_line_of_one_pixel_that_leaves_the_object() -> None:
    """The small image has it as a purple blur, but within the band it is cut from the image itself."""
    image, trimap = _halves((40, 80), edge=48)
    image[18, 44:48] = RED
    expected = (image == RED).all(axis=2)
    assert np.array_equal(grabcut_coarse_to_fine(image, trimap, 0, coarse_size=20), expected)


def test_seeds_of_one_pixel_far_from_the_border_stay() -> None:
    """None of them is in the middle of a small pixel: the small trimap does not have them."""
    image, trimap = _halves((42, 84), edge=60)
    trimap[3:39:3, 12], trimap[3:39:3, 75] = FOREGROUND, BACKGROUND
    expected = np.broadcast_to(np.arange(84) >= 60, (42, 84)).copy()
    expected[3:39:3, 12], expected[3:39:3, 75] = True, False
    assert np.array_equal(grabcut_coarse_to_fine(image, trimap, 0, coarse_size=28), expected)


@pytest.mark.parametrize(("speck", "is_foreground"), [((190, 70, 45), True), ((40, 45, 180), False)])
def test_a_color_that_the_small_image_lacks(speck: tuple[int, int, int], is_foreground: bool) -> None:
    """Both likelihoods are 0 in floating point, which OpenCV alone takes for certain foreground."""
    image, trimap = _halves((40, 80), edge=40)
    image[20, 37], image[20, 42] = speck, speck
    expected = np.broadcast_to(np.arange(80) >= 40, (40, 80)).copy()
    expected[20, 37] = expected[20, 42] = is_foreground
    assert np.array_equal(grabcut_coarse_to_fine(image, trimap, 0, coarse_size=20), expected)


@pytest.mark.parametrize("size_hw", [(80, 80), (80, 1), (13, 80), (60, 79)])
def test_a_small_image_is_cut_as_it_is(size_hw: tuple[int, int]) -> None:
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (*size_hw, 3), dtype=np.uint8)
    trimap = generator.choice(CODES, size=size_hw).astype(np.uint8)
    assert np.array_equal(grabcut_coarse_to_fine(image, trimap, 5), grabcut(image, trimap, 5))


@pytest.mark.parametrize("label", [FOREGROUND, BACKGROUND])
def test_seeds_too_few_for_the_small_image_are_cut_at_full_size(label: int) -> None:
    """Five seeds are enough for GrabCut, and none of these is in the middle of a small pixel."""
    image, _ = _noisy_disc()
    trimap = np.full(image.shape[:2], BACKGROUND if label == FOREGROUND else PROBABLE_FOREGROUND, dtype=np.uint8)
    trimap[30, 30:45:3] = label
    assert np.array_equal(grabcut_coarse_to_fine(image, trimap, 0, coarse_size=27), grabcut(image, trimap, 0))


def test_a_band_over_the_whole_image_is_one_cut_with_the_models_of_the_small_one() -> None:
    image, trimap = _noisy_disc()
    mask = grabcut_coarse_to_fine(image, trimap, 3, coarse_size=40, band=40)
    small = working_image(image, 40)
    small_trimap = cv2.resize(trimap, (40, 30), interpolation=cv2.INTER_NEAREST_EXACT)
    coarse, models = iterated_cut(small, small_trimap, 3, 5)
    assert coarse.any()
    labels = trimap.copy()
    cv2.grabCut(image, labels, (0, 0, 0, 0), *models, 1, cv2.GC_EVAL_FREEZE_MODEL)
    assert np.array_equal(mask, labels % 2 == 1)


@pytest.mark.parametrize("code", [PROBABLE_BACKGROUND, PROBABLE_FOREGROUND])
def test_a_small_mask_without_a_border(code: int) -> None:
    """A flat image has no border but that of the seeds, and without any all of it gets one label."""
    image = np.full((40, 60, 3), BLUE, dtype=np.uint8)
    trimap = np.full((40, 60), code, dtype=np.uint8)
    trimap[10:20, 10:20] = PROBABLE_FOREGROUND if code == PROBABLE_BACKGROUND else PROBABLE_BACKGROUND
    mask = grabcut_coarse_to_fine(image, trimap, 0, coarse_size=20)
    assert np.array_equal(mask, grabcut(image, trimap, 0))
    assert mask.all() or not mask.any()


@st.composite
def scenes(draw: st.DrawFn) -> tuple[Image, Image, int]:
    """An image of few or many colors, a trimap of any codes, and a coarse size that is mostly smaller."""
    height, width = draw(st.sampled_from([(1, 60), (60, 1), (2, 75), (9, 40), (33, 31), (50, 20), (24, 24)]))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    levels = draw(st.sampled_from([1, 2, 256]))
    image = generator.integers(0, levels, (height, width, 3)) * (255 // levels)
    # Codes in blocks, as maps give them, or pixel by pixel.
    block = draw(st.sampled_from([1, 4, 10]))
    weights = draw(st.lists(st.integers(0, 5), min_size=4, max_size=4).filter(any))
    codes = generator.choice(CODES, size=(height // block + 1, width // block + 1), p=np.array(weights) / sum(weights))
    trimap = codes.repeat(block, axis=0).repeat(block, axis=1)[:height, :width]
    return image.astype(np.uint8), trimap.astype(np.uint8), draw(st.sampled_from([5, 12, 20, 40]))


@given(scenes(), st.integers(0, 2**31 - 1), st.integers(1, 5), st.integers(1, 3))
@settings(max_examples=300, deadline=None)
def test_properties(scene: tuple[Image, Image, int], seed: int, iterations: int, band: int) -> None:
    image, trimap, coarse_size = scene
    image_before, trimap_before = image.copy(), trimap.copy()
    cut = partial(grabcut_coarse_to_fine, image, trimap, seed, iterations, coarse_size, band)
    try:
        grabcut(image, trimap, seed, 1)
    except ItemError as error:
        with pytest.raises(ItemError, match=str(error)):
            cut()
        return
    mask = cut()
    assert mask.dtype == bool
    assert mask.shape == trimap.shape
    assert mask[trimap == FOREGROUND].all()
    assert not mask[trimap == BACKGROUND].any()
    assert np.array_equal(trimap, trimap_before)
    assert np.array_equal(image, image_before)
    cv2.setRNGSeed(seed ^ 1)
    assert np.array_equal(cut(), mask)


def _blob(size_hw: tuple[int, int]) -> NDArray[np.float32]:
    """A map that is highest in the middle and falls off to 0 at the border."""
    y, x = (np.linspace(-1, 1, side) for side in size_hw)
    return np.maximum(0, 1 - np.hypot(y[:, None], x)).astype(np.float32)


def test_photographs_are_cut_much_as_by_plain_grabcut(shared: Path) -> None:
    """Not alike: what a cut makes of a photograph depends on its resolution, as on the seed of its models."""
    paths = sorted((shared / "VOCdevkit/VOC2012/JPEGImages").glob("*.jpg"))[::80]
    assert len(paths) >= 10
    overlaps = []
    for seed, path in enumerate(paths):
        image = working_image(read_image(path), 224)
        trimap = make_seeds(_blob(image.shape[:2]), 0.9, 0.3, seed)
        mask, plain = grabcut_coarse_to_fine(image, trimap, seed), grabcut(image, trimap, seed)
        overlaps.append((mask & plain).sum() / (mask | plain).sum())
    assert np.mean(overlaps) > 0.75


def test_segmenters_cut_as_their_names_say() -> None:
    image, _ = _noisy_disc()
    image = cv2.resize(image, (160, 120), interpolation=cv2.INTER_CUBIC)
    item = CutInput(image, _blob(image.shape[:2]), seed=7)
    for segment, cut in {
        segment_by_grabcut_coarse_to_fine: grabcut_coarse_to_fine,
        segment_by_grabcut: grabcut,
        segment_by_grabcut_by_value: grabcut,
    }.items():
        found = segment(item, SegmentationSettings(cut_iterations=2))
        assert np.array_equal(found.mask, cut(image, found.trimap, 7, 2))
    coarse_to_fine, plain = (
        segment(item, SegmentationSettings()).mask
        for segment in (segment_by_grabcut_coarse_to_fine, segment_by_grabcut)
    )
    assert not np.array_equal(coarse_to_fine, plain)
