"""Insertion and deletion by hand, and against a slow transcription of the published loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.integrate import trapezoid
from scipy.ndimage import gaussian_filter
from torch import Tensor

from wsloc.evaluation.insertion_deletion import area_under, blurred, causal_curves


def _mean(images: Tensor) -> Tensor:
    return images.mean(dim=(1, 2, 3))


def test_deletion_by_hand() -> None:
    # Four pixels of value 1, 2, 3 and 4; the map takes them in the order 4, 1, 3, 2, one at a time.
    image = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    curves = causal_curves(_mean, image, np.array([[0.8, 0.1], [0.5, 0.9]]), pixels_per_step=1)
    assert curves.deletion.tolist() == [2.5, 1.5, 1.25, 0.5, 0]
    assert curves.deletion_auc == (2.5 / 2 + 1.5 + 1.25 + 0.5) / 4
    assert causal_curves(_mean, image, np.array([[0.8, 0.1], [0.5, 0.9]])).deletion.tolist() == [2.5, 1.25, 0]
    assert causal_curves(_mean, image, np.zeros((2, 2)), 3).deletion.tolist() == [2.5, 1.0, 0]  # in reading order


def test_of_equal_values_the_first_in_reading_order() -> None:
    image = torch.arange(400.0).reshape(1, 20, 20)
    saliency = np.random.default_rng(0).integers(0, 3, (20, 20)).astype(np.float32)
    deleted = -np.diff(causal_curves(_mean, image, saliency, pixels_per_step=1).deletion) * 400
    assert np.round(deleted).tolist() == [n for value in (2, 1, 0) for n in np.flatnonzero(saliency == value)]


def test_undecided_pixels_go_last() -> None:
    image = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    curves = causal_curves(_mean, image, np.array([[np.nan, -1.0], [0.0, np.inf]]), pixels_per_step=1)
    assert curves.deletion.tolist() == [2.5, 1.75, 1.25, 1.0, 0]


def test_insertion_begins_blurred_and_ends_with_the_image() -> None:
    image = torch.rand(3, 20, 30, generator=torch.Generator().manual_seed(0))
    curves = causal_curves(_mean, image, np.random.default_rng(0).random((20, 30)))
    assert curves.insertion.shape == curves.deletion.shape == (21,)
    assert curves.insertion[0] == pytest.approx(blurred(image).mean().item())
    assert curves.insertion[-1] == curves.deletion[0] == pytest.approx(image.mean().item())
    assert curves.deletion[-1] == 0


def test_the_blur_is_that_of_the_published_kernel() -> None:
    dirac = np.zeros((11, 11))
    dirac[5, 5] = 1
    point = torch.zeros(2, 31, 31, dtype=torch.float64)
    point[1, 15, 15] = 1
    made = blurred(point).numpy()
    assert np.allclose(made[1, 10:21, 10:21], gaussian_filter(dirac, 5), rtol=0, atol=1e-15)
    assert made[1].sum() == pytest.approx(1, abs=1e-12)
    assert not made[0].any()
    assert not made[1, :10].any()
    # Beyond the border there is nothing: a white image is darker there.
    white = blurred(torch.ones(1, 31, 31, dtype=torch.float64))[0]
    assert white[15, 15] == pytest.approx(1)
    assert white[0, 15] < 0.7


@pytest.mark.parametrize(("seed", "step"), [(0, 24), (1, 7), (2, 1000)])
@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_against_the_published_loop(seed: int, step: int, batch_size: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(3, 12, 24, generator=generator)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.LazyLinear(5), torch.nn.Softmax(1)
    )
    with torch.no_grad():
        network(image[None])
    saliency = np.random.default_rng(seed).permutation(12 * 24).reshape(12, 24).astype(np.float32)
    asked = []

    def probability(images: Tensor) -> Tensor:
        asked.append(len(images))
        return network(images)[:, 2]

    curves = causal_curves(probability, image, saliency, step, batch_size)
    assert max(asked) <= batch_size
    order = np.argsort(saliency.ravel())[::-1]
    for begun, finish, curve in (
        (blurred(image), image, curves.insertion),
        (image, torch.zeros_like(image), curves.deletion),
    ):
        now, expected = begun.clone(), []
        for i in range(-(-12 * 24 // step) + 1):
            with torch.no_grad():
                expected.append(float(network(now[None])[0, 2]))
            pixels = order[step * i : step * (i + 1)]
            now.view(3, -1)[:, pixels.copy()] = finish.reshape(3, -1)[:, pixels.copy()]
        assert curve == pytest.approx(expected, abs=1e-6)


def test_the_area_is_trapezoidal() -> None:
    values = np.random.default_rng(0).random(9)
    assert area_under(values) == pytest.approx(trapezoid(values, dx=1 / 8), abs=1e-15)
    assert area_under(np.array([1.0, 1.0])) == 1


def test_any_positive_scale_and_any_offset_keep_the_order() -> None:
    image = torch.rand(1, 6, 6, generator=torch.Generator().manual_seed(0))
    saliency = np.random.default_rng(0).permutation(36).reshape(6, 6).astype(np.float32)
    before, after = (causal_curves(_mean, image, m) for m in (saliency, saliency * 7 - 40))
    assert np.array_equal(before.insertion, after.insertion)
    assert np.array_equal(before.deletion, after.deletion)


def test_the_image_stays_as_it_was_and_no_graph_is_kept() -> None:
    image = torch.rand(1, 6, 6, generator=torch.Generator().manual_seed(0)).requires_grad_()
    kept = image.detach().clone()
    curves = causal_curves(_mean, image, np.zeros((6, 6)))
    assert torch.equal(image, kept)
    assert image.grad is None
    assert curves.deletion[-1] == 0


def test_a_map_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(6, 6\), not \(3, 3\)"):
        causal_curves(_mean, torch.zeros(1, 6, 6), np.zeros((3, 3)))
