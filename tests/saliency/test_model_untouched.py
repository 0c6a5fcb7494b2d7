"""The user's network is after any method what it was before, wherever the method was interrupted."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from wsloc.classifiers import make_scorer, scoring_mode
from wsloc.config import SaliencySettings
from wsloc.errors import UserError
from wsloc.saliency import METHODS, Attribution, MethodContext, PairBatch, bind_method
from wsloc.saliency.interception import CallInterceptor

ALL = pytest.mark.parametrize("name", METHODS)
SETTINGS = SaliencySettings(
    smoothgrad_samples=2,
    integrated_steps=2,
    occlusion_patch=8,
    occlusion_stride=8,
    rise_masks=5,
    score_cam_channels=3,
)


class InnerError(Exception):
    """Not one that wsloc knows."""


class _Tripwire(nn.Module):
    """Raises in its n-th forward pass, or in its n-th backward pass."""

    def __init__(self) -> None:
        super().__init__()
        object.__setattr__(self, "plan", _Plan())

    def forward(self, features: Tensor) -> Tensor:
        self.plan.count("forward")
        if features.requires_grad:
            # Multiplies by one; a function of its own would be refused by the rules for ReLU.
            features = features * 1
            features.register_hook(lambda _: self.plan.count("backward"))
        return features


class _Plan:
    """Counts what happens, and raises when it is time."""

    def __init__(self) -> None:
        self.counts = {"forward": 0, "backward": 0}
        self.trip: tuple[str, int] | None = None
        self.error: type[BaseException] = InnerError

    def count(self, event: str) -> None:
        self.counts[event] += 1
        if self.trip == (event, self.counts[event]):
            raise self.error

    def arm(self, event: str, number: int, error: type[BaseException]) -> None:
        self.counts = {"forward": 0, "backward": 0}
        self.trip, self.error = (event, number), error


def _network(last: nn.Module | None = None) -> nn.Sequential:
    """With every kind of state: flags of both values, frozen parameters, gradients, buffers, hooks of every kind."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        _Tripwire(),
        nn.Conv2d(4, 4, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(4, 3),
        *([last] if last else []),
    )
    network.train()
    network[1].eval()
    network[0].weight.requires_grad_(False)
    network[9].weight.grad = torch.full((3, 4), 7.0)
    network[4].register_forward_hook(lambda _module, _inputs, output: output)
    network[4].register_forward_pre_hook(lambda _module, inputs: inputs)
    network[9].register_forward_hook(lambda _module, _inputs, _options, output: output, with_kwargs=True)
    network[9].register_forward_pre_hook(lambda _module, inputs, options: (inputs, options), with_kwargs=True)
    network[9].register_full_backward_hook(lambda _module, _into, _out: None)
    network[9].register_full_backward_pre_hook(lambda _module, _out: None)
    network[9].weight.register_hook(lambda gradient: gradient)
    return network


def _state(network: nn.Module) -> Iterator[object]:
    """All that somebody could see of a network, and of PyTorch's own state in this thread."""
    for name, module in network.named_modules():
        yield name, id(module), type(module), module.training, sorted(module.__dict__)
        for key, value in sorted(module.__dict__.items()):
            if "hooks" in key and value is not None and not isinstance(value, bool):
                yield key, [(number, id(hook)) for number, hook in value.items()]
    for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
        gradient = None if tensor.grad is None else (id(tensor.grad), tensor.grad.tolist())
        hooks = list(tensor._backward_hooks.items()) if tensor._backward_hooks else []
        # The version counts changes in place, also those that were taken back.
        yield name, id(tensor), tensor.requires_grad, tensor.is_leaf, gradient, tensor._version, hooks
    yield {key: value.tolist() for key, value in network.state_dict().items()}
    yield torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")
    yield list(torch.overrides._get_current_function_mode_stack())
    yield torch.get_rng_state().tolist()
    for key, value in sorted(vars(torch_module).items()):
        if key.startswith("_global_") and key.endswith("hooks") and value is not None:
            yield key, list(value)


def _images() -> Tensor:
    return torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def _run(name: str, network: nn.Module) -> Attribution:
    settings = replace(SETTINGS, method=name)
    bound = bind_method(MethodContext(make_scorer(network, [[0], [1], [2]]), _images()[:1], settings))
    return bound.compute(PairBatch(_images(), torch.tensor([0, 1, 1]), torch.tensor([0, 1, 2]), (1, 2, 3)))


CHANGES: dict[str, Callable[[nn.Sequential], object]] = {
    "flag": lambda network: network[8].eval(),
    "frozen": lambda network: network[9].weight.requires_grad_(False),
    "gradient": lambda network: network[9].weight.grad.add_(1),
    "gradient away": lambda network: network.zero_grad(),
    "forward hook": lambda network: network[3].register_forward_hook(lambda *_: None),
    "pre-forward hook": lambda network: network[3].register_forward_pre_hook(lambda *_: None),
    "backward hook": lambda network: network[3].register_full_backward_hook(lambda *_: None),
    "tensor hook": lambda network: network[4].weight.register_hook(lambda _: None),
    "counter": lambda network: network[1].num_batches_tracked.add_(1),
    "weight in place": lambda network: network[4].weight.detach().add_(0),
    "module": lambda network: network.__setitem__(8, nn.Dropout().train()),
    "attribute": lambda network: setattr(network[8], "seen", True),
    "random numbers": lambda _: torch.rand(1),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_snapshot_sees_a_change(change: str) -> None:
    network = _network()
    before = list(_state(network))
    assert list(_state(network)) == before
    CHANGES[change](network)
    assert list(_state(network)) != before


def test_the_snapshot_sees_a_mode_that_stays() -> None:
    network = _network(nn.Softmax(dim=1))
    before = list(_state(network))
    with CallInterceptor(lambda function, args, kwargs: function(*args, **kwargs)):
        assert list(_state(network)) != before
    with scoring_mode(network):
        assert list(_state(network)) != before
    assert list(_state(network)) == before


@ALL
@pytest.mark.parametrize("last", [None, nn.Softmax(dim=1)])
def test_after_a_method(name: str, last: nn.Module | None) -> None:
    network = _network(last)
    before = list(_state(network))
    _run(name, network)
    assert list(_state(network)) == before


@ALL
@pytest.mark.parametrize("event", ["forward", "backward"])
@pytest.mark.parametrize("error", [InnerError, KeyboardInterrupt])
def test_after_an_interruption_in_each_of_its_passes(name: str, event: str, error: type[BaseException]) -> None:
    network = _network(nn.Softmax(dim=1))
    plan = network[3].plan
    _run(name, network)
    total = plan.counts[event]
    assert plan.counts["forward"] >= 1
    if event == "backward" and not total:
        pytest.skip("the method goes back no further than this layer")
    before = list(_state(network))
    for number in range(1, total + 1):
        plan.arm(event, number, error)
        with pytest.raises(error):
            _run(name, network)
        assert plan.counts[event] == number
        assert list(_state(network)) == before


class _Square(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return 100 * features.square()


def _raise(*_: object) -> None:
    raise InnerError


@ALL
@pytest.mark.parametrize(
    "register", ["register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook"]
)
def test_after_a_hook_of_the_user_raised(name: str, register: str) -> None:
    network = _network(nn.Softmax(dim=1))
    getattr(network[9], register)(_raise)
    before = list(_state(network))
    if "backward" in register and name in {"score-cam", "occlusion", "rise"}:
        _run(name, network)  # No backward pass is made.
    else:
        with pytest.raises(InnerError):
            _run(name, network)
    assert list(_state(network)) == before


@pytest.mark.parametrize("name", ["deconvnet", "guided", "guided-grad-cam", "cam"])
def test_after_a_refusal(name: str) -> None:
    network = _network()
    network[7] = nn.Sequential(nn.Flatten(), _Square())
    before = list(_state(network))
    with pytest.raises(UserError):
        _run(name, network)
    assert list(_state(network)) == before
