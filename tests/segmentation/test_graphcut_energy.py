"""The oracle of the single cut: no labeling has less energy than its own.

The energy is written again from the formulas, and its minimum is found by SciPy's maximum flow.
"""

from pathlib import Path

import cv2
import numpy as np
import pytest
from cut_oracle import edges_of, energy_of, min_energy
from numpy.typing import NDArray
from PIL import Image

from wsloc.segmentation import fit_color_models, graphcut_2013
from wsloc.segmentation.seeds import BACKGROUND, FOREGROUND, PROBABLE_BACKGROUND

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]
FOR_CERTAIN = 500.0
"""More than all eight edges of a pixel together, 4 * 50 + 4 * 50 / sqrt(2) = 341, could outweigh."""
HEIGHT, WIDTH = 12, 16


def _cost(pixels: Pixels, model: Floats) -> Floats:
    """``-log sum_k weight_k N_k(color)`` for each pixel, without the constant (2 pi)^1.5."""
    colors = pixels.reshape(-1, 3).astype(np.float64)
    weights, means, covariances = model[0, :5], model[0, 5:20].reshape(5, 3), model[0, 20:].reshape(5, 3, 3)
    density = np.zeros(len(colors))
    for weight, mean, covariance in zip(weights, means, covariances, strict=True):
        if weight > 0:
            away = colors - mean
            distance = (away * np.linalg.solve(covariance, away.T).T).sum(axis=1)
            density += weight * np.exp(-distance / 2) / np.sqrt(np.linalg.det(covariance))
    with np.errstate(divide="ignore"):
        return -np.log(density)


def _unary(image: Pixels, seeds: Pixels, clamps: Pixels) -> tuple[Floats, Floats]:
    """Energy of each pixel as background and as foreground, the smaller of the two taken off both."""
    chosen = (seeds == FOREGROUND) | (seeds == BACKGROUND)
    background_model, foreground_model = fit_color_models(image[chosen], seeds[chosen] == FOREGROUND)
    as_background, as_foreground = _cost(image, background_model), _cost(image, foreground_model)
    assert (np.isfinite(as_background) | np.isfinite(as_foreground)).all()
    smaller = np.minimum(as_background, as_foreground)
    as_background, as_foreground = as_background - smaller, as_foreground - smaller
    kinds = clamps.reshape(-1)
    as_background[kinds == FOREGROUND], as_foreground[kinds == FOREGROUND] = np.inf, 0
    as_foreground[kinds == BACKGROUND], as_background[kinds == BACKGROUND] = np.inf, 0
    return np.minimum(as_background, FOR_CERTAIN), np.minimum(as_foreground, FOR_CERTAIN)


def _random(generator: np.random.Generator) -> Pixels:
    return generator.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def _smooth(generator: np.random.Generator) -> Pixels:
    coarse = generator.integers(0, 256, (3, 4, 3)).astype(np.uint8)
    image = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    return np.clip(image + generator.normal(0, 8, image.shape), 0, 255).astype(np.uint8)


def _disc(generator: np.random.Generator) -> Pixels:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    inside = np.hypot(y - 6, x - 8) < 4
    means = np.where(inside[..., None], (150, 110, 90), (110, 120, 130))
    return np.clip(generator.normal(means, 25), 0, 255).astype(np.uint8)


def _stripes(generator: np.random.Generator) -> Pixels:
    means = np.broadcast_to(np.where(np.arange(WIDTH) % 4 < 2, 90, 160)[None, :, None], (HEIGHT, WIDTH, 3))
    return np.clip(generator.normal(means, 12), 0, 255).astype(np.uint8)


def _seeds(generator: np.random.Generator, fraction: float) -> Pixels:
    """Foreground in the middle, background at the border, each pixel by chance."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    outward = np.hypot((y - 5.5) / 5.5, (x - 7.5) / 7.5)
    trimap = np.full((HEIGHT, WIDTH), PROBABLE_BACKGROUND, dtype=np.uint8)
    chosen = generator.random((HEIGHT, WIDTH)) < fraction
    trimap[chosen & (outward < 0.6)] = FOREGROUND
    trimap[chosen & (outward > 0.9)] = BACKGROUND
    return trimap


def _some(seeds: Pixels, generator: np.random.Generator) -> Pixels:
    return np.where(generator.random(seeds.shape) < 0.2, seeds, PROBABLE_BACKGROUND).astype(np.uint8)


def _assert_optimal(image: Pixels, seeds: Pixels, clamps: Pixels) -> bool:
    """Whether the cut is worth looking at: neither label everywhere that it may be."""
    mask = graphcut_2013(image, seeds, clamps)
    unary, edges = _unary(image, seeds, clamps), edges_of(image)
    least = min_energy(unary, edges)
    assert energy_of(mask, unary, edges) == pytest.approx(least, rel=1e-3, abs=0.05)
    free = mask[(clamps != FOREGROUND) & (clamps != BACKGROUND)]
    return bool(free.any() and not free.all())


@pytest.mark.parametrize("make_image", [_random, _smooth, _disc, _stripes])
def test_the_labeling_has_the_least_energy(make_image) -> None:
    cut_through = 0
    for seed in range(8):
        generator = np.random.default_rng(seed)
        image = make_image(generator)
        seeds = _seeds(generator, fraction=0.8)
        cut_through += _assert_optimal(image, seeds, _some(seeds, generator))
    assert cut_through >= 4


def test_patches_of_photographs(shared: Path) -> None:
    paths = sorted((shared / "VOCdevkit/VOC2012/JPEGImages").glob("*.jpg"))[::50]
    assert len(paths) >= 15
    cut_through = 0
    for number, path in enumerate(paths):
        with Image.open(path) as photograph:
            image = np.array(photograph.convert("RGB").resize((WIDTH, HEIGHT), Image.Resampling.BOX))
        generator = np.random.default_rng(number)
        seeds = _seeds(generator, fraction=0.9)
        cut_through += _assert_optimal(image, seeds, _some(seeds, generator))
    assert cut_through >= 10


def test_the_oracle_tells_a_worse_labeling() -> None:
    """One pixel moved, or the whole mask shifted by one, must show."""
    generator = np.random.default_rng(0)
    image, seeds = _disc(generator), _seeds(generator, fraction=0.8)
    mask = graphcut_2013(image, seeds, seeds)
    unary, edges = _unary(image, seeds, seeds), edges_of(image)
    least = min_energy(unary, edges)
    for pixel in np.flatnonzero(seeds == PROBABLE_BACKGROUND):
        other = mask.copy().reshape(-1)
        other[pixel] ^= True
        assert energy_of(other, unary, edges) > least + 0.01
    assert energy_of(np.roll(mask, 1, axis=1), unary, edges) > least * 1.01


def test_energy_by_hand() -> None:
    # Two rows, two columns, gray levels 0 and 10; squared differences: left to right 300, up and down 0,
    # both diagonals 300. Mean (300 + 300 + 0 + 0 + 300 + 300) / 6 = 200, beta = 1 / 400, exp(-300 / 400).
    image = np.zeros((2, 2, 3), dtype=np.uint8)
    image[:, 1] = 10
    edges = edges_of(image)
    zero = np.zeros(4)
    across = 50 * np.exp(-0.75)
    mask = np.array([[False, True], [False, True]])
    assert energy_of(mask, (zero, zero), edges) == pytest.approx(2 * across + 2 * across / np.sqrt(2))
    assert energy_of(mask.T, (zero, zero), edges) == pytest.approx(2 * 50 + 2 * across / np.sqrt(2))
