import pytest
import torch
from torch import Tensor, nn

from wsloc.classifiers import Scorer, make_scorer
from wsloc.saliency import PairBatch
from wsloc.saliency.gradient import gradient_x_input
from wsloc.saliency.integrated_gradients import integrated_gradients


class SumOfPowers(nn.Module):
    """Output k is the sum of the (k + 1)-th powers of all values."""

    def forward(self, images: Tensor) -> Tensor:
        flat = images.flatten(start_dim=1)
        return torch.stack([(flat**power).sum(dim=1) for power in (1, 2, 3)], dim=1)


def _each(network: nn.Module, count: int) -> Scorer:
    return make_scorer(network, [[output] for output in range(count)])


def _pairs(images: Tensor, image_index: list[int], classes: list[int]) -> PairBatch:
    return PairBatch(images, torch.tensor(image_index, dtype=torch.int64), torch.tensor(classes, dtype=torch.int64))


def _network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 5)
    ).eval()


@pytest.mark.parametrize("steps", [1, 5, 32])
def test_gradient_x_input_of_a_linear_network(steps: int) -> None:
    torch.manual_seed(0)
    scorer = _each(nn.Sequential(nn.Flatten(), nn.Linear(60, 4)), 4)
    batch = _pairs(torch.randn(2, 3, 4, 5), [1, 0, 1], [0, 1, 3])
    found = integrated_gradients(scorer, batch, steps=steps)
    expected = gradient_x_input(scorer, batch)
    assert torch.allclose(found.maps, expected.maps, rtol=1e-5, atol=1e-6)
    assert torch.allclose(found.logits, expected.logits)


@pytest.mark.parametrize(
    ("steps", "cubic"),
    [
        # 3 x^2 t^2 is averaged over t = 1/2; over 1/4 and 3/4; over 1/8, 3/8, 5/8, 7/8.
        (1, 3 / 4),
        (2, 3 * (1 + 9) / 16 / 2),
        (4, 3 * (1 + 9 + 25 + 49) / 64 / 4),
    ],
)
def test_powers_by_hand(steps: int, cubic: float) -> None:
    image = torch.tensor([[[[1.0, -2.0], [0.0, 3.0]]]])
    found = integrated_gradients(_each(SumOfPowers(), 3), _pairs(image, [0, 0, 0], [0, 1, 2]), steps=steps).maps
    assert torch.allclose(found[0], image[0, 0].abs())
    # The midpoints make squares exact: 2 t x x averages to x^2.
    assert torch.allclose(found[1], image[0, 0] ** 2)
    assert torch.allclose(found[2], cubic * (image[0, 0] ** 3).abs())


def test_channels_are_summed_before_the_magnitude() -> None:
    image = torch.tensor([[[[2.0]], [[-3.0]]]])
    found = integrated_gradients(_each(SumOfPowers(), 3), _pairs(image, [0, 0], [0, 1]), steps=4).maps
    assert found.flatten().tolist() == pytest.approx([abs(2 - 3), 4 + 9])


def test_a_gray_network_shares_out_the_whole_score() -> None:
    """Completeness (proposition 1 of the paper): all contributions add up to S(I) - S(0), here none is negative."""
    torch.manual_seed(1)
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.Softplus(), nn.Conv2d(4, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 2)
    ).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_()
        images = torch.rand(2, 1, 8, 8)
        rise = network(images) - network(torch.zeros_like(images))
    found = integrated_gradients(_each(network, 2), _pairs(images, [0, 0, 1], [0, 1, 1]), steps=32)
    totals = found.maps.sum(dim=(1, 2))
    assert torch.allclose(totals, torch.stack([rise[0, 0], rise[0, 1], rise[1, 1]]), rtol=1e-3)


@pytest.mark.parametrize("steps", [3, 20])
def test_the_same_as_captum(steps: int) -> None:
    captum_attr = pytest.importorskip("captum.attr")
    network = _network()
    images = torch.randn(3, 3, 14, 14, generator=torch.Generator().manual_seed(2))
    image_index, classes = [2, 0, 2, 1], [4, 1, 0, 4]
    found = integrated_gradients(_each(network, 5), _pairs(images, image_index, classes), steps=steps)
    reference = captum_attr.IntegratedGradients(network)
    for ours, image, of_class in zip(found.maps, image_index, classes, strict=True):
        theirs = reference.attribute(
            images[image : image + 1], target=of_class, n_steps=steps, method="riemann_middle"
        )[0]
        theirs = theirs.sum(dim=0).abs()
        assert theirs.max() > 0
        assert torch.allclose(ours, theirs.float(), rtol=0, atol=1e-5 * float(theirs.max()))
    assert torch.allclose(found.logits, network(images), atol=1e-6)


def test_pairs_of_a_batch_are_what_they_are_alone() -> None:
    scorer, images = _each(_network(), 5), torch.randn(3, 3, 14, 14, generator=torch.Generator().manual_seed(3))
    image_index, classes = [2, 0, 2, 2], [3, 1, 1, 3]
    together = integrated_gradients(scorer, _pairs(images, image_index, classes), steps=4).maps
    for row, image, of_class in zip(together, image_index, classes, strict=True):
        alone = integrated_gradients(scorer, _pairs(images[image : image + 1], [0], [of_class]), steps=4).maps[0]
        assert torch.allclose(row, alone, rtol=0, atol=1e-5 * float(alone.max()))
    assert torch.equal(together[0], together[3])


def test_no_pairs() -> None:
    answer = integrated_gradients(_each(_network(), 5), _pairs(torch.ones(2, 3, 14, 14), [], []), steps=2)
    assert answer.maps.shape == (0, 14, 14)
    assert answer.logits.shape == (2, 5)
