"""Pictures as data URIs, within a budget."""

from __future__ import annotations

import base64
import io

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from wsloc.reporting.pictures import PAGE_BYTES, Layers, encode_layers, encode_photo, photo_bytes

from wsloc.pipeline.results import Trace


def decoded(uri: str) -> NDArray[np.uint8]:
    head, _, content = uri.partition(",")
    assert head == "data:image/webp;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


def trace(size_hw: tuple[int, int], seed: int = 0) -> Trace:
    """The worst that there is: noise."""
    generator = np.random.default_rng(seed)
    return Trace(
        generator.integers(0, 256, (*size_hw, 3), dtype=np.uint8),
        generator.random(size_hw, dtype=np.float32),
        generator.random(size_hw, dtype=np.float32),
        generator.integers(0, 4, size_hw).astype(np.uint8),
        generator.random(size_hw) < 0.5,
    )


def layers_of(layers: Layers) -> tuple[str, str, str]:
    return layers.saliency, layers.seeds, layers.mask


def test_a_photograph_keeps_its_shape_and_its_colors() -> None:
    picture = np.zeros((300, 600, 3), dtype=np.uint8)
    picture[:, :300] = (200, 30, 30)
    small = decoded(encode_photo(picture, 40_000))
    assert small.shape == (200, 400, 3)
    assert np.abs(small[100, 100].astype(int) - (200, 30, 30)).max() < 12
    assert small[100, 300].max() < 12


def test_a_small_photograph_is_not_blown_up() -> None:
    assert decoded(encode_photo(np.zeros((20, 30, 3), dtype=np.uint8), 40_000)).shape == (20, 30, 3)


@pytest.mark.parametrize("size_hw", [(375, 500), (8, 4000), (1000, 1000)])
@pytest.mark.parametrize("most", [2_000, 8_000, 40_000])
def test_noise_stays_within_its_bytes(size_hw: tuple[int, int], most: int) -> None:
    noise = trace(size_hw).image_rgb
    assert len(encode_photo(noise, most)) <= most


@pytest.mark.parametrize("items", [1, 60, 200, 1000, 2000])
def test_a_page_of_noise_stays_within_the_budget(items: int) -> None:
    made = trace((168, 224))
    layers = sum(map(len, layers_of(encode_layers(made, items))))
    assert items * (len(encode_photo(made.image_rgb, photo_bytes(items, items))) + layers) <= PAGE_BYTES


def test_layers_by_hand() -> None:
    saliency = np.zeros((8, 8), dtype=np.float32)
    saliency[2:4, 2:4] = 1
    saliency[7, 7] = np.nan
    trimap = np.full((8, 8), cv2.GC_PR_BGD, dtype=np.uint8)
    trimap[0, 0], trimap[1, 1] = cv2.GC_FGD, cv2.GC_BGD
    mask = np.zeros((8, 8), dtype=bool)
    mask[1:7, 1:7] = True
    layers = encode_layers(Trace(np.zeros((8, 8, 3), dtype=np.uint8), saliency, saliency, trimap, mask), 1)
    shown, seeds, outside = map(decoded, layers_of(layers))
    assert (shown[7, 7, 3], shown[0, 0, 3]) == (0, 255)
    # Turbo: red is high and blue is low.
    assert shown[2, 2, 0] > 1.5 * shown[2, 2, 2]
    assert seeds[0, 0].tolist() == [255, 70, 60, 190]
    assert seeds[1, 1].tolist() == [50, 110, 255, 190]
    assert (seeds[2:, 2:, 3] == 0).all()
    assert (outside[0, :, 3] == 170).all()
    assert outside[1, 1].tolist() == [255, 255, 255, 255]
    assert (outside[2:6, 2:6, 3] == 0).all()


def test_the_same_bytes_each_time() -> None:
    assert encode_layers(trace((100, 150)), 10) == encode_layers(trace((100, 150)), 10)
