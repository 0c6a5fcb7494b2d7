import itertools

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wsloc.classifiers import Scorer, make_scorer
from wsloc.saliency import PairBatch
from wsloc.saliency.rise import rise


class OfOnePixel(nn.Module):
    """Logits of two outputs: ``a`` times the pixel of row 2, column 3 less ``b``; its negative. Keeps what it sees."""

    def __init__(self, a: float = 4.0, b: float = 0.0) -> None:
        super().__init__()
        self.a, self.b = a, b
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(images.detach().clone())
        pixel = images[:, 0, 2, 3] - self.b
        return self.a * torch.stack([pixel, -pixel], dim=1)


def _each(network: nn.Module, count: int = 2, activation: str = "softmax") -> Scorer:
    return make_scorer(network, [[output] for output in range(count)], activation)  # type: ignore[arg-type]


def _pairs(images: Tensor, image_index: list[int], classes: list[int]) -> PairBatch:
    return PairBatch(images, torch.tensor(image_index, dtype=torch.int64), torch.tensor(classes, dtype=torch.int64))


def _masks(size_hw: tuple[int, int], **settings: object) -> Tensor:
    """The masks ``(n, H, W)``: what is left of an image of ones."""
    network = OfOnePixel()
    rise(_each(network), _pairs(torch.ones(1, 1, *size_hw), [0], [0]), **settings)  # type: ignore[arg-type]
    # The last pass is that of the whole image.
    assert torch.equal(network.seen[-1], torch.ones(1, 1, *size_hw))
    return torch.cat(network.seen[:-1])[:, 0]


@pytest.mark.parametrize("fraction", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("size_hw", [(14, 20), (15, 9)])
def test_masks_lie_between_0_and_1_and_keep_their_share(size_hw: tuple[int, int], fraction: float) -> None:
    masks = _masks(size_hw, masks=1500, grid=3, fraction=fraction)
    assert masks.shape == (1500, *size_hw)
    assert 0 <= masks.min() < 0.05
    assert 0.95 < masks.max() <= 1 + 1e-6
    assert float(masks.mean()) == pytest.approx(fraction, abs=0.02)
    # No part of the image is kept more often than another.
    assert (masks.mean(dim=0) - fraction).abs().max() < 0.06


def _bilinear(cells: int, size: int) -> NDArray[np.float64]:
    """Weights ``(size, cells)`` with which a row of cells is enlarged; the centers of the outer cells are its ends."""
    centers = (np.arange(size) + 0.5) * cells / size - 0.5
    return np.stack([np.interp(centers, np.arange(cells), unit) for unit in np.eye(cells)], axis=1)


def test_a_mask_is_an_enlarged_grid_of_zeros_and_ones_shifted_by_less_than_a_cell() -> None:
    """As in section 3.2: 2 x 2 cells enlarged to 12 x 9 pixels, of which 8 x 6 are cut out."""
    rows, columns = _bilinear(2, 12), _bilinear(2, 9)
    masks = _masks((8, 6), masks=300, grid=2, fraction=0.5).double().numpy()
    shifts = set()
    for mask in masks:
        fitting = {
            (top, left)
            for top, left in itertools.product(range(4), range(3))
            if _is_of_zeros_and_ones(mask, rows[top : top + 8], columns[left : left + 6])
        }
        assert fitting
        if len(fitting) == 1:
            shifts |= fitting
    assert shifts == set(itertools.product(range(4), range(3)))


def _is_of_zeros_and_ones(mask: NDArray[np.float64], rows: NDArray[np.float64], columns: NDArray[np.float64]) -> bool:
    cells = np.linalg.pinv(rows) @ mask @ np.linalg.pinv(columns).T
    return bool(np.allclose(rows @ np.round(cells).clip(0, 1) @ columns.T, mask, atol=1e-5))


def test_the_same_masks_for_all_images() -> None:
    network = OfOnePixel()
    images = torch.stack([torch.full((1, 6, 8), value) for value in (1.0, 2.0, 4.0)])
    rise(_each(network), _pairs(images, [2, 0, 1], [0, 1, 0]), masks=70, grid=3)
    of_image = torch.cat(network.seen[:-1]).reshape(3, 70, 6, 8)
    for seen, value in zip(of_image, (1, 2, 4), strict=True):
        assert torch.equal(seen / value, of_image[0])
    assert {len(seen) for seen in network.seen} == {3}


def test_the_seed_decides() -> None:
    first, again, other = (_masks((8, 8), masks=20, grid=2, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    torch.manual_seed(4)
    expected = torch.rand(3)
    torch.manual_seed(4)
    _masks((8, 8), masks=5)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("masks", [1, 64, 130])
def test_the_masks_are_weighted_by_the_probability_under_each(activation: str, masks: int) -> None:
    images = torch.stack([torch.full((1, 6, 8), value) for value in (1.0, -0.5)])
    network = OfOnePixel()
    scorer = _each(network, activation=activation)
    found = rise(scorer, _pairs(images, [1, 0, 1], [0, 1, 1]), masks=masks, grid=3, fraction=0.25, seed=7)
    drawn = _masks((6, 8), masks=masks, grid=3, fraction=0.25, seed=7).double()
    for row, (value, sign) in zip(found.maps, [(-0.5, 1), (1.0, -1), (-0.5, -1)], strict=True):
        logit = 4 * value * sign * drawn[:, 2, 3]
        # Two outputs of opposite sign: their softmax is the sigmoid of the difference.
        probability = (2 * logit if activation == "softmax" else logit).sigmoid()
        expected = (probability[:, None, None] * drawn).sum(dim=0) / (masks * 0.25)
        assert torch.allclose(row.double(), expected, rtol=1e-5, atol=1e-6)
    assert torch.allclose(found.logits, torch.tensor([[4.0, -4.0], [-2.0, 2.0]]))


def test_the_expectation_on_a_network_of_one_pixel() -> None:
    """Where the pixel decides: more than the mean near it, the mean far from it, where other cells are drawn."""
    image = torch.ones(1, 1, 24, 24)
    found = rise(_each(OfOnePixel(30.0, 0.5)), _pairs(image, [0, 0], [0, 1]), masks=3000, grid=6).maps
    # Far from the pixel, E[p m] / share = E[p].
    far = found[:, 12:, 12:]
    assert found[0, 2, 3] > 1.3 * far[0].mean()
    assert found[1, 2, 3] < 0.5 * far[1].mean()
    assert far[0].std() < 0.05 * far[0].mean()
    # p of the two classes add up to one, and the mean of the masks over the fraction is one.
    assert float(found.sum(dim=0).mean()) == pytest.approx(1, abs=0.02)


def test_a_network_that_does_not_look_has_a_flat_map() -> None:
    found = rise(_each(OfOnePixel(0.0)), _pairs(torch.ones(1, 1, 12, 12), [0], [0]), masks=3000, grid=3).maps
    assert torch.allclose(found, torch.full_like(found, 0.5), atol=0.03)


def test_pairs_of_a_batch_are_what_they_are_alone_and_share_their_passes() -> None:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 4)).eval()
    images = torch.randn(3, 3, 10, 13)
    image_index, classes = [2, 0, 2, 2], [3, 1, 1, 0]
    rows: list[int] = []
    body.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    scorer = _each(body, 4)
    together = rise(scorer, _pairs(images, image_index, classes), masks=30, grid=3).maps
    assert rows == [3] * (2 * 30 // 3 + 1)
    for row, image, of_class in zip(together, image_index, classes, strict=True):
        alone = rise(scorer, _pairs(images[image : image + 1], [0], [of_class]), masks=30, grid=3).maps[0]
        assert torch.allclose(row, alone, rtol=0, atol=1e-5 * float(alone.max()))


def test_more_cells_than_pixels() -> None:
    masks = _masks((5, 6), masks=50, grid=9)
    assert masks.shape == (50, 5, 6)
    assert masks.amin() >= 0
    assert masks.amax() <= 1
    assert len(masks.unique(dim=0)) == 50


def test_no_pairs() -> None:
    answer = rise(_each(OfOnePixel()), _pairs(torch.ones(2, 1, 6, 8), [], []), masks=3)
    assert answer.maps.shape == (0, 6, 8)
    assert answer.logits.shape == (2, 2)
