"""A saliency method leaves the network, the images and the memory as they were, whatever happens."""

import gc
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from wsloc.classifiers import make_scorer, scoring_mode
from wsloc.config import SaliencySettings
from wsloc.errors import UserError
from wsloc.saliency import METHODS, Attribution, BoundMethod, MethodContext, PairBatch

SETTINGS = SaliencySettings(
    smoothgrad_samples=2, integrated_steps=2, occlusion_patch=4, occlusion_stride=3, rise_masks=5, rise_grid=2
)
WITHOUT_GRADIENT = {"score-cam", "occlusion", "rise"}
BY_RULE = {"deconvnet", "guided", "guided-grad-cam"}
_HOOKS = [
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
]


class RefusalError(Exception):
    pass


class _RaisesForward(nn.Module):
    def forward(self, features: Tensor) -> Tensor:  # noqa: ARG002
        raise RefusalError


class _FailingBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, features: Tensor) -> Tensor:  # noqa: ARG004
        return features.clone()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:  # noqa: ARG004
        raise RefusalError


class _RaisesBackward(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return _FailingBackward.apply(features)


def _network(middle: nn.Module | None = None) -> nn.Sequential:
    """With every kind of state: flags of both values, frozen parameters, buffers, hooks, a final softmax."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(),
        middle or nn.Identity(),
        nn.Linear(4, 3),
        nn.Softmax(dim=1),
    )
    network.train()
    network[1].eval()
    network[0].weight.requires_grad_(False)
    network[3].register_forward_hook(lambda _module, _inputs, output: output)
    network[7].weight.grad = torch.full((3, 4), 7.0)
    return network


def _bind(name: str, network: nn.Module) -> BoundMethod:
    return METHODS[name](MethodContext(make_scorer(network, [[0], [1], [2]]), torch.ones(1, 3, 8, 8), SETTINGS))


def _pairs(images: Tensor) -> PairBatch:
    return PairBatch(images, torch.tensor([0, 1, 1]), torch.tensor([0, 1, 2]), (1, 2, 3))


def _state(network: nn.Module) -> Iterator[object]:
    for name, module in network.named_modules():
        yield name, id(module), type(module), module.training
        yield [list(getattr(module, hooks).items()) for hooks in _HOOKS]
    for name, parameter in network.named_parameters():
        gradient = None if parameter.grad is None else parameter.grad.tolist()
        yield name, id(parameter), parameter.requires_grad, gradient, parameter.tolist()
    for name, buffer in network.named_buffers():
        yield name, id(buffer), buffer.tolist()


def test_the_snapshot_sees_a_change() -> None:
    network = _network()
    before = list(_state(network))
    assert list(_state(network)) == before
    with scoring_mode(network):
        inside = list(_state(network))
    assert inside != before
    network[7].weight.grad += 1
    assert list(_state(network)) != before


@pytest.mark.parametrize("name", METHODS)
def test_network_and_images_are_as_before(name: str) -> None:
    network, images = _network(), torch.randn(2, 3, 8, 8)
    before, images_before = list(_state(network)), images.clone()
    _bind(name, network).compute(_pairs(images))
    assert list(_state(network)) == before
    assert torch.equal(images, images_before)
    assert images.grad is None
    assert not images.requires_grad


@pytest.mark.parametrize("name", METHODS)
def test_images_that_want_a_gradient_get_none(name: str) -> None:
    images = torch.randn(2, 3, 8, 8, requires_grad=True)
    answer = _bind(name, _network()).compute(_pairs(images))
    assert images.grad is None
    assert images.requires_grad
    assert not answer.maps.requires_grad


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("middle", [_RaisesForward, _RaisesBackward])
def test_network_and_images_are_as_before_an_exception(name: str, middle: type[nn.Module]) -> None:
    network, images = _network(middle()), torch.randn(2, 3, 8, 8)
    before, images_before = list(_state(network)), images.clone()
    if middle is _RaisesBackward and name in WITHOUT_GRADIENT:
        _bind(name, network).compute(_pairs(images))
    else:
        # Methods by rules for ReLU refuse an operation that they do not know.
        refused = middle is _RaisesBackward and name in BY_RULE
        with pytest.raises(UserError if refused else RefusalError):
            _bind(name, network).compute(_pairs(images))
    assert list(_state(network)) == before
    assert torch.equal(images, images_before)
    assert images.grad is None
    assert not images.requires_grad
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("name", METHODS)
def test_works_where_gradients_are_switched_off(name: str) -> None:
    method, images = _bind(name, _network()), torch.randn(2, 3, 8, 8)
    expected = method.compute(_pairs(images)).maps
    with torch.no_grad():
        assert torch.equal(method.compute(_pairs(images)).maps, expected)
        assert not torch.is_grad_enabled()


def _living_memories() -> int:
    """Pieces of memory that tensors hold; a tensor and a view of it are one."""
    gc.collect()
    tensors = [thing for thing in gc.get_objects() if issubclass(type(thing), Tensor)]
    return len({tensor.untyped_storage().data_ptr() for tensor in tensors})


def test_the_memory_stays_over_many_batches() -> None:
    pairs = _pairs(torch.randn(2, 3, 8, 8))
    methods = [_bind(name, _network()) for name in METHODS]

    def run_all() -> list[Attribution]:
        return [method.compute(pairs) for method in methods]

    run_all()
    before = _living_memories()
    for _ in range(20):
        run_all()
    assert _living_memories() == before
    kept = run_all()
    # The answers themselves, and no graph behind them: the count would show one.
    assert _living_memories() == before + 2 * len(METHODS)
    assert all(answer.maps.grad_fn is None and answer.logits.grad_fn is None for answer in kept)
