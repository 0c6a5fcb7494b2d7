"""Pictures as data URIs, within a budget."""

from __future__ import annotations

import base64
import io

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from wsloc.reporting.run_pictures import PAGE_BYTES, encode_photo, layer_uris, photo_bytes
from wsloc.runs.kept_pictures import MAX_ITEMS
from wsloc.visualization.layers import encode_layers


def decoded(uri: str, kind: str = "webp") -> NDArray[np.uint8]:
    head, _, content = uri.partition(",")
    assert head == f"data:image/{kind};base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


def noise(size_hw: tuple[int, int], seed: int = 0) -> NDArray[np.uint8]:
    """The worst photograph that there is."""
    return np.random.default_rng(seed).integers(0, 256, (*size_hw, 3), dtype=np.uint8)


def noisy_layers(size_hw: tuple[int, int], seed: int = 0) -> dict[str, str]:
    """The worst layers that there are."""
    generator = np.random.default_rng(seed)
    return layer_uris(
        encode_layers(
            generator.random(size_hw, dtype=np.float32),
            generator.integers(0, 4, size_hw).astype(np.uint8),
            generator.random(size_hw) < 0.5,
        )
    )


def test_a_photograph_keeps_its_shape_and_its_colors() -> None:
    picture = np.zeros((300, 600, 3), dtype=np.uint8)
    picture[:, :300] = (200, 30, 30)
    small = decoded(encode_photo(picture, 40_000), "jpeg")
    assert small.shape == (200, 400, 3)
    assert np.abs(small[100, 100].astype(int) - (200, 30, 30)).max() < 12
    assert small[100, 300].max() < 12


def test_a_small_photograph_is_not_blown_up() -> None:
    assert decoded(encode_photo(np.zeros((20, 30, 3), dtype=np.uint8), 40_000), "jpeg").shape == (20, 30, 3)


@pytest.mark.parametrize("size_hw", [(375, 500), (8, 4000), (1000, 1000)])
@pytest.mark.parametrize("most", [2_000, 8_000, 40_000])
def test_noise_stays_within_its_bytes(size_hw: tuple[int, int], most: int) -> None:
    assert len(encode_photo(noise(size_hw), most)) <= most


@pytest.mark.parametrize("items", [1, 60, 200, 1000, 2000])
def test_a_page_of_noise_stays_within_the_budget(items: int) -> None:
    layers = [noisy_layers((168, 224))] * min(items, MAX_ITEMS)
    of_layers = sum(len(uri) for of_item in layers for uri in of_item.values())
    assert items * len(encode_photo(noise((168, 224)), photo_bytes(items, layers))) + of_layers <= PAGE_BYTES


def test_layers_by_hand() -> None:
    saliency = np.zeros((8, 8), dtype=np.float32)
    saliency[2:4, 2:4] = 1
    saliency[7, 7] = np.nan
    trimap = np.full((8, 8), cv2.GC_PR_BGD, dtype=np.uint8)
    trimap[0, 0], trimap[1, 1] = cv2.GC_FGD, cv2.GC_BGD
    mask = np.zeros((8, 8), dtype=bool)
    mask[1:7, 1:7] = True
    layers = layer_uris(encode_layers(saliency, trimap, mask))
    shown, seeds, outside = (decoded(layers[name]) for name in ("saliency", "seeds", "mask"))
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
    assert noisy_layers((100, 150)) == noisy_layers((100, 150))
