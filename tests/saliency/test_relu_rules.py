"""DeconvNet and guided back-propagation: values by hand, and what they share with the gradient."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from tiny_modules import Calls
from torch import Tensor, nn

from wsloc.classifiers import make_scorer
from wsloc.errors import UserError
from wsloc.saliency import Attribution, PairBatch
from wsloc.saliency.gradient import gradient
from wsloc.saliency.relu_rules import deconvnet, guided

RULES = {"gradient": gradient, "deconvnet": deconvnet, "guided": guided}
ALL = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
CHANGED = pytest.mark.parametrize("rule", [deconvnet, guided], ids=["deconvnet", "guided"])
Rule = Callable[..., Attribution]


def _map(rule: Rule, network: nn.Module, images: Tensor, output: int = 0) -> Tensor:
    """One map for each image, of one output."""
    index = torch.arange(len(images))
    return rule(make_scorer(network, [[output]]), PairBatch(images, index, torch.zeros_like(index))).maps


# By hand --------------------------------------------------------------------------------------------------------------


def _pixels_network(rectify: nn.Module, weights: list[float], more: nn.Module | None = None) -> nn.Sequential:
    """``S = sum_i weights_i rectify(x_i)`` of images of one channel and one row."""
    linear = nn.Linear(len(weights), 1, bias=False)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([weights]))
    return nn.Sequential(rectify, more or nn.Identity(), nn.Flatten(), linear)


#          x    2   -1    3   -2
#          w    5    7   -4   -6
# gradient      5    0   -4    0     where x > 0
# DeconvNet     5    7    0    0     where w > 0
# guided        5    0    0    0     where both
ONE_LAYER = {"gradient": [5, 0, 4, 0], "deconvnet": [5, 7, 0, 0], "guided": [5, 0, 0, 0]}


@pytest.mark.parametrize("name", RULES)
def test_one_relu_by_hand(name: str) -> None:
    network = _pixels_network(nn.ReLU(), [5.0, 7.0, -4.0, -6.0])
    images = torch.tensor([2.0, -1.0, 3.0, -2.0]).reshape(1, 1, 1, 4)
    assert _map(RULES[name], network, images).tolist() == [[ONE_LAYER[name]]]


def _two_layers() -> nn.Sequential:
    """``h = relu(U x)``, ``k = relu(V h)``, ``S = s k``, for images of one pixel and two channels."""
    network = nn.Sequential(
        nn.Conv2d(2, 3, 1, bias=False),
        nn.ReLU(),
        nn.Conv2d(3, 2, 1, bias=False),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(2, 1, bias=False),
    )
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([[1.0, 2.0], [3.0, -1.0], [-2.0, -1.0]])[:, :, None, None])
        network[2].weight.copy_(torch.tensor([[1.0, -2.0, 4.0], [-1.0, 3.0, 1.0]])[:, :, None, None])
        network[5].weight.copy_(torch.tensor([[2.0, 1.0]]))
    return network


# x = (1, 1):  U x = (3, 2, -3), h = (3, 2, 0);  V h = (-1, 3), k = (0, 3).
#
#             at k                 at h: V^T of it                         at x: U^T of it
# gradient    (0, 1)               (-1, 3, 1)   -> (-1, 3, 0)              (-1 + 9, -2 - 3)         = (8, -5)
# DeconvNet   (2, 1)               (2 - 1, -4 + 3, 8 + 1) = (1, -1, 9)
#                                               -> (1, 0, 9)               (1 - 18, 2 - 9)          = (-17, -7)
# guided      (0, 1)               (-1, 3, 1)   -> (0, 3, 0)               (9, -3)
TWO_LAYERS = {"gradient": 8, "deconvnet": 17, "guided": 9}


@pytest.mark.parametrize("name", RULES)
def test_two_relus_by_hand(name: str) -> None:
    images = torch.ones(1, 2, 1, 1)
    assert _map(RULES[name], _two_layers(), images).tolist() == [[[TWO_LAYERS[name]]]]


# ReLU6 at  -1    0    2    6    8, weighted by  1  at each, and by -1 at each.
# What lies in the open interval is let through by the gradient and the guided rule, DeconvNet has no gate.
SIX = torch.tensor([-1.0, 0.0, 2.0, 6.0, 8.0]).reshape(1, 1, 1, 5)
CLIPPING: dict[str, Callable[[], nn.Module]] = {
    "ReLU6": nn.ReLU6,
    "ReLU6 in place": lambda: nn.ReLU6(inplace=True),
    "F.relu6": lambda: Calls(F.relu6),
    "F.relu6 in place": lambda: Calls(lambda values: F.relu6(values, True)),
    "Hardtanh": lambda: nn.Hardtanh(0, 6),
    "F.hardtanh_": lambda: Calls(lambda values: F.hardtanh_(values, min_val=0.0, max_val=6.0)),
}


@pytest.mark.parametrize("clip", CLIPPING.values(), ids=CLIPPING)
def test_relu6_has_a_gate_on_both_sides(clip: Callable[[], nn.Module]) -> None:
    raising, lowering = (_pixels_network(clip(), [weight] * 5) for weight in (1.0, -1.0))
    assert _map(gradient, raising, SIX).tolist() == [[[0, 0, 1, 0, 0]]]
    assert _map(guided, raising, SIX).tolist() == [[[0, 0, 1, 0, 0]]]
    assert _map(deconvnet, raising, SIX).tolist() == [[[1, 1, 1, 1, 1]]]
    assert _map(gradient, lowering, SIX).tolist() == [[[0, 0, 1, 0, 0]]]
    assert _map(guided, lowering, SIX).tolist() == _map(deconvnet, lowering, SIX).tolist() == [[[0, 0, 0, 0, 0]]]


@CHANGED
def test_the_scores_are_those_of_the_network(rule: Rule) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.ReLU6(), nn.Flatten(), nn.Linear(4 * 36, 3)).eval()
    images = 9 * torch.randn(2, 3, 8, 8)
    answer = rule(make_scorer(network, [[0]]), PairBatch(images, torch.tensor([0]), torch.tensor([0])))
    assert torch.equal(answer.logits, network(images))


# Every way to write a ReLU --------------------------------------------------------------------------------------------

WRITTEN: dict[str, Callable[[], nn.Module]] = {
    "nn.ReLU in place": lambda: nn.ReLU(inplace=True),
    "F.relu": lambda: Calls(F.relu),
    "F.relu, keyword": lambda: Calls(lambda values: F.relu(input=values)),
    "F.relu in place": lambda: Calls(lambda values: F.relu(values, inplace=True)),
    "F.relu in place, by position": lambda: Calls(lambda values: F.relu(values, True)),
    "F.relu_": lambda: Calls(F.relu_),
    "torch.relu": lambda: Calls(torch.relu),
    "torch.relu_": lambda: Calls(torch.relu_),
    "Tensor.relu": lambda: Calls(lambda values: values.relu()),
    "Tensor.relu_, result unused": lambda: Calls(lambda values: [values.relu_(), values][1]),
}


@pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN)
@ALL
def test_it_does_not_matter_how_a_relu_is_written(rule: Rule, written: Callable[[], nn.Module]) -> None:
    first, relu, second, _, *rest = _two_layers()
    images = torch.tensor([[1.0, 1.0], [2.0, -1.0], [-1.0, 3.0]]).reshape(3, 2, 1, 1)
    expected = _map(rule, nn.Sequential(first, relu, second, nn.ReLU(), *rest), images)
    assert expected.any()
    assert torch.equal(_map(rule, nn.Sequential(first, written(), second, written(), *rest), images), expected)
    once = written()
    assert torch.equal(_map(rule, nn.Sequential(first, once, second, once, *rest), images), expected)


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "leaky": (nn.LeakyReLU, "LeakyRelu"),
    "sigmoid": (nn.Sigmoid, "Sigmoid"),
    "GELU": (nn.GELU, "Gelu"),
    "SiLU": (nn.SiLU, "Silu"),
    "PReLU": (nn.PReLU, "PreluKernel"),
    "Hardtanh of other bounds": (lambda: nn.Hardtanh(0, 1), "Hardtanh"),
    "clamp": (lambda: Calls(lambda values: values.clamp(min=0)), "Clamp"),
    "where": (lambda: Calls(lambda values: torch.where(values > 0, values, 0)), "Where"),
    "maximum": (lambda: Calls(lambda values: torch.maximum(values, torch.zeros(()))), "Maximum"),
    "scripted": (lambda: torch.jit.script(nn.ReLU()), "Relu"),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
@pytest.mark.parametrize(("make", "named"), REFUSED.values(), ids=REFUSED)
@CHANGED
def test_any_other_nonlinearity_is_refused(rule: Rule, make: Callable[[], nn.Module], named: str) -> None:
    network = nn.Sequential(nn.Conv2d(2, 3, 1), nn.ReLU(), make(), nn.Flatten(), nn.Linear(3, 1))
    with pytest.raises(UserError, match=rf"but this network also runs {named}\w*; use another `method`\.$"):
        _map(rule, network, torch.ones(1, 2, 1, 1))


# What the rules leave alone -------------------------------------------------------------------------------------------


@CHANGED
def test_without_a_relu_they_are_the_gradient(rule: Rule) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1),
        nn.BatchNorm2d(6),
        nn.MaxPool2d(3, stride=2, padding=1),
        nn.Dropout(),
        nn.ConvTranspose2d(6, 5, 3),
        nn.Conv2d(5, 5, 3, groups=5, dilation=2),
        nn.AvgPool2d(2),
        nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(20, 4),
    ).eval()
    images = torch.randn(3, 3, 40, 32)
    expected = _map(gradient, network, images, output=2)
    assert expected.any()
    torch.testing.assert_close(_map(rule, network, images, output=2), expected, rtol=1e-6, atol=0)


@CHANGED
def test_with_relus_they_are_not_the_gradient(rule: Rule) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 36, 1)).eval()
    images = torch.randn(1, 3, 8, 8)
    plain = _map(gradient, network, images)
    assert (_map(rule, network, images) - plain).abs().max() > 0.1 * plain.max()


class _Score(nn.Module):
    """A layer, and the sum of its outputs weighted by ``back``, which is then what comes back to the layer."""

    def __init__(self, layer: nn.Module, back: Tensor) -> None:
        super().__init__()
        self.layer = layer
        self.back = back

    def forward(self, images: Tensor) -> Tensor:
        return (self.layer(images) * self.back).sum(dim=(1, 2, 3))[:, None]


@pytest.mark.parametrize("settings", [{}, {"stride": 2, "padding": 1}, {"dilation": 2}], ids=str)
@ALL
def test_a_convolution_goes_back_as_its_transpose(rule: Rule, settings: dict[str, int]) -> None:
    torch.manual_seed(0)
    images, layer = torch.randn(2, 3, 9, 9), nn.Conv2d(3, 4, 3, **settings)
    back = torch.randn(layer(images).shape)
    transposed = F.conv_transpose2d(back, layer.weight, **settings)
    assert transposed.shape == images.shape
    torch.testing.assert_close(_map(rule, _Score(layer, back), images), transposed.detach().abs().amax(dim=1))


@pytest.mark.parametrize("write", ["module", "function"])
@ALL
def test_max_pooling_goes_back_through_its_switches(rule: Rule, write: str) -> None:
    torch.manual_seed(0)
    images, back = torch.randn(2, 3, 8, 6), torch.randn(2, 3, 4, 3)
    pooled, switches = F.max_pool2d(images, 2, return_indices=True)
    unpooled = F.max_unpool2d(back, switches, 2)
    # A quarter of the pixels get something: the largest of each square.
    assert (unpooled != 0).sum() == pooled.numel() == back.numel()
    pool = nn.MaxPool2d(2) if write == "module" else Calls(lambda values: F.max_pool2d(values, kernel_size=2))
    assert torch.equal(_map(rule, _Score(pool, back), images), unpooled.abs().amax(dim=1))


def _reference(network: nn.Sequential, images: Tensor, name: str) -> Tensor:
    """Forward and back by hand, with transposed convolutions, switches and the rule as it stands in the papers."""
    kept: list[Tensor] = []
    values = images
    for layer in network:
        if isinstance(layer, nn.MaxPool2d):
            values, switches = F.max_pool2d(values, 2, return_indices=True)
            kept.append(switches)
        else:
            values = layer(values)
            kept.append(values)
    back = network[-1].weight[:1].expand(len(images), -1)
    for layer, remembered in zip(reversed(network[:-1]), reversed(kept[:-1]), strict=True):
        if isinstance(layer, nn.Flatten):
            back = back.unflatten(1, (4, 3, 3))
        elif isinstance(layer, nn.ReLU):
            positive = back.relu() if name != "gradient" else back
            back = positive * (remembered > 0) if name != "deconvnet" else positive
        elif isinstance(layer, nn.MaxPool2d):
            back = F.max_unpool2d(back, remembered, 2)
        else:
            back = F.conv_transpose2d(back, layer.weight)
    return back.abs().amax(dim=1)


@pytest.mark.parametrize("name", RULES)
def test_a_whole_network_by_transposed_operations(name: str) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 5, 3),
        nn.ReLU(),
        nn.Conv2d(5, 4, 2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(36, 2),
    ).eval()
    images = torch.randn(3, 3, 14, 14)
    with torch.no_grad():
        expected = _reference(network, images, name)
    assert expected.amax(dim=(1, 2)).all()
    torch.testing.assert_close(_map(RULES[name], network, images), expected, rtol=1e-4, atol=1e-6)
