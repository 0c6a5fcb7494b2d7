from __future__ import annotations

import re
from collections import namedtuple
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from wsloc.classifiers.check_network import check_network
from wsloc.classifiers.scorer import make_scorer, scoring_mode
from wsloc.classifiers.targets import ScalarTargets, UnitActivity
from wsloc.errors import UserError

LOGITS = torch.tensor([[1.0, 3.0, 2.0, 0.0], [0.0, -1.0, 5.0, 4.0]])


class Fixed(nn.Module):
    """Returns the same rows for any images, changed by a function; they hang on the images only formally."""

    def __init__(self, change: Callable[[Tensor], object] = lambda logits: logits) -> None:
        super().__init__()
        self.change = change

    def forward(self, images: Tensor) -> object:
        return self.change(LOGITS[: len(images)] + 0 * images.sum())


def _conv(*more: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3), *more
    )


def test_scores_are_maxima_and_probabilities_are_sums() -> None:
    scorer = make_scorer(Fixed(), [[0, 1], [3], [2, 3, 0]])
    assert scorer.class_scores(LOGITS).tolist() == [[3, 0, 2], [0, 4, 5]]
    softmax = LOGITS.softmax(dim=1)
    expected = torch.stack([softmax[:, [0, 1]].sum(1), softmax[:, 3], softmax[:, [2, 3, 0]].sum(1)], dim=1)
    torch.testing.assert_close(scorer.probabilities(LOGITS), expected)
    pairs = scorer.pair_scores(LOGITS, torch.tensor([1, 0, 1]), torch.tensor([2, 2, 0]))
    assert pairs.tolist() == [5, 2, 0]


def test_a_sigmoid_is_taken_of_the_score() -> None:
    scorer = make_scorer(Fixed(), [[0, 1], [2]], "sigmoid")
    torch.testing.assert_close(scorer.probabilities(LOGITS), torch.tensor([[3.0, 2.0], [0.0, 5.0]]).sigmoid())


def test_a_class_without_output_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="every class needs at least one network output"):
        make_scorer(Fixed(), [[0], []])


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        (lambda logits: logits[:, :, None, None].expand(-1, -1, 2, 1), r"\(2, 4, 2, 1\)"),
        (lambda logits: logits[:, 0], r"\(2,\)"),
        (lambda logits: (logits[:, 0], "text"), "tuple"),
        (lambda logits: {"scores": logits, "features": 2 * logits}, "dict"),
        (lambda logits: logits[:1], r"\(1, 4\)"),
    ],
    ids=["map", "vector", "tuple", "dict", "batch"],
)
def test_an_answer_that_is_no_row_of_logits_is_refused(change: Callable[[Tensor], object], shown: str) -> None:
    with pytest.raises(
        UserError, match=rf"must return one row of logits per image, .* but returned {shown} for 2 images"
    ):
        check_network(make_scorer(Fixed(change), [[0]]), (3, 8, 8))


Output = namedtuple("Output", ["logits", "hidden"])


@pytest.mark.parametrize(
    ("change", "taken"),
    [
        (lambda logits: logits[:, :, None, None], r"its tensor \(2, 4, 1, 1\) without the last sides"),
        (lambda logits: (logits, 2 * logits), "part 0"),
        (lambda logits: [torch.zeros(2, 5, 3, 3), logits], "part 1"),
        (lambda logits: {"logits": logits, "features": 2 * logits}, "the part called logits"),
        (lambda logits: Output(logits, 2 * logits), "the part called logits"),
        (lambda logits: Output(None, logits), "part 1"),
        (lambda logits: {"out": logits[:, :, None, None]}, "part 'out'"),
    ],
    ids=["map", "tuple", "list", "dict", "attribute", "second", "only one"],
)
def test_logits_inside_another_output_are_taken_with_a_note(
    change: Callable[[Tensor], object], taken: str, caplog: pytest.LogCaptureFixture
) -> None:
    scorer = make_scorer(Fixed(change), [[0]])
    with caplog.at_level("INFO", "wsloc"):
        assert check_network(scorer, (3, 8, 8)) == 4
    (said,) = caplog.messages
    assert re.fullmatch(rf"the network: it returns more than a row of logits per image; {taken} is used", said)
    assert torch.equal(scorer.logits(torch.zeros(2, 3, 8, 8)), LOGITS)


@pytest.mark.parametrize(
    "last", [nn.Softmax(dim=1), nn.LogSoftmax(dim=1), nn.Sigmoid()], ids=lambda m: type(m).__name__
)
@pytest.mark.parametrize("nested", [False, True])
def test_a_final_probability_module_is_passed_over(last: nn.Module, nested: bool) -> None:
    plain = _conv().eval()
    network = _conv(nn.Sequential(nn.Identity(), last) if nested else last).eval()
    images = torch.randn(2, 3, 8, 8)
    scorer = make_scorer(network, [[0]])
    assert check_network(scorer, (3, 8, 8)) == 3
    with scoring_mode(network):
        assert torch.equal(scorer.logits(images), plain(images))
    assert torch.equal(network(images), last(plain(images)))


class Gated(nn.Module):
    """A sigmoid that is registered last but stands in the middle, as attention gates do."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 4)
        self.gate = nn.Sigmoid()

    def forward(self, images: Tensor) -> Tensor:
        pooled = images.mean(dim=(2, 3))
        scores: Tensor = self.head(pooled * self.gate(pooled))
        return scores


def test_a_gate_in_the_middle_stays() -> None:
    network, images = Gated().eval(), torch.randn(2, 3, 8, 8)
    scorer = make_scorer(network, [[0]])
    assert check_network(scorer, (3, 8, 8)) == 4
    with scoring_mode(network):
        gated = scorer.logits(images)
    assert torch.equal(gated, network(images))


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "sigmoid"])
def test_a_functional_softmax_or_sigmoid_is_refused(name: str) -> None:
    change = {"softmax": lambda x: x.softmax(1), "log_softmax": lambda x: x.log_softmax(1), "sigmoid": torch.sigmoid}
    with pytest.raises(UserError, match=r"returns probabilities, but saliency needs the scores before the softmax"):
        check_network(make_scorer(Fixed(change[name]), [[0]]), (3, 8, 8))


@pytest.mark.parametrize("change", [lambda x: x.detach(), lambda _: LOGITS], ids=["detached", "constant"])
def test_outputs_without_a_gradient_are_refused(change: Callable[[Tensor], object]) -> None:
    with pytest.raises(UserError, match=r"outputs have no gradient with respect to the image; remove torch\.no_grad"):
        check_network(make_scorer(Fixed(change), [[0]]), (3, 8, 8))


def test_ordinary_logits_are_taken() -> None:
    for change in (lambda x: x, lambda x: x.abs(), lambda x: x * 0, lambda x: -x.abs()):
        assert check_network(make_scorer(Fixed(change), [[0]]), (3, 8, 8)) == 4
    assert check_network(make_scorer(Fixed(lambda x: x[:, :1] * 0 + 1), [[0]]), (3, 8, 8)) == 1


@pytest.mark.parametrize(("shape", "shown"), [((1, 8, 8), r"\(1, 8, 8\)"), ((3, 2, 2), r"\(3, 2, 2\)")])
def test_an_image_that_the_network_cannot_take(shape: tuple[int, ...], shown: str) -> None:
    sentence = rf"cannot take an image of shape {shown} \(channels, height, width\): .*; set `input_size`, `mean` and"
    with pytest.raises(UserError, match=sentence) as raised:
        check_network(make_scorer(_conv(), [[0]]), shape)
    assert "\n" not in str(raised.value)


def _state(network: nn.Module) -> list[object]:
    """Every flag, hook and statistic of a network."""
    modules: list[object] = [
        (name, module.training, *map(len, (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks)))
        for name, module in network.named_modules()
    ]
    flags = [(name, parameter.requires_grad, parameter.grad) for name, parameter in network.named_parameters()]
    return [*modules, *flags, *(buffer.tolist() for buffer in network.buffers())]


@pytest.mark.parametrize("fails", [False, True])
def test_flags_and_hooks_are_as_before(fails: bool) -> None:
    network = _conv(nn.Softmax(dim=1)).train()
    network[1].eval()
    network[0].weight.requires_grad_(False)
    network[0].register_forward_hook(lambda *_: None)
    before = _state(network)
    try:
        with scoring_mode(network):
            assert not any(module.training for module in network.modules())
            assert not any(parameter.requires_grad for parameter in network.parameters())
            assert _state(network) != before
            network(torch.randn(2, 3, 8, 8))
            if fails:
                raise KeyError("inside")
    except KeyError:
        assert fails
    assert _state(network) == before


def test_check_network_leaves_a_network_that_fails_as_it_was() -> None:
    network = _conv(nn.Sigmoid()).train()
    before = _state(network)
    with pytest.raises(UserError):
        check_network(make_scorer(network, [[0]]), (1, 8, 8))
    assert _state(network) == before


def test_a_network_that_mixes_images_is_refused() -> None:
    """Its maps would depend on what else is in the batch."""
    torch.manual_seed(0)
    mixing = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    with pytest.raises(UserError, match="mixes the images of a batch"):
        check_network(make_scorer(mixing, [[0]]), (3, 8, 8))


@pytest.mark.parametrize("shape", [lambda x: x.view(2, -1), lambda x: x[:, :, None].squeeze(2), torch.clone])
def test_a_softmax_behind_a_change_of_shape_is_refused(shape: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(UserError, match="returns probabilities"):
        check_network(make_scorer(Fixed(lambda logits: shape(logits.softmax(1))), [[0]]), (3, 8, 8))


class Head(nn.Module):
    """Something of the scores of a linear layer on the mean color."""

    def __init__(self, change: Callable[[Tensor], Tensor], outputs: int = 5) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(3, outputs)
        self.change = change

    def forward(self, images: Tensor) -> Tensor:
        return self.change(self.head(images.mean(dim=(2, 3))))


PROBABILITIES: dict[str, Callable[[Tensor], Tensor]] = {
    "mean of two": lambda x: (x.softmax(1) + (2 * x).softmax(1)) / 2,
    "stacked mean": lambda x: torch.stack([x.softmax(1), (3 * x).softmax(1)]).mean(0),
    "clamped": lambda x: x.softmax(1).clamp(1e-7, 1 - 1e-7),
    "percent": lambda x: 100 * x.softmax(1),
    "of one output": lambda x: torch.cat([1 - x[:, :1].sigmoid(), x[:, :1].sigmoid()], 1),
    "percent of one output": lambda x: x[:, :1].sigmoid() * 100,
    "mean of sigmoids": lambda x: (x.sigmoid() + (2 * x).sigmoid()) / 2,
    "maximum over places": lambda x: torch.stack([x, 2 * x], 2).softmax(1).amax(2),
    "mixed by a matrix": lambda x: x.softmax(1) @ torch.eye(5).roll(1, 0),
    "logarithm of a mixture": lambda x: (x.softmax(1) @ torch.eye(5)).log(),
    "softmax by hand": lambda x: x.exp() / x.exp().sum(1, keepdim=True),
    "sigmoid by hand": lambda x: 1 / (1 + (-x).exp()),
    "powers of two": lambda x: 2**x / (2**x).sum(1, keepdim=True),
    "log-sigmoid": nn.functional.logsigmoid,
}


@pytest.mark.parametrize("how", PROBABILITIES)
def test_probabilities_are_known_by_what_they_do(how: str) -> None:
    with pytest.raises(UserError, match="returns probabilities, but saliency needs the scores before the softmax"):
        check_network(make_scorer(Head(PROBABILITIES[how]), [[0]]), (3, 8, 8))


SCORES: dict[str, Callable[[Tensor], Tensor]] = {
    "gate": lambda x: x * x.sigmoid(),
    "attention": lambda x: (x.softmax(1) * x).cumsum(1),
    "bounded": lambda x: x.tanh(),
    "rectified": lambda x: x.relu() / 100,
    "turned back": lambda x: torch.logit(x.sigmoid(), 1e-6),
    "turned back by hand": lambda x: (x.sigmoid() / (1 - x.sigmoid())).log(),
    "centered": lambda x: x - x.mean(1, keepdim=True),
    "concepts": lambda x: x.sigmoid() @ torch.arange(10.0).reshape(5, 2),
    "in the unit range": lambda x: x / 100 + 0.5,
    "all the same": lambda x: 0 * x + 0.2,
    "nearly the same": lambda x: x / 1e5 + 0.2,
    "one output": lambda x: x[:, :1] / 100 + 0.5,
    "probability and score": lambda x: torch.cat([x.sigmoid(), x.abs()], 1),
}


@pytest.mark.parametrize("how", SCORES)
def test_scores_are_not_taken_for_probabilities(how: str) -> None:
    assert check_network(make_scorer(Head(SCORES[how]), [[0]]), (3, 8, 8)) > 0


def test_a_unit_may_be_a_probability() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sigmoid(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    assert check_network(make_scorer(UnitActivity(network, "1", (2,)), [[0]]), (3, 8, 8)) == 1
    scalars = ScalarTargets(network, [lambda output: output.softmax(1)[:, 1]])
    assert check_network(make_scorer(scalars, [[0]]), (3, 8, 8)) == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_hold_nan_are_named(value: float) -> None:
    network = _conv()
    with torch.no_grad():
        network[0].weight[1, 0, 0, :2] = value
    network[1].running_var[1] = value
    named = r"hold NaN or infinity in 0\.weight \(2 of 108 values\), 1\.running_var \(1 of 4 values\), so"
    with pytest.raises(UserError, match=named):
        check_network(make_scorer(network, [[0]]), (3, 8, 8))


@pytest.mark.parametrize("change", [lambda x: (0 * x).sqrt() + x, lambda x: x / (0 * x)])
def test_nan_of_sound_weights_is_not_laid_to_the_batch(change: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(
        UserError, match="The network gives NaN for an image of noise, though all of its weights are finite"
    ):
        check_network(make_scorer(Head(change), [[0]]), (3, 8, 8))
