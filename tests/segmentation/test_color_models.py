import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from wsloc.errors import ItemError
from wsloc.segmentation.color_models import fit_color_models, log_likelihood


def _model(colors: list[tuple[int, int, int]]) -> tuple[NDArray, NDArray, NDArray]:
    """Weights, means, and covariances of the model of the foreground, heaviest first."""
    pixels = np.array([*[(0, 0, 0)] * 5, *colors], dtype=np.uint8)
    model = fit_color_models(pixels, np.arange(len(pixels)) >= 5)[1]
    assert model.shape == (1, 65)
    order = np.argsort(-model[0, :5], kind="stable")
    return model[0, :5][order], model[0, 5:20].reshape(5, 3)[order], model[0, 20:].reshape(5, 3, 3)[order]


def test_one_color_is_one_gaussian() -> None:
    weights, means, covariances = _model([(10, 20, 30)] * 7)
    assert weights.tolist() == [1, 0, 0, 0, 0]
    assert means[0].tolist() == [10, 20, 30]
    # OpenCV's white noise, without which there would be no inverse.
    assert np.allclose(covariances[0], 0.01 * np.eye(3))


def test_five_colors_are_five_gaussians() -> None:
    colors = [(250, 10, 10), (10, 250, 10), (10, 10, 250), (240, 240, 240), (9, 8, 7)]
    counts = [6, 5, 4, 3, 2]
    weights, means, _ = _model([color for color, count in zip(colors, counts, strict=True) for _ in range(count)])
    assert np.allclose(weights, np.array(counts) / 20)
    assert np.allclose(means, colors)


def test_the_first_split_by_hand() -> None:
    """Along red alone, at the mean of 0, 0, 0, 0, 100, 200: 50; then at the mean of 100 and 200, then no more."""
    weights, means, _ = _model([(0, 0, 0)] * 4 + [(100, 0, 0), (200, 0, 0)])
    assert np.allclose(weights, [4 / 6, 1 / 6, 1 / 6, 0, 0])
    assert sorted(means[:3, 0].tolist()) == [0, 100, 200]


@given(arrays(np.uint8, st.tuples(st.integers(5, 60), st.just(3))))
def test_moments(colors: NDArray[np.uint8]) -> None:
    """The clusters part the pixels, so that they keep the mean and, but for the white noise, the second moment."""
    weights, means, covariances = _model([tuple(color) for color in colors])
    pixels = colors.astype(np.float64)
    assert weights.sum() == pytest.approx(1)
    assert np.allclose(weights @ means, pixels.mean(axis=0))
    second = np.tensordot(weights, covariances + means[:, :, None] * means[:, None, :], axes=1)
    excess = second - pixels.T @ pixels / len(pixels)
    assert np.allclose(excess, np.diag(np.diag(excess)), atol=1e-6)
    assert (np.diag(excess) > -1e-6).all()
    assert (np.diag(excess) < 0.01 + 1e-6).all()
    # OpenCV refuses a covariance without an inverse.
    assert all(np.linalg.det(own) > 1e-7 for own, weight in zip(covariances, weights, strict=True) if weight)


def test_each_model_is_of_its_own_pixels() -> None:
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    foreground = generator.random((20, 30)) < 0.3
    before = fit_color_models(image, foreground)
    image[foreground] = 255 - image[foreground]
    after = fit_color_models(image, foreground)
    assert np.array_equal(before[0], after[0])
    assert not np.array_equal(before[1], after[1])


@pytest.mark.parametrize(("count", "name"), [(4, "foreground"), (56, "background")])
def test_too_few_pixels(count: int, name: str) -> None:
    with pytest.raises(ItemError, match=f"4 {name} seeds"):
        fit_color_models(np.zeros((60, 3), dtype=np.uint8), np.arange(60) < count)


def test_the_likelihood_of_one_gaussian() -> None:
    pixels = np.random.default_rng(0).normal(100, 20, (4000, 3)).astype(np.uint8)
    model = np.zeros((1, 65))
    model[0, 0], model[0, 5:8], model[0, 20:29] = 1, pixels.mean(axis=0), np.cov(pixels.T, bias=True).reshape(-1)
    away = pixels[:3] - pixels.mean(axis=0)
    covariance = np.cov(pixels.T, bias=True)
    expected = [-0.5 * np.log(np.linalg.det(covariance)) - 0.5 * d @ np.linalg.inv(covariance) @ d for d in away]
    assert np.allclose(log_likelihood(pixels[:3].astype(np.float64), model), expected)
