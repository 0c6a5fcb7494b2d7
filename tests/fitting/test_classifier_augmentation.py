"""Random changes of an image: inside it, as strong as asked for, and the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wsloc.classifiers.preprocessing import Preprocessing, whole
from wsloc.fitting.augmentation import Augmentation, augmented, random_crop

PREPROCESSING = Preprocessing((24, 32))
IMAGE = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)


@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from([0.05, 0.35, 1.0]), st.integers(0, 10**6))
def test_a_crop_lies_in_the_image_and_is_large_enough(width: int, height: int, least: float, seed: int) -> None:
    x0, y0, x1, y1 = random_crop((width, height), least, np.random.default_rng(seed))
    assert 0 <= x0 < x1 <= width
    assert 0 <= y0 < y1 <= height
    # Sides are rounded by half a pixel at the most.
    assert (x1 - x0 + 0.5) * (y1 - y0 + 0.5) >= least * width * height


def test_crops_differ_and_reach_both_ends() -> None:
    crops = [random_crop((200, 200), 0.35, np.random.default_rng(seed)) for seed in range(400)]
    fractions = [(x1 - x0) * (y1 - y0) / 200**2 for x0, y0, x1, y1 in crops]
    assert min(fractions) < 0.4
    assert max(fractions) > 0.9
    assert {x0 == 0 for x0, *_ in crops} == {True, False}


def test_without_strength_an_image_is_only_mirrored() -> None:
    # A square of full area has one aspect, so no other crop fits.
    square = IMAGE[:, :60]
    plain = whole(square, PREPROCESSING).views[0].pixels
    mirrored = whole(np.ascontiguousarray(square[:, ::-1]), PREPROCESSING).views[0].pixels
    seen = set()
    for seed in range(12):
        changed = augmented(square, PREPROCESSING, Augmentation(crop_scale=1, jitter=0), seed)
        seen.add((torch.equal(changed, plain), torch.equal(changed, mirrored)))
    assert seen == {(True, False), (False, True)}


def test_jitter_changes_colors_within_its_share() -> None:
    gray = np.full((40, 40, 3), 100, dtype=np.uint8)
    preprocessing = Preprocessing((16, 16), (0.0,) * 3, (1.0,) * 3)
    values = [
        255 * float(augmented(gray, preprocessing, Augmentation(1, 0.2), seed).mean()) for seed in range(60)
    ]  # only brightness changes an even gray
    assert 79 <= min(values) < 90
    assert 110 < max(values) <= 121


@pytest.mark.parametrize("seed", [0, 7])
def test_the_same_seed_gives_the_same_input(seed: int) -> None:
    strong = Augmentation(0.35, 0.3)
    first = augmented(IMAGE, PREPROCESSING, strong, seed)
    assert first.shape == (3, 24, 32)
    assert first.dtype == torch.float32
    assert torch.equal(first, augmented(IMAGE, PREPROCESSING, strong, seed))
    assert not torch.equal(first, augmented(IMAGE, PREPROCESSING, strong, seed + 1))


def test_a_gray_network_gets_one_channel() -> None:
    assert augmented(IMAGE, Preprocessing((16, 16), (0.5,), (0.5,)), Augmentation(0.5, 0.2), 0).shape == (1, 16, 16)
