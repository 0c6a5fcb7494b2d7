"""Gradient ascent on ``S_c - lambda ||I||^2``, by hand where it can be."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from wsloc.classifiers import Preprocessing, Scorer, UnitActivity, load_classifier, make_scorer
from wsloc.config import ClassifierSettings
from wsloc.errors import UserError
from wsloc.saliency.blur import gaussian_blur
from wsloc.saliency.class_model import NOISE, AscentStep, ascend, noise_start, picture


class _Product(nn.Module):
    """S = x0 * x1, whose gradient (x1, x0) turns on the way."""

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(start_dim=1).prod(dim=1, keepdim=True)


def _linear(weights: list[list[float]]) -> Scorer:
    network = nn.Sequential(nn.Flatten(), nn.Linear(len(weights[0]), len(weights), bias=False))
    with torch.no_grad():
        network[1].weight.copy_(torch.tensor(weights))
    return make_scorer(network, [[output] for output in range(len(weights))])


def _row(*values: float) -> Tensor:
    """An image of one channel and one row."""
    return torch.tensor(values, dtype=torch.float32).reshape(1, 1, -1)


def _convolutional(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, padding_mode="circular"),
        nn.ReLU(),
        nn.Conv2d(8, 4, 3, padding=1, padding_mode="circular"),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 3),
    )


def _last(steps: list[AscentStep]) -> Tensor:
    return steps[-1].image


def test_one_step_by_hand() -> None:
    # w = (3, -4) of root mean square 5 / sqrt(2); from zero the penalty has no gradient.
    steps = list(ascend(_linear([[9.0, 9.0], [3.0, -4.0]]), 1, _row(0, 0), steps=1, learning_rate=0.5, penalty=0.1))
    assert [step.number for step in steps] == [0, 1]
    assert steps[0].image.tolist() == [[[0, 0]]]
    assert (steps[0].score, steps[0].objective) == (0, 0)
    root = math.sqrt(2)
    torch.testing.assert_close(steps[1].image, _row(0.3 * root, -0.4 * root))
    assert steps[1].score == pytest.approx(2.5 * root)
    assert steps[1].objective == pytest.approx(2.5 * root - 0.1 * 0.5)
    assert not steps[1].before_last_relu


def test_the_penalty_by_hand() -> None:
    # (3, -4) - 2 * 0.5 * (1, 0) = (2, -4), of root mean square sqrt(10).
    scorer = _linear([[3.0, -4.0]])
    steps = list(ascend(scorer, 0, _row(1, 0), steps=1, learning_rate=0.1 * math.sqrt(10), penalty=0.5))
    assert steps[0].objective == pytest.approx(3 - 0.5)
    torch.testing.assert_close(steps[1].image, _row(1.2, -0.4))


def test_momentum_and_the_falling_rate_by_hand() -> None:
    # First (2, 1), of root mean square sqrt(2.5), at the full rate: (1, 2) -> (3, 3). Then 0.9 (2, 1) + (3, 3) at half.
    scorer = make_scorer(_Product(), [[0]])
    steps = list(ascend(scorer, 0, _row(1, 2), steps=2, learning_rate=math.sqrt(2.5), penalty=0))
    torch.testing.assert_close(steps[1].image, _row(3, 3))
    far = 0.5 * math.sqrt(2.5) / math.sqrt((4.8**2 + 3.9**2) / 2)
    torch.testing.assert_close(steps[2].image, _row(3 + 4.8 * far, 3 + 3.9 * far))


@pytest.mark.parametrize("start", [(0.0, 0.0, 0.0), (10.0, -2.0, 3.0)])
@pytest.mark.parametrize("penalty", [0.1, 2.0])
def test_a_linear_score_ends_at_its_optimum(start: tuple[float, ...], penalty: float) -> None:
    """The maximum of ``w I - lambda ||I||^2`` lies at ``w / (2 lambda)`` and is ``||w||^2 / (4 lambda)``."""
    w = [3.0, -4.0, 0.5]
    steps = list(ascend(_linear([w]), 0, _row(*start), steps=600, learning_rate=0.1, penalty=penalty))
    torch.testing.assert_close(_last(steps), _row(*w) / (2 * penalty), atol=0.01, rtol=0)
    assert steps[-1].objective == pytest.approx(sum(value**2 for value in w) / (4 * penalty), rel=1e-4)


def test_a_step_at_the_optimum_stays() -> None:
    steps = list(ascend(_linear([[3.0, -4.0]]), 0, _row(1.5, -2.0), steps=1, penalty=1.0))
    assert _last(steps).tolist() == [[[1.5, -2.0]]]


def test_the_size_of_the_score_does_not_matter() -> None:
    images = [
        _last(list(ascend(_linear([[3.0 * size, -4.0 * size]]), 0, _row(0, 0), steps=5, penalty=0)))
        for size in (1, 1000)
    ]
    torch.testing.assert_close(*images)


ReluForm = Callable[[Tensor], Tensor]


class _EndsInRelu(nn.Module):
    """1 x 1 convolutions to (1 + x, -1 + x), rectified, then to (-3, 5) and (3, 5), rectified and pooled."""

    def __init__(self, relu: ReluForm) -> None:
        super().__init__()
        self.below = nn.Conv2d(1, 2, 1)
        self.above = nn.Conv2d(2, 2, 1, bias=False)
        self.relu = relu
        with torch.no_grad():
            self.below.weight.fill_(1)
            self.below.bias.copy_(torch.tensor([1.0, -1.0]))
            self.above.weight.copy_(torch.tensor([[-3.0, 5.0], [3.0, 5.0]]).reshape(2, 2, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return self.relu(self.above(self.relu(self.below(images)))).mean(dim=(2, 3))


RELUS = pytest.mark.parametrize(
    "relu",
    [
        nn.ReLU(),
        nn.ReLU(inplace=True),
        F.relu,
        lambda tensor: F.relu(tensor, inplace=True),
        lambda tensor: F.relu(input=tensor),
        F.relu_,
        torch.relu,
        torch.relu_,
        Tensor.relu,
        Tensor.relu_,
    ],
    ids=["module", "in place", "F", "F in place", "F by name", "F_", "torch", "torch_", "method", "method_"],
)


@RELUS
def test_a_class_without_a_gradient_is_asked_before_its_last_relu(relu: ReluForm) -> None:
    scorer = make_scorer(_EndsInRelu(relu), [[0], [1]])
    start = torch.zeros(1, 2, 3)
    steps = list(ascend(scorer, 0, start, steps=1, learning_rate=0.1, penalty=0))
    # The first rectifier stays: relu(1, -1) = (1, 0), which makes -3; without it -8.
    assert [step.before_last_relu for step in steps] == [True, True]
    assert steps[0].score == pytest.approx(-3)
    # Only the first channel has a gradient, -3 / 6 a pixel: downhill in x, all pixels alike.
    torch.testing.assert_close(steps[1].image, torch.full((1, 2, 3), -0.1))
    assert steps[1].score == pytest.approx(-2.7)
    other = next(ascend(scorer, 1, start))
    assert (other.before_last_relu, other.score) == (False, 3)


@RELUS
def test_of_a_unit_it_is_the_last_relu_below_it(relu: ReluForm) -> None:
    """The network runs on above the unit's layer, and rectifies there once more."""

    class Rectifier(nn.Module):
        def forward(self, features: Tensor) -> Tensor:
            return relu(features)

    network = nn.Sequential(_EndsInRelu(relu).below, Rectifier(), nn.Conv2d(2, 2, 1), nn.ReLU())
    first = next(ascend(make_scorer(UnitActivity(network, "1", (1,)), [[0]]), 0, torch.zeros(1, 2, 3)))
    assert first.before_last_relu
    assert first.score == -1


def test_a_score_that_is_flat_before_its_last_relu_too_is_refused() -> None:
    network = _EndsInRelu(F.relu)
    with torch.no_grad():
        network.below.bias.fill_(-1)
    with pytest.raises(UserError, match=r"zero everywhere .*, even before the last ReLU; use another `start`"):
        next(ascend(make_scorer(network, [[0]]), 0, torch.zeros(1, 2, 3)))
    # Elsewhere it is not flat.
    assert not next(ascend(make_scorer(network, [[1]]), 0, torch.full((1, 2, 3), 5.0))).before_last_relu


def test_a_flat_score_without_any_relu_is_refused() -> None:
    with pytest.raises(UserError, match="zero everywhere in the image to start from; use another `start`"):
        next(ascend(_linear([[0.0, 0.0]]), 0, _row(1, 2)))


def test_a_score_that_is_not_finite_is_refused() -> None:
    scorer = _linear([[float("nan"), 1.0]])
    with pytest.raises(UserError, match="The score is nan after 0 steps; use a smaller `learning_rate`"):
        next(ascend(scorer, 0, _row(1, 2)))


def test_the_network_is_as_it_was_while_the_ascent_waits() -> None:
    network = _EndsInRelu(nn.ReLU())
    next(ascend(make_scorer(network, [[0]]), 0, torch.zeros(1, 2, 3)))
    assert all(module.training for module in network.modules())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in network.parameters())
    assert network(torch.zeros(1, 1, 2, 3)).tolist() == [[0, 3]]


def test_the_same_seed_gives_the_same_image() -> None:
    torch.manual_seed(0)
    scorer = make_scorer(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 8 * 6, 2)), [[0]])
    start = torch.zeros(3, 10, 8)

    def of(seed: int, jitter: int = 3) -> Tensor:
        return _last(list(ascend(scorer, 0, start, steps=8, penalty=0.1, jitter=jitter, blur=0.5, seed=seed)))

    assert torch.equal(of(1), of(1))
    assert not torch.equal(of(1), of(2))
    assert torch.equal(of(1, jitter=0), of(2, jitter=0))
    assert of(1).shape == start.shape


def test_jitter_shifts_the_gradient_back() -> None:
    """A network that is blind to shifts around the edges climbs the same way with and without them."""
    scorer = make_scorer(_convolutional(), [[0]])
    start = noise_start((3, 9, 7)) * 10
    still, shifted = (
        list(ascend(scorer, 0, start, steps=6, learning_rate=0.5, jitter=jitter, seed=4)) for jitter in (0, 5)
    )
    torch.testing.assert_close(_last(shifted), _last(still), atol=1e-4, rtol=0)
    assert not torch.allclose(_last(still), start, atol=0.1)


def test_the_blur_comes_every_so_many_steps_and_fades() -> None:
    # w lights one pixel; smoothing spreads it, after the second and the fourth step of four.
    w = torch.zeros(7)
    w[3] = 1
    steps = list(ascend(_linear([w.tolist()]), 0, _row(*[0.0] * 7), steps=4, penalty=0, blur=1.0, blur_every=2))
    touched = [int((step.image > 1e-12).sum()) for step in steps]
    assert touched == [0, 1, 7, 7, 7]
    rate = 0.05 * math.sqrt(7)
    expected = gaussian_blur(_row(*(1.75 * rate * w).tolist())[None], math.sqrt(0.75))[0]
    torch.testing.assert_close(steps[2].image, expected)


@pytest.mark.parametrize("sigma", [0.05, 0.5, 1.0, 2.5])
def test_the_blur_is_that_of_scipy(sigma: float) -> None:
    images = torch.randn((2, 3, 12, 9), generator=torch.Generator().manual_seed(0))
    radius = math.ceil(3 * sigma)
    expected = gaussian_filter(images.numpy(), sigma, mode="nearest", axes=(2, 3), radius=radius)
    np.testing.assert_allclose(gaussian_blur(images, sigma).numpy(), expected, atol=1e-5)


def test_noise_is_uniform_and_seeded() -> None:
    noise = noise_start((3, 50, 40), seed=1)
    assert noise.shape == (3, 50, 40)
    assert -NOISE <= noise.min() < -0.95 * NOISE
    assert 0.95 * NOISE < noise.max() < NOISE
    assert noise.std().item() == pytest.approx(NOISE / math.sqrt(3), rel=0.05)
    assert torch.equal(noise, noise_start((3, 50, 40), seed=1))
    assert not torch.equal(noise, noise_start((3, 50, 40), seed=2))


def test_a_picture_is_stretched_between_its_percentiles() -> None:
    # 1001 pixels in a row: the percentiles lie at the values 5 and 995.
    preprocessing = Preprocessing((1, 1001), mean=(0.5,), std=(0.25,))
    pixels = picture(_row(*range(1001)), preprocessing)
    assert pixels.shape == (1, 1001, 3)
    assert pixels.dtype == np.uint8
    assert (pixels == pixels[..., :1]).all()
    row = pixels[0, :, 0]
    assert row[[0, 5, 995, 1000]].tolist() == [0, 0, 255, 255]
    assert row[[6, 245, 701]].tolist() == [0, 62, 179]


def test_a_picture_has_its_colors_back() -> None:
    # Half of the pixels (0, 0, 0) and half (1, 0.5, 0) once the normalization is undone, which is stretched already.
    preprocessing = Preprocessing((2, 2), mean=(0.4, 0.5, 0.6), std=(0.2, 0.1, 0.3))
    values = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.5, 0.0]])
    normalized = (values - torch.tensor(preprocessing.mean)) / torch.tensor(preprocessing.std)
    image = normalized.T.reshape(3, 1, 2).repeat(1, 100, 1)
    assert picture(image, preprocessing)[50].tolist() == [[0, 0, 0], [255, 128, 0]]


def test_a_flat_picture_is_the_mean_color() -> None:
    preprocessing = Preprocessing((4, 4), mean=(0.4, 0.5, 0.6), std=(0.2, 0.1, 0.3))
    assert (picture(torch.zeros(3, 4, 4), preprocessing) == np.array([102, 128, 153])).all()


def test_a_picture_whose_percentiles_are_equal_keeps_its_values() -> None:
    """One pixel of 1000 is no range to stretch over."""
    image = torch.zeros(1, 1, 1000)
    image[..., 7] = 1.0
    row = picture(image, Preprocessing((1, 1000), mean=(0.4,), std=(0.2,)))[0, :, 0]
    assert row[[6, 7, 8]].tolist() == [102, 153, 102]


def test_a_class_of_squeezenet_that_scores_zero_on_the_mean_image(shared: Path) -> None:
    """Flamingo is one of 93; goose is not."""
    settings = ClassifierSettings(arch="squeezenet1_0", weights=shared / "weights" / "squeezenet1_0.pth")
    scorer = make_scorer(load_classifier(settings).network.eval(), [[output] for output in range(1000)])
    start = torch.zeros(3, 224, 224)
    with torch.no_grad():
        assert int((scorer.logits(start[None]) == 0).sum()) == 93
    flamingo = list(islice(ascend(scorer, 130, start, steps=4, learning_rate=0.1), 5))
    assert flamingo[0].before_last_relu
    assert flamingo[0].score < 0 < flamingo[-1].score
    assert not next(ascend(scorer, 99, start)).before_last_relu
