from collections.abc import Callable
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
from wsloc.segmentation import CutInput, grabcut, grabcut_plain, make_seeds, working_image
from wsloc.segmentation.seeds import BACKGROUND, FOREGROUND, PROBABLE_BACKGROUND, PROBABLE_FOREGROUND
from wsloc.segmentation.segment import (
    SegmentItem,
    segment_by_grabcut,
    segment_by_grabcut_by_value,
    segment_by_grabcut_plain,
)

Image = NDArray[np.uint8]
Call = tuple[int, Image, Image]
Cut = Callable[[Image, Image, int], NDArray[np.bool_]]
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
    """12 x 24 pixels at half size: the border lies between columns 5 and 6 of 12, so between 11 and 12 of 24."""
    image, trimap = _halves((12, 24), edge=12)
    grabcut(image, trimap, coarse_size=12)
    *coarse, (mode, fine, labels) = calls
    assert {shape for _, small, small_labels in coarse for shape in (small.shape[:2], small_labels.shape)} == {(6, 12)}
    assert {mode, *(mode for mode, _, _ in coarse)} == {cv2.GC_EVAL}
    assert np.array_equal(fine, image)
    columns = [BACKGROUND] * 4 + [PROBABLE_BACKGROUND] * 8 + [PROBABLE_FOREGROUND] * 8 + [FOREGROUND] * 4
    assert np.array_equal(labels, np.broadcast_to(columns, (12, 24)))


def test_the_small_trimap_is_the_middle_of_its_pixels(calls: list[Call]) -> None:
    trimap = np.random.default_rng(0).choice(CODES, size=(15, 30)).astype(np.uint8)
    image = np.random.default_rng(1).integers(0, 256, (15, 30, 3), dtype=np.uint8)
    grabcut(image, trimap, coarse_size=10)
    _, small, labels = calls[0]
    assert np.array_equal(small, image.reshape(5, 3, 10, 3, 3).mean(axis=(1, 3)).round())
    assert np.array_equal(labels, trimap[1::3, 1::3])


def test_only_the_small_image_is_cut_more_than_once(calls: list[Call]) -> None:
    grabcut(*_noisy_disc(), max_iterations=3, coarse_size=40)
    assert [image.shape[1] for _, image, _ in calls] == [40] * (len(calls) - 1) + [80]
    assert 2 <= len(calls) <= 4


@pytest.mark.parametrize("coarse_size", [12, 16, 20, 30])
@pytest.mark.parametrize("edge", range(20, 41, 3))
def test_an_edge_inside_a_small_pixel_is_found(coarse_size: int, edge: int) -> None:
    image, trimap = _halves((24, 60), edge)
    mask = grabcut(image, trimap, coarse_size=coarse_size)
    assert mask.dtype == bool
    assert np.array_equal(mask, np.broadcast_to(np.arange(60) >= edge, (24, 60)))


def test_a_line_of_one_pixel_that_leaves_the_object() -> None:
    """The small image has it as a purple blur, but the last cut sees the image itself."""
    image, trimap = _halves((40, 80), edge=48)
    image[18, 44:48] = RED
    expected = (image == RED).all(axis=2)
    assert np.array_equal(grabcut(image, trimap, coarse_size=20), expected)


def test_seeds_of_one_pixel_far_from_the_border_stay() -> None:
    """None of them is in the middle of a small pixel: the small trimap does not have them."""
    image, trimap = _halves((42, 84), edge=60)
    trimap[3:39:3, 12], trimap[3:39:3, 75] = FOREGROUND, BACKGROUND
    expected = np.broadcast_to(np.arange(84) >= 60, (42, 84)).copy()
    expected[3:39:3, 12], expected[3:39:3, 75] = True, False
    assert np.array_equal(grabcut(image, trimap, coarse_size=28), expected)


@pytest.mark.parametrize("size_hw", [(80, 80), (80, 1), (13, 80), (60, 79)])
def test_a_small_image_is_cut_as_it_is(size_hw: tuple[int, int]) -> None:
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (*size_hw, 3), dtype=np.uint8)
    trimap = generator.choice(CODES, size=size_hw).astype(np.uint8)
    assert np.array_equal(grabcut(image, trimap), grabcut_plain(image, trimap))


@pytest.mark.parametrize("label", [FOREGROUND, BACKGROUND])
def test_seeds_too_few_for_the_small_image_are_cut_at_full_size(label: int) -> None:
    """Five seeds are enough for GrabCut, and none of these is in the middle of a small pixel."""
    image, _ = _noisy_disc()
    trimap = np.full(image.shape[:2], BACKGROUND if label == FOREGROUND else PROBABLE_FOREGROUND, dtype=np.uint8)
    trimap[30, 30:45:3] = label
    assert np.array_equal(grabcut(image, trimap, coarse_size=27), grabcut_plain(image, trimap))


@pytest.mark.parametrize("code", [PROBABLE_BACKGROUND, PROBABLE_FOREGROUND])
def test_a_small_mask_without_a_border(code: int) -> None:
    """A flat image has no border but that of the seeds, and without any all of it gets one label."""
    image = np.full((40, 60, 3), BLUE, dtype=np.uint8)
    trimap = np.full((40, 60), code, dtype=np.uint8)
    trimap[10:20, 10:20] = PROBABLE_FOREGROUND if code == PROBABLE_BACKGROUND else PROBABLE_BACKGROUND
    mask = grabcut(image, trimap, coarse_size=20)
    assert np.array_equal(mask, grabcut_plain(image, trimap))
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


@given(scenes(), st.integers(1, 5))
@settings(max_examples=300)
def test_properties(scene: tuple[Image, Image, int], iterations: int) -> None:
    image, trimap, coarse_size = scene
    image_before, trimap_before = image.copy(), trimap.copy()
    try:
        grabcut_plain(image, trimap, 1)
    except ItemError as error:
        with pytest.raises(ItemError, match=str(error)):
            grabcut(image, trimap, iterations, coarse_size)
        return
    mask = grabcut(image, trimap, iterations, coarse_size)
    assert mask.dtype == bool
    assert mask.shape == trimap.shape
    assert mask[trimap == FOREGROUND].all()
    assert not mask[trimap == BACKGROUND].any()
    assert np.array_equal(trimap, trimap_before)
    assert np.array_equal(image, image_before)


def _blob(size_hw: tuple[int, int]) -> NDArray[np.float32]:
    """A map that is highest in the middle and falls off to 0 at the border."""
    y, x = (np.linspace(-1, 1, side) for side in size_hw)
    return np.maximum(0, 1 - np.hypot(y[:, None], x)).astype(np.float32)


def test_photographs_are_cut_much_as_by_plain_grabcut(shared: Path) -> None:
    """Not alike: what GrabCut makes of a photograph depends on its resolution, and on where it starts."""
    paths = sorted((shared / "VOCdevkit/VOC2012/JPEGImages").glob("*.jpg"))[::80]
    assert len(paths) >= 10
    overlaps = []
    for path in paths:
        image = working_image(read_image(path), 224)
        trimap = make_seeds(_blob(image.shape[:2]), 0.9, 0.3)
        mask, plain = grabcut(image, trimap), grabcut_plain(image, trimap)
        overlaps.append((mask & plain).sum() / (mask | plain).sum())
    assert np.mean(overlaps) > 0.75


@pytest.mark.parametrize(
    ("segment", "cut", "first"),
    [
        (segment_by_grabcut, grabcut, 80),
        (segment_by_grabcut_plain, grabcut_plain, 160),
        (segment_by_grabcut_by_value, grabcut_plain, 160),
    ],
)
def test_segmenters_cut_as_their_names_say(calls: list[Call], segment: SegmentItem, cut: Cut, first: int) -> None:
    image = cv2.resize(_noisy_disc()[0], (160, 120), interpolation=cv2.INTER_CUBIC)
    found = segment(CutInput(image, _blob(image.shape[:2])), SegmentationSettings(cut_iterations=2))
    assert calls[0][1].shape[1] == first
    assert np.array_equal(found.mask, cut(image, found.trimap, 2))
