"""The mixtures on tensors against those of NumPy, which OpenCV reads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from wsloc.segmentation import fit_color_models
from wsloc.segmentation.batched_mixtures import first_components, log_likelihoods, moments
from wsloc.segmentation.color_models import COMPONENTS

Image = NDArray[np.uint8]


def _tensor(image: Image) -> Tensor:
    return torch.from_numpy(image).movedim(-1, 0)[None].double()


def _scene(seed: int, size_hw: tuple[int, int] = (24, 34)) -> tuple[Image, NDArray[np.bool_]]:
    """Six clusters of colors, each large enough for a covariance of full rank, and a foreground by chance."""
    generator = np.random.default_rng(seed)
    centers = generator.integers(0, 256, (6, 3))
    image = centers[generator.integers(0, 6, size_hw)] + generator.normal(0, 12, (*size_hw, 3))
    return np.clip(image, 0, 255).astype(np.uint8), generator.random(size_hw) < 0.4


def _first_moments(image: Image, foreground: NDArray[np.bool_]) -> Tensor:
    colors, labels = _tensor(image), torch.from_numpy(foreground)[None]
    return moments(colors, first_components(colors, labels))


def _heaviest_first(weights: NDArray, means: NDArray, covariances: NDArray) -> NDArray:
    """One row per component that has pixels."""
    rows = np.concatenate([weights[:, None], means, covariances.reshape(-1, 9)], axis=1)[weights > 0]
    return rows[np.lexsort((*rows[:, 1:4].T, rows[:, 0]))]


def _log_density(colors: NDArray, model: NDArray) -> NDArray:
    weights, means, covariances = model[0, :5], model[0, 5:20].reshape(5, 3), model[0, 20:].reshape(5, 3, 3)
    total = np.full(len(colors), -np.inf)
    for weight, mean, covariance in zip(weights, means, covariances, strict=True):
        if weight > 0:
            away = colors - mean
            distance = (away * np.linalg.solve(covariance, away.T).T).sum(axis=1)
            total = np.logaddexp(total, np.log(weight) - np.log(np.linalg.det(covariance)) / 2 - distance / 2)
    return total


def test_moments_by_hand() -> None:
    colors = torch.tensor([[1.0, 2.0], [0.0, 3.0], [5.0, 1.0]]).reshape(1, 3, 1, 2)
    found = moments(colors, torch.tensor([[[7, 7]]]))
    assert found.shape == (1, 10, 10)
    assert found[0, 7].tolist() == [2, 3, 3, 6, 5, 6, 7, 9, 3, 26]
    assert found[0, :7].count_nonzero() == found[0, 8:].count_nonzero() == 0


@pytest.mark.parametrize("seed", range(10))
def test_the_first_models_are_those_of_numpy(seed: int) -> None:
    image, foreground = _scene(seed)
    found = _first_moments(image, foreground)[0].numpy()
    for side, model in enumerate(fit_color_models(image, foreground)):
        own = found[COMPONENTS * side : COMPONENTS * (side + 1)]
        numbers = np.maximum(own[:, :1], 1)
        means, second = own[:, 1:4] / numbers, (own[:, 4:] / numbers)[:, [0, 1, 2, 1, 3, 4, 2, 4, 5]].reshape(-1, 3, 3)
        covariances = second - means[:, :, None] * means[:, None, :]
        ours = _heaviest_first(own[:, 0] / own[:, 0].sum(), means, covariances)
        theirs = _heaviest_first(model[0, :5], model[0, 5:20].reshape(5, 3), model[0, 20:])
        assert len(ours) == 5
        assert np.allclose(ours, theirs, rtol=1e-9, atol=1e-7)


@pytest.mark.parametrize("seed", range(5))
def test_the_likelihoods_are_those_of_the_mixtures(seed: int) -> None:
    image, foreground = _scene(seed)
    found, closest = log_likelihoods(_first_moments(image, foreground), _tensor(image))
    for side, model in enumerate(fit_color_models(image, foreground)):
        expected = _log_density(image.reshape(-1, 3).astype(np.float64), model)
        assert np.allclose(found[0, side].numpy().ravel(), expected, rtol=1e-9, atol=1e-6)
        assert set(closest[0, side].unique().tolist()) <= set(range(COMPONENTS * side, COMPONENTS * (side + 1)))


def test_the_closest_component_is_that_of_the_highest_density() -> None:
    """Gray levels of 100 +- 1 and 108 +- 10: the former is ten times as high, so denser at 98, but not at 104."""
    image = np.repeat(np.array([99, 101, 99, 101, 98, 118, 98, 118, 104], dtype=np.uint8)[None, :, None], 3, axis=2)
    component = torch.tensor([[[0, 0, 0, 0, 1, 1, 1, 1, 5]]])
    _, closest = log_likelihoods(moments(_tensor(image), component), _tensor(image))
    assert closest[0, 0, 0].tolist() == [0, 0, 0, 0, 0, 1, 0, 1, 1]
    assert closest[0, 1].unique().tolist() == [5]


def test_one_color_is_one_component_as_likely_on_either_side() -> None:
    image, foreground = np.full((4, 6, 3), 90, dtype=np.uint8), np.arange(24).reshape(4, 6) < 9
    found = _first_moments(image, foreground)
    assert found[0, :, 0].tolist() == [15, 0, 0, 0, 0, 9, 0, 0, 0, 0]
    likelihoods, _ = log_likelihoods(found, _tensor(image))
    assert likelihoods.isfinite().all()
    assert torch.equal(likelihoods[:, 0], likelihoods[:, 1])


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 3, 256]))
@settings(max_examples=100)
def test_every_pixel_is_in_a_component_of_its_side(seed: int, levels: int) -> None:
    generator = np.random.default_rng(seed)
    image = (generator.integers(0, levels, (5, 8, 3)) * (255 // levels)).astype(np.uint8)
    foreground = generator.random((5, 8)) < 0.5
    colors, labels = _tensor(image), torch.from_numpy(foreground)[None]
    component = first_components(colors, labels)
    assert torch.equal(component >= COMPONENTS, labels)
    found = moments(colors, component)
    assert torch.equal(
        found[0, :, :4].sum(dim=0), torch.cat([torch.tensor([40.0]), colors.sum(dim=(0, 2, 3))]).double()
    )
    if foreground.any() and not foreground.all():
        assert log_likelihoods(found, colors)[0].isfinite().all()


def test_the_same_bits_alone_and_among_others() -> None:
    scenes = [_scene(seed, (33, 47)) for seed in range(6)]
    colors = torch.cat([_tensor(image) for image, _ in scenes])
    labels = torch.stack([torch.from_numpy(foreground) for _, foreground in scenes])
    component = first_components(colors, labels)
    found = moments(colors, component)
    _, closest = log_likelihoods(found, colors)
    for index in range(6):
        own = slice(index, index + 1)
        assert torch.equal(first_components(colors[own], labels[own]), component[own])
        assert torch.equal(moments(colors[own], component[own]), found[own])
        assert torch.equal(log_likelihoods(found[own], colors[own])[1], closest[own])
