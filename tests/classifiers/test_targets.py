"""A unit inside a network, and any scalar of what it returns, in place of classes."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor, nn

from wsloc.classifiers import ScalarTargets, UnitActivity, check_network, load_classifier, make_scorer, scoring_mode
from wsloc.classifiers.targets import find_module, full_name
from wsloc.config import ClassifierSettings
from wsloc.errors import UserError
from wsloc.saliency import PairBatch
from wsloc.saliency.gradient import gradient, input_gradients


class Given(nn.Module):
    """Returns the same activity, whatever comes in."""

    def __init__(self, activity: Tensor) -> None:
        super().__init__()
        self.activity = activity

    def forward(self, images: Tensor) -> Tensor:  # noqa: ARG002
        return self.activity


def _hand_network(inplace: bool = False) -> nn.Sequential:
    """From 1 x 2 x 2 to two channels x - 1 and -2 x, ReLU, pooling, one output."""
    network = nn.Sequential(
        nn.Conv2d(1, 2, 1), nn.ReLU(inplace), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 1, bias=False)
    )
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([1.0, -2.0]).reshape(2, 1, 1, 1))
        network[0].bias.copy_(torch.tensor([-1.0, 0.0]))
        network[4].weight.copy_(torch.tensor([[3.0, 1.0]]))
    return network


HAND_IMAGES = torch.tensor([[[[4.0, 0.0], [-1.0, 2.0]]], [[[1.0, 1.0], [-3.0, 5.0]]]])
# Channel 0:  3 -1   0  0     Channel 1:  -8  0   -2  -2
#            -2  1  -4  4                  2 -4    6 -10


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize(
    ("layer", "unit", "expected"),
    [
        ("0", (0,), [1 / 4, 0]),
        ("0", (1,), [-10 / 4, -8 / 4]),
        ("0", (0, 0, 0), [3, 0]),
        ("0", (0, 1, 0), [-2, -4]),
        ("0", (1, 0, 1), [0, -2]),
        ("1", (0,), [4 / 4, 4 / 4]),
        ("1", (1, 1, 0), [2, 6]),
        # Pooled: 1 and 2 / 4, 1 and 6 / 4.
        ("2", (1,), [2 / 4, 6 / 4]),
        ("2", (1, 0, 0), [2 / 4, 6 / 4]),
        ("3", (0,), [1, 1]),
        ("4", (0,), [3.5, 4.5]),
    ],
)
def test_activities_by_hand(inplace: bool, layer: str, unit: tuple[int, ...], expected: list[float]) -> None:
    """An operation in place behind the layer does not change what the layer gave."""
    network = UnitActivity(_hand_network(inplace), layer, unit)
    assert network(HAND_IMAGES).tolist() == [[value] for value in expected]


@pytest.mark.parametrize(
    ("unit", "expected"), [((1,), [(1 + 3 + 5) / 3, (7 + 9 + 11) / 3]), ((0, 2), [4, 10]), ((1, 0), [1, 7])]
)
def test_tokens_by_hand(unit: tuple[int, ...], expected: list[float]) -> None:
    """Two images of three tokens of two channels: channel k of token t of image i is 6 i + 2 t + k."""
    network = UnitActivity(nn.Sequential(Given(torch.arange(12.0).reshape(2, 3, 2)), nn.Flatten()), "0", unit)
    assert network(HAND_IMAGES).flatten().tolist() == expected


@pytest.mark.parametrize(
    ("shape", "unit", "units"),
    [
        ((2, 4, 5, 6), (4,), "4 x 5 x 6"),
        ((2, 4, 5, 6), (0, 5, 0), "4 x 5 x 6"),
        ((2, 4, 5, 6), (0, 0, 6), "4 x 5 x 6"),
        ((2, 4, 5, 6), (0, 1), "4 x 5 x 6"),
        ((2, 4, 5, 6), (0, 1, 1, 1), "4 x 5 x 6"),
        # Tokens: channels first, then places.
        ((2, 7, 3), (3,), "3 x 7"),
        ((2, 7, 3), (0, 7), "3 x 7"),
        ((2, 7, 3), (0, 0, 0), "3 x 7"),
        ((2, 9), (9,), "9"),
        ((2, 9), (0, 0), "9"),
    ],
)
def test_a_unit_that_is_not_there(shape: tuple[int, ...], unit: tuple[int, ...], units: str) -> None:
    network = UnitActivity(nn.Sequential(Given(torch.zeros(shape)), nn.Flatten()), "0", unit)
    named = " ".join(map(str, unit))
    with pytest.raises(UserError, match=rf"has units of {units} \(.*unit {named} is none of them\.$"):
        network(HAND_IMAGES)
    assert not find_module(network, "0")._forward_hooks


class Twice(nn.Module):
    """Runs ``again`` twice and never ``idle``; ``pair`` returns two tensors, ``flat`` too few dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.again = nn.ReLU()
        self.idle = nn.ReLU()
        self.pair = nn.LSTM(4, 3, batch_first=True)
        self.flat = nn.Flatten(0)

    def forward(self, images: Tensor) -> Tensor:
        features = self.again(images) + self.again(-images)
        answer, _ = self.pair(features.flatten(start_dim=1)[:, None])
        self.flat(features)
        return answer[:, 0]


@pytest.mark.parametrize("layer", ["again", "idle", "pair", "flat"])
def test_a_layer_that_has_no_one_activity(layer: str) -> None:
    network = UnitActivity(Twice(), layer, (0,))
    with pytest.raises(UserError, match=rf"^The layer {layer} must run once per pass and return one tensor; name an"):
        network(HAND_IMAGES)


def test_a_layer_with_channels_last_is_read_as_one() -> None:
    """Swin's blocks return (N, h, w, K)."""
    torch.manual_seed(0)
    network = torchvision.models.swin_t(weights=None).eval()
    seen: list[Tensor] = []
    hook = network.features[7].register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        mean = UnitActivity(network, "features.7", (700,))(images)
        neuron = UnitActivity(network, "features.7", (700, 1, 2))(images)
    hook.remove()
    assert seen[0].shape == (2, 2, 3, 768)
    assert torch.allclose(mean[:, 0], seen[0][..., 700].mean(dim=(1, 2)))
    assert torch.equal(neuron[:, 0], seen[0][:, 1, 2, 700])


@pytest.mark.parametrize(
    ("layer", "sentence"),
    [
        ("featuers", "The network has no layer 'featuers'; did you mean features?"),
        ("xyzzy", "The network has no layer 'xyzzy'; it has features, classifier."),
        ("squeeze", "The layer 'squeeze' may be any of features.3.squeeze, features.4.squeeze, features.5.squeeze; "),
        ("", "The network has no layer ''; it has features, classifier."),
    ],
)
def test_a_layer_that_is_not_there(layer: str, sentence: str) -> None:
    network = torchvision.models.squeezenet1_0(weights=None)
    with pytest.raises(UserError) as raised:
        UnitActivity(network, layer, (0,))
    assert str(raised.value).startswith(sentence)
    assert "\n" not in str(raised.value)


def test_the_end_of_a_name_is_enough() -> None:
    inner = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.ReLU(), nn.Identity()))
    outer = nn.Sequential(nn.Sequential(inner))
    assert full_name(inner, "1") == "1"  # not 1.1
    assert full_name(outer, "0.0.1.0") == "0.0.1.0"
    assert full_name(nn.Sequential(nn.ReLU(), inner), "1.1.0") == "1.1.0"
    wrapped = UnitActivity(inner, "1.0", (2,))
    assert full_name(wrapped, "1.0") == "network.1.0"
    assert find_module(wrapped, "1.0") is inner[1][0]
    assert wrapped(torch.ones(2, 3, 4, 4)).shape == (2, 1)


def test_hooks_and_network_are_as_before_whatever_was_raised() -> None:
    network = _hand_network()
    UnitActivity(network, "0", (0,))(HAND_IMAGES)
    with pytest.raises(RuntimeError):
        UnitActivity(network, "0", (0,))(torch.zeros(1, 5, 2, 2))
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize(
    ("layer", "unit", "expected"),
    [
        ("0", (1,), [[[0.5, 0.5], [0.5, 0.5]]] * 2),
        ("0", (0, 0, 1), [[[0, 1], [0, 0]]] * 2),
        # The mean of what the ReLU lets through: x - 1 > 0 in the upper left and lower right, -2 x > 0 in the rest.
        ("1", (0,), [[[0.25, 0], [0, 0.25]], [[0, 0], [0, 0.25]]]),
        ("1", (1, 1, 0), [[[0, 0], [2, 0]]] * 2),
        ("4", (0,), [[[0.75, 0], [0.5, 0.75]], [[0, 0], [0.5, 0.75]]]),
    ],
)
def test_gradient_maps_by_hand(inplace: bool, layer: str, unit: tuple[int, ...], expected: list[object]) -> None:
    scorer = make_scorer(UnitActivity(_hand_network(inplace), layer, unit), [[0]])
    answer = gradient(scorer, PairBatch(HAND_IMAGES, torch.tensor([0, 1]), torch.tensor([0, 0])))
    assert answer.maps.tolist() == expected


@pytest.mark.parametrize("unit", [(5,), (3, 2, 4), (3, 0, 0)])
def test_gradients_equal_those_of_autograd(unit: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.Conv2d(6, 8, 3), nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3), nn.Softmax(dim=1),
    )  # fmt: skip
    images = torch.randn(2, 3, 9, 11)
    scorer = make_scorer(UnitActivity(network, "3", unit), [[0]])
    found, logits = input_gradients(scorer, PairBatch(images, torch.tensor([1, 0]), torch.tensor([0, 0])))
    network.eval()
    for ours, image, score in zip(found, images.flip(0), logits.flatten().flip(0), strict=True):
        given = image.clone().requires_grad_(True)
        features = network[:4](given[None])[0, unit[0]]
        value = features.mean() if len(unit) == 1 else features[unit[1], unit[2]]
        (expected,) = torch.autograd.grad(value, given)
        assert float(value.detach()) == pytest.approx(float(score), rel=1e-5)
        assert torch.allclose(ours, expected, atol=1e-6)


def test_a_unit_is_a_network_that_passes_the_checks() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3))
    assert check_network(make_scorer(UnitActivity(network, "1", (5,)), [[0]]), (3, 8, 8)) == 1
    with pytest.raises(UserError, match="none of them"):
        check_network(make_scorer(UnitActivity(network, "1", (6,)), [[0]]), (3, 8, 8))


def test_the_settings_name_a_unit() -> None:
    settings = ClassifierSettings(arch="demo", layer="features.0", unit=(2, 3, 4))
    assert settings.unit_name == "features.0 unit 2 3 4"
    names = [name for name, module in load_classifier(ClassifierSettings(arch="demo")).network.named_modules()]
    layer = next(name for name in names if name.endswith(".0"))
    classifier = load_classifier(ClassifierSettings(arch="demo", layer=layer, unit=(2, 3, 4)))
    plain = load_classifier(ClassifierSettings(arch="demo"))
    assert classifier.output_names == (f"{layer} unit 2 3 4",)
    assert classifier.preprocessing == plain.preprocessing
    assert "/" not in classifier.name
    assert " " not in classifier.name
    height, width = classifier.preprocessing.input_size_hw
    images = torch.rand(2, 3, height, width)
    seen: list[Tensor] = []
    find_module(plain.network, layer).register_forward_hook(lambda _m, _i, output: seen.append(output.clone()))
    with scoring_mode(plain.network), scoring_mode(classifier.network), torch.no_grad():
        plain.network(images)
        assert torch.equal(classifier.network(images)[:, 0], seen[0][:, 2, 3, 4])


class Detector(nn.Module):
    """Returns a dict, as detectors and captioners do."""

    def forward(self, images: Tensor) -> dict[str, object]:
        flat = images.flatten(start_dim=1)
        return {"scores": flat * torch.tensor([1.0, 2.0, 3.0, 4.0]), "boxes": [flat.square()]}


def test_any_scalar_of_any_output() -> None:
    network = ScalarTargets(
        Detector(),
        [
            lambda output: output["scores"].amax(dim=1),
            lambda output: output["scores"][:, 1] - output["scores"][:, 0],
            lambda output: output["boxes"][0].sum(dim=1),
        ],
    )
    images = torch.tensor([[[[4.0, 0.0], [1.0, -1.0]]], [[[0.0, 1.0], [0.0, 1.0]]]])
    assert network(images).tolist() == [[4, -4, 18], [4, 2, 2]]
    scorer = make_scorer(network, [[0], [1], [2]])
    batch = PairBatch(images, torch.tensor([0, 0, 0, 1]), torch.tensor([0, 1, 2, 0]))
    gradients, logits = input_gradients(scorer, batch)
    assert logits.tolist() == [[4, -4, 18], [4, 2, 2]]
    assert gradients[:, 0].tolist() == [
        [[1, 0], [0, 0]],
        [[-1, 2], [0, 0]],
        [[8, 0], [2, -2]],
        [[0, 0], [0, 4]],
    ]


def test_one_target_alone_and_the_parts_of_the_network_are_found() -> None:
    network = ScalarTargets(_hand_network(), [lambda output: output[:, 0]])
    assert check_network(make_scorer(network, [[0]]), (1, 2, 2)) == 1
    assert torch.equal(network(HAND_IMAGES), _hand_network()(HAND_IMAGES))
    assert full_name(network, "1") == "network.1"
    assert len(list(network.parameters())) == 3
