from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from wsloc.classifiers import Scorer, make_scorer
from wsloc.saliency import Attribution, PairBatch
from wsloc.saliency.gradient import gradient, gradient_squared
from wsloc.saliency.smoothgrad import smoothgrad, smoothgrad_squared

Method = Callable[..., Attribution]
BOTH = pytest.mark.parametrize("method", [smoothgrad, smoothgrad_squared])


class HalfOfSquares(nn.Module):
    """Output 0 is half of the sum of the squares, so that its gradient is the image itself; output 1 is thrice that."""

    def forward(self, images: Tensor) -> Tensor:
        squares = images.square().flatten(start_dim=1).sum(dim=1, keepdim=True) / 2
        return torch.cat([squares, 3 * squares], dim=1)


class Counted(nn.Module):
    """Notes how many images each forward pass holds."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.rows: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.rows.append(len(images))
        return self.network(images)


def _network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(32, 4),
    )  # fmt: skip


def _each(network: nn.Module, count: int) -> Scorer:
    return make_scorer(network, [[output] for output in range(count)])


def _images(count: int = 3) -> Tensor:
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def _pairs(images: Tensor, image_index: list[int], classes: list[int], seeds: tuple[int, ...] = ()) -> PairBatch:
    index, of_class = torch.tensor(image_index, dtype=torch.int64), torch.tensor(classes, dtype=torch.int64)
    return PairBatch(images, index, of_class, seeds)


@pytest.mark.parametrize(("method", "plain"), [(smoothgrad, gradient), (smoothgrad_squared, gradient_squared)])
def test_the_gradient_of_a_linear_network_has_no_noise(method: Method, plain: Method) -> None:
    torch.manual_seed(0)
    scorer = _each(nn.Sequential(nn.Flatten(), nn.Linear(192, 4)), 4)
    batch = _pairs(_images(), [2, 0, 2, 1], [0, 1, 2, 3], (5, 6, 7, 8))
    expected = plain(scorer, batch)
    for samples in (1, 4):
        found = method(scorer, batch, samples=samples, noise=0.7)
        assert torch.allclose(found.maps, expected.maps, rtol=1e-6)
        assert torch.allclose(found.logits, expected.logits)


@pytest.mark.parametrize(
    ("image", "noise", "expected"),
    [
        # The range of the values is 4, the noise 0.5 of it.
        ([[[1.0, 4.0], [0.0, 2.0]]], 0.5, 2.0),
        # Over both channels: from -1 to 3.
        ([[[3.0, 3.0], [3.0, 3.0]], [[-1.0, -1.0], [-1.0, -1.0]]], 0.25, 1.0),
        ([[[7.0, 7.0], [7.0, 7.0]]], 0.5, 0.0),
    ],
)
def test_the_noise_is_a_share_of_the_range_of_the_image(image: list[object], noise: float, expected: float) -> None:
    images = torch.tensor(image)[None]
    batch = _pairs(images, [0], [0], (11,))
    # The gradient is I + e, of one sample; e is 0 or normal with the expected deviation.
    generator = torch.Generator().manual_seed(11)
    noisy = images[0] + expected * torch.randn(images.shape[1:], generator=generator)
    found = smoothgrad(_each(HalfOfSquares(), 2), batch, samples=1, noise=noise).maps[0]
    assert torch.allclose(found, noisy.abs().amax(dim=0), rtol=1e-5)
    squared = smoothgrad_squared(_each(HalfOfSquares(), 2), batch, samples=1, noise=noise).maps[0]
    assert torch.allclose(squared, noisy.square().sum(dim=0), rtol=1e-5)


def test_the_mean_is_taken_before_the_magnitude_and_of_the_squares() -> None:
    """Where the gradient is pure noise, many samples leave nothing of its mean, but the variance of its square."""
    images = torch.zeros(1, 1, 64, 64)
    images[0, 0, 0] = 10.0
    scorer, batch = _each(HalfOfSquares(), 2), _pairs(images, [0], [0], (3,))
    mean = smoothgrad(scorer, batch, samples=100, noise=0.2).maps[0, 1:]
    squares = smoothgrad_squared(scorer, batch, samples=100, noise=0.2).maps[0, 1:]
    # |normal| of deviation 2 / sqrt(100) has the mean 0.2 sqrt(2 / pi); the squares have the mean 2^2.
    assert float(mean.mean()) == pytest.approx(0.1596, rel=0.03)
    assert float(squares.mean()) == pytest.approx(4, rel=0.01)


@BOTH
def test_the_definition_on_a_network_with_relus(method: Method) -> None:
    network, images = _network().eval(), _images()
    pairs = [(1, 2, 21), (0, 3, 22), (1, 0, 23)]
    total = [torch.zeros(3, 8, 8) for _ in pairs]
    for row, (image, of_class, seed) in enumerate(pairs):
        generator = torch.Generator().manual_seed(seed)
        deviation = 0.3 * (images[image].max() - images[image].min())
        for _ in range(5):
            noisy = (images[image] + deviation * torch.randn(3, 8, 8, generator=generator)).requires_grad_(True)
            (w,) = torch.autograd.grad(network(noisy[None])[0, of_class], noisy)
            total[row] += w if method is smoothgrad else w**2
    over_channels = [(t / 5).abs().amax(dim=0) if method is smoothgrad else (t / 5).sum(dim=0) for t in total]
    batch = _pairs(images, [1, 0, 1], [2, 3, 0], (21, 22, 23))
    found = method(_each(network, 4), batch, samples=5, noise=0.3)
    assert torch.allclose(found.maps, torch.stack(over_channels), rtol=1e-4, atol=1e-6)
    # Not those of the last noisy images.
    assert torch.allclose(found.logits, network(images), atol=1e-6)


@BOTH
def test_pairs_of_a_batch_are_what_they_are_alone(method: Method) -> None:
    """More pairs than images, four of one image, one image that nobody asks for, in no order."""
    scorer, images = _each(_network(), 4), _images()
    image_index, classes, seeds = [2, 0, 2, 2, 0, 2], [3, 1, 1, 0, 1, 3], (9, 8, 7, 6, 5, 9)
    together = method(scorer, _pairs(images, image_index, classes, seeds), samples=3).maps
    for row, image, of_class, seed in zip(together, image_index, classes, seeds, strict=True):
        own = _pairs(images[image : image + 1], [0], [of_class], (seed,))
        alone = method(scorer, own, samples=3).maps[0]
        assert alone.max() > 0
        assert torch.allclose(row, alone, rtol=0, atol=1e-5 * float(alone.max()))
    # The same image, class and seed; the same image and class with another seed.
    assert torch.equal(together[0], together[5])
    assert (together[1] - together[4]).abs().max() > 0.01 * together[1].max()


@BOTH
def test_the_seed_decides(method: Method) -> None:
    scorer, images = _each(_network(), 4), _images(1)

    def maps(*seeds: int) -> Tensor:
        return method(scorer, _pairs(images, [0], [1], seeds), samples=2).maps[0]

    assert torch.equal(maps(2**31 - 1), maps(2**31 - 1))
    assert (maps(1) - maps(2)).abs().max() > 0.01 * maps(1).max()
    assert torch.equal(maps(), maps(0))


def test_the_run_of_random_numbers_outside_is_left_alone() -> None:
    torch.manual_seed(4)
    expected = torch.rand(3)
    torch.manual_seed(4)
    smoothgrad(_each(HalfOfSquares(), 2), _pairs(_images(), [0], [1], (1,)), samples=2)
    assert torch.equal(torch.rand(3), expected)


@BOTH
def test_no_pass_holds_more_or_fewer_images_than_the_batch(method: Method) -> None:
    counted = Counted(_network())
    batch = _pairs(_images(3), [0, 0, 1, 0], [0, 1, 2, 3], (1, 2, 3, 4))
    method(_each(counted, 4), batch, samples=2)
    # Four pairs take two groups of three rows for each sample, and one pass for the logits.
    assert counted.rows == [3] * (2 * 2 + 1)


@BOTH
def test_no_pairs(method: Method) -> None:
    answer = method(_each(_network(), 4), _pairs(_images(), [], []), samples=2)
    assert answer.maps.shape == (0, 8, 8)
    assert answer.logits.shape == (3, 4)
