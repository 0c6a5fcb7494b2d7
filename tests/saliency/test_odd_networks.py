"""Networks as people write, wrap, cast, trace and compile them: each method is right, or refuses in a sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
import torchvision
from tiny_modules import Wrapper
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from wsloc.classifiers import make_scorer
from wsloc.classifiers.check_network import check_network
from wsloc.config import SaliencySettings
from wsloc.errors import UserError
from wsloc.saliency import METHODS, MethodContext, PairBatch, bind_method
from wsloc.saliency.linearity import refuse_hidden_nonlinearities
from wsloc.saliency.relu_rules import guided

RULES = pytest.mark.parametrize("name", ["deconvnet", "guided"])
PAIRS = torch.tensor([0, 1, 1]), torch.tensor([0, 1, 2])
SETTINGS = SaliencySettings(
    smoothgrad_samples=2,
    integrated_steps=3,
    occlusion_patch=8,
    occlusion_stride=8,
    rise_masks=12,
)
Act = Callable[[Tensor], Tensor]


def _images() -> Tensor:
    return torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(1))


def _maps(name: str, network: nn.Module, **settings: Any) -> Tensor:
    """As the pipeline does it: the network is checked, the method bound, then used."""
    scorer = make_scorer(network, [[0], [1], [2]])
    check_network(scorer, (3, 12, 12))
    bound = bind_method(MethodContext(scorer, _images()[:1], replace(SETTINGS, method=name, **settings)))
    return bound.compute(PairBatch(_images(), *PAIRS, (1, 2, 3))).maps


def _assert_one_sentence(error: UserError) -> None:
    text = str(error)
    assert text.endswith(".")
    assert "\n" not in text
    assert ". " not in text
    assert len(text) < 400


# --- ReLUs and what is none -------------------------------------------------------------------------------------


class _Written(nn.Module):
    """Two layers with an activation that is written in some way, applied twice."""

    def __init__(self, act: Act) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.second = nn.Conv2d(6, 6, 3, padding=1)
        self.last = nn.Linear(6 * 36, 3)
        self.act = act

    def forward(self, images: Tensor) -> Tensor:
        features = F.max_pool2d(self.act(3 * self.first(images)), 2)
        return self.last(self.act(3 * self.second(features)).flatten(1))


def _discarded(function: Callable[[Tensor], object]) -> Act:
    def act(features: Tensor) -> Tensor:
        function(features)
        return features

    return act


def _on_a_view(features: Tensor) -> Tensor:
    features[:, :3].relu_()
    return torch.cat([features[:, :3], features[:, 3:].relu()], dim=1)


class _ReLU(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return F.relu(features)


class _Gate(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return features * (features > 0)


def _set_item(features: Tensor) -> Tensor:
    mask = torch.zeros_like(features)
    mask[features > 0] = 1
    return features * mask


class _OwnFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:
        ctx.save_for_backward(features)
        return features.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * (ctx.saved_tensors[0] > 0)


class Mul(_OwnFunction):
    """Bears the name of an operation that is allowed."""


ONE_MODULE = nn.ReLU(inplace=True)
CAUGHT: dict[str, tuple[nn.Module, Act]] = {
    "F.relu": (nn.ReLU(), F.relu),
    "F.relu by name": (nn.ReLU(), lambda x: F.relu(input=x)),
    "F.relu in place": (nn.ReLU(), lambda x: F.relu(x, inplace=True)),
    "F.relu in place, by position": (nn.ReLU(), lambda x: F.relu(x, True)),
    "F.relu_": (nn.ReLU(), F.relu_),
    "F.relu_, discarded": (nn.ReLU(), _discarded(F.relu_)),
    "torch.relu": (nn.ReLU(), torch.relu),
    "torch.relu_, discarded": (nn.ReLU(), _discarded(torch.relu_)),
    "x.relu": (nn.ReLU(), lambda x: x.relu()),
    "x.relu_": (nn.ReLU(), lambda x: x.relu_()),
    "x.relu_, discarded": (nn.ReLU(), _discarded(lambda x: x.relu_())),
    "one module in place, discarded": (nn.ReLU(), _discarded(ONE_MODULE)),
    "one module many times": (nn.ReLU(), ONE_MODULE),
    "a view in place": (nn.ReLU(), _on_a_view),
    "twice": (nn.ReLU(), lambda x: x.relu().relu()),
    "functional_call": (nn.ReLU(), lambda x: torch.func.functional_call(nn.ReLU(), {}, (x,))),
    "compiled module": (nn.ReLU(), torch.compile(_ReLU(), backend="eager")),
    # PyTorch 2.6 compiles no function of its own.
    "compiled function": (nn.ReLU(), torch.compile(lambda values: F.relu(values), backend="eager")),
    "F.relu6": (nn.ReLU6(), F.relu6),
    "F.relu6 in place, discarded": (nn.ReLU6(), _discarded(lambda x: F.relu6(x, True))),
    "nn.Hardtanh(0, 6)": (nn.ReLU6(), nn.Hardtanh(0, 6)),
    "nn.Hardtanh(0, 6) in place, discarded": (nn.ReLU6(), _discarded(nn.Hardtanh(0, 6, inplace=True))),
    "F.hardtanh_": (nn.ReLU6(), lambda x: F.hardtanh_(x, 0, 6)),
}
REFUSED: dict[str, Act] = {
    "clamp": lambda x: x.clamp(min=0),
    "clamp_min": lambda x: x.clamp_min(0),
    "clamp_": lambda x: x.clamp_(min=0),
    "where": lambda x: torch.where(x > 0, x, 0),
    "maximum": lambda x: torch.maximum(x, torch.zeros_like(x)),
    "max": lambda x: torch.max(x, torch.zeros_like(x)),
    "amax of a stack": lambda x: torch.stack([x, torch.zeros_like(x)]).amax(0),
    "max of a stack": lambda x: torch.stack([x, torch.zeros_like(x)]).max(0).values,
    "threshold": lambda x: F.threshold(x, 0, 0),
    "masked_fill": lambda x: x.masked_fill(x < 0, 0),
    "x * (x > 0)": lambda x: x * (x > 0),
    "x *= x > 0": lambda x: x.mul_(x > 0),
    "x * gt(x)": lambda x: torch.mul(x, torch.gt(x.detach(), 0).float()),
    "x * mask that is written": _set_item,
    "x * mask from NumPy": lambda x: x * torch.from_numpy(x.detach().numpy() > 0),
    "x * heaviside": lambda x: x * torch.heaviside(x.detach(), torch.zeros(())),
    "x * top 3": lambda x: x * (x >= x.topk(3, dim=1).values[:, -1:]),
    "a gate under vmap": lambda x: torch.vmap(_Gate())(x),
    "a gate, traced": torch.jit.trace(_Gate(), torch.randn(2, 6, 4, 4)),
    "a gate, scripted": torch.jit.script(_Gate()),
    "a gate, compiled": torch.compile(_Gate(), backend="eager"),
    "x * x": lambda x: x * x,
    "x * x.detach": lambda x: x * x.detach(),
    "x / sum": lambda x: x / (1 + x.relu().sum(dim=1, keepdim=True)),
    "matmul of features": lambda x: x @ x.transpose(2, 3),
    "squeeze and excitation": lambda x: x * x.mean((2, 3), keepdim=True).sigmoid(),
    "hard squeeze and excitation": lambda x: x * F.relu6(x.mean((2, 3), keepdim=True) + 3) / 6,
    "relu of ATen": lambda x: torch.ops.aten.relu(x),
    "relu under vmap": lambda x: torch.vmap(F.relu)(x),
    "relu, traced": torch.jit.trace(_ReLU(), torch.randn(2, 6, 4, 4)),
    "relu, scripted": torch.jit.script(_ReLU()),
    "own function": _OwnFunction.apply,
    "own function of a known name": Mul.apply,
    "checkpoint": lambda x: checkpoint(F.relu, x, use_reentrant=False),
    "checkpoint, reentrant": lambda x: checkpoint(F.relu, x, use_reentrant=True),
    "checkpoint, unchecked": lambda x: checkpoint(F.relu, x, use_reentrant=False, determinism_check="none"),
    "hardtanh of other bounds": nn.Hardtanh(0, 3),
    "leaky_relu": F.leaky_relu,
    "prelu": nn.PReLU(),
    "rrelu": F.rrelu,
    "elu": F.elu,
    "gelu": F.gelu,
    "silu": F.silu,
    "hardswish": F.hardswish,
    "softplus": nn.Softplus(),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "abs": torch.abs,
    "square": torch.square,
    "power": lambda x: x**2,
    "normalize": F.normalize,
    "layer_norm": lambda x: F.layer_norm(x, x.shape[1:]),
    "group_norm": lambda x: F.group_norm(x, 2),
    "instance_norm": lambda x: F.instance_norm(x),
    "softmax": lambda x: x.softmax(dim=1),
    "sort": lambda x: x.sort(dim=1).values,
    "maxout": lambda x: torch.stack([x, -x]).amax(0),
}  # fmt: skip


@RULES
@pytest.mark.parametrize("how", CAUGHT)
def test_a_relu_however_it_is_written(name: str, how: str) -> None:
    module, act = CAUGHT[how]
    expected = _maps(name, _Written(module))
    assert expected.amax(dim=(1, 2)).min() > 0
    assert not torch.allclose(expected, _maps("gradient", _Written(module)), atol=0.01 * float(expected.max()))
    torch.testing.assert_close(_maps(name, _Written(act)), expected, rtol=0, atol=1e-6 * float(expected.max()))


@RULES
@pytest.mark.parametrize("how", REFUSED)
def test_what_is_no_relu_is_refused(name: str, how: str) -> None:
    with pytest.raises(UserError) as caught:
        _maps(name, _Written(REFUSED[how]))
    _assert_one_sentence(caught.value)


@RULES
def test_maxima_over_places_are_pooling(name: str) -> None:
    class Maxima(_Written):
        def forward(self, images: Tensor) -> Tensor:
            features = F.max_pool2d(self.act(3 * self.first(images)), kernel_size=3, stride=2, padding=1)
            features = F.adaptive_max_pool2d(F.relu(self.second(features)), (3, 2)).amax(dim=(-2, -1))
            return F.linear(features, self.last.weight[:, :6])

    maps = _maps(name, Maxima(nn.ReLU()))
    assert maps.amax(dim=(1, 2)).min() > 0
    with pytest.raises(UserError):
        _maps(name, Maxima(_Gate()))


def test_a_gate_behind_the_pooling_is_seen() -> None:
    """There the features of any two patches of noise are almost the same."""
    for seed in range(5):
        torch.manual_seed(seed)
        trunk = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 32))
        refuse_hidden_nonlinearities(make_scorer(nn.Sequential(trunk, nn.ReLU()), [[0]]), torch.zeros(1, 3, 160, 160))
        hidden = nn.Sequential(trunk, _Gate(), nn.Linear(32, 3))
        with pytest.raises(UserError):
            refuse_hidden_nonlinearities(make_scorer(hidden, [[0]]), torch.zeros(1, 3, 160, 160))


def test_the_check_can_be_made_once() -> None:
    scorer = make_scorer(_Written(_Gate()), [[0], [1], [2]])
    batch = PairBatch(_images(), *PAIRS)
    with pytest.raises(UserError):
        guided(scorer, batch)
    guided(scorer, batch, checked=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("arch", ["squeezenet1_1", "mobilenet_v2", "shufflenet_v2_x0_5", "regnet_x_400mf", "resnet18"])
def test_networks_of_relus_pass_the_check(arch: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    network = torchvision.models.get_model(arch, weights=None).to(dtype)
    refuse_hidden_nonlinearities(make_scorer(network, [[0]]), torch.zeros(1, 3, 64, 64))


@pytest.mark.parametrize("arch", ["mobilenet_v3_small", "regnet_y_400mf", "efficientnet_b0", "convnext_tiny"])
def test_other_networks_do_not(arch: str) -> None:
    torch.manual_seed(0)
    scorer = make_scorer(torchvision.models.get_model(arch, weights=None), [[0]])
    with pytest.raises(UserError):
        refuse_hidden_nonlinearities(scorer, torch.zeros(1, 3, 64, 64))


# --- Modes, precisions, wrappers, compilers ---------------------------------------------------------------------


class _Plain(nn.Module):
    """With batch normalization that does something, dropout, a ReLU and a pooling that are functions."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 8, 3, padding=1),
            nn.BatchNorm2d(8),
        )
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(8, 3)
        for module in self.features:
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
        with torch.no_grad():
            # Positive, so that no class activation map is all zeros.
            self.head.weight.abs_()
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        pooled = F.adaptive_avg_pool2d(F.relu(self.features(images)), 1).flatten(1)
        return self.head(self.drop(pooled))


class _Checkpointed(Wrapper):
    def forward(self, images: Tensor) -> Tensor:
        return checkpoint(self.module, images, use_reentrant=False)


class _WithoutParameters(nn.Module):
    """Holds its weights as buffers."""

    def __init__(self, network: _Plain) -> None:
        super().__init__()
        for key, value in network.state_dict().items():
            self.register_buffer(key.replace(".", "_"), value.clone())

    def forward(self, images: Tensor) -> Tensor:
        features = F.conv2d(images, self.features_0_weight, self.features_0_bias, padding=1)
        features = F.max_pool2d(F.relu(self._normalized(features, 1)), 2)
        features = F.conv2d(features, self.features_4_weight, self.features_4_bias, padding=1)
        pooled = F.relu(self._normalized(features, 5)).mean(dim=(2, 3))
        return F.linear(pooled, self.head_weight, self.head_bias)

    def _normalized(self, features: Tensor, number: int) -> Tensor:
        mean, var, weight, bias = (
            getattr(self, f"features_{number}_{name}") for name in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(features, mean, var, weight, bias)


def _frozen(network: nn.Module) -> nn.Module:
    return network.requires_grad_(False)


def _compiled(**options: Any) -> Callable[[nn.Module], nn.Module]:
    return lambda network: torch.compile(network, **options)


def _compiled_and_run(backend: str) -> Callable[[nn.Module], nn.Module]:
    def make(network: nn.Module) -> nn.Module:
        compiled = torch.compile(network, backend=backend)
        compiled(_images())
        return compiled

    return make


def _compiled_in_place(network: nn.Module) -> nn.Module:
    network.compile(backend="eager")
    network(_images())
    return network


def _compiled_inside(network: Any) -> nn.Module:
    network.features = torch.compile(network.features, backend="aot_eager")
    return network


def _traced(network: nn.Module) -> nn.Module:
    return torch.jit.trace(network, _images())


LAYERS = {"grad-cam", "grad-cam++", "layer-cam", "xgrad-cam", "hires-cam"}
UNSEEN = {"deconvnet", "guided", "guided-grad-cam", "cam", "score-cam", *LAYERS}
"""Methods that must see what the network does inside."""
AGAIN = {"deconvnet", "guided", "guided-grad-cam", "cam", *LAYERS}
"""Methods that must see it in the backward pass too."""
WRAPPINGS: dict[str, tuple[Callable[[Any], nn.Module], set[str]]] = {
    "training": (lambda network: network.train(), set()),
    "frozen": (_frozen, set()),
    "frozen, training": (lambda network: _frozen(network).train(), set()),
    "no parameters": (_WithoutParameters, set()),
    "double": (lambda network: network.double(), set()),
    "channels last": (lambda network: network.to(memory_format=torch.channels_last), set()),
    "DataParallel": (nn.DataParallel, set()),
    "own wrapper": (Wrapper, set()),
    "own wrapper, training": (lambda network: Wrapper(network).train(), set()),
    "weight norm": (lambda network: _parametrised(network), set()),
    "fx": (torch.fx.symbolic_trace, set()),
    "compiled, eager": (_compiled(backend="eager"), set()),
    "compiled, aot_eager": (_compiled(backend="aot_eager"), set()),
    "compiled, full graph": (_compiled(backend="eager", fullgraph=True), set()),
    "compiled, training": (lambda network: torch.compile(network.train(), backend="aot_eager"), set()),
    "compiled, run before, eager": (_compiled_and_run("eager"), set()),
    "compiled, run before, aot_eager": (_compiled_and_run("aot_eager"), set()),
    "compiled in place": (_compiled_in_place, set()),
    "compiled inside": (_compiled_inside, set()),
    "traced": (_traced, UNSEEN),
    "traced, frozen": (lambda network: torch.jit.freeze(_traced(network)), UNSEEN),
    "scripted": (torch.jit.script, UNSEEN),
    "scripted, training": (lambda network: torch.jit.script(network.train()), UNSEEN),
    "traced, own wrapper": (lambda network: Wrapper(_traced(network)), UNSEEN),
    "checkpointed": (_Checkpointed, AGAIN),
}


def _parametrised(network: Any) -> nn.Module:
    torch.nn.utils.parametrizations.weight_norm(network.features[4])
    return network


@pytest.fixture(autouse=True)
def _nothing_compiled() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.fixture(scope="module")
def plain_maps() -> dict[str, Tensor]:
    found = {name: _maps(name, _Plain()) for name in METHODS}
    assert all(maps.amax(dim=(1, 2)).min() > 0 for maps in found.values())
    return found


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("how", WRAPPINGS)
def test_a_network_however_it_is_wrapped(how: str, name: str, plain_maps: dict[str, Tensor]) -> None:
    wrap, refused = WRAPPINGS[how]
    network = wrap(_Plain())
    if name in refused:
        with pytest.raises(UserError) as caught:
            _maps(name, network)
        _assert_one_sentence(caught.value)
        return
    maps, expected = _maps(name, network), plain_maps[name]
    assert maps.dtype == torch.float32
    for one, other in zip(maps, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5 * float(other.max()))


def test_compiled_code_is_compiled_again_afterwards() -> None:
    compiled_graphs = []

    def backend(graph: Any, _inputs: object) -> Any:
        compiled_graphs.append(graph)
        return graph.forward

    network = torch.compile(_Plain(), backend=backend)
    _maps("guided", network)
    assert not compiled_graphs
    network(_images())
    assert compiled_graphs


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(("dtype", "least"), [(torch.float16, 0.99), (torch.bfloat16, 0.95)])
def test_half_precision(name: str, dtype: torch.dtype, least: float, plain_maps: dict[str, Tensor]) -> None:
    """By correlation: a few values near zero pass another gate, where a gradient jumps."""
    try:
        maps = _maps(name, _Plain().to(dtype))
    except UserError as refusal:
        # Its check for a linear head may take the rounding of these types for more.
        assert name == "cam"
        _assert_one_sentence(refusal)
        return
    assert maps.dtype == torch.float32
    for one, other in zip(maps, plain_maps[name], strict=True):
        assert np.corrcoef(one.flatten(), other.flatten())[0, 1] > least


@pytest.mark.parametrize("name", sorted(LAYERS | {"score-cam"}))
@pytest.mark.parametrize("make", [torch.jit.script, lambda inner: torch.jit.trace(inner, torch.randn(2, 3, 12, 12))])
def test_a_named_layer_that_cannot_be_watched(name: str, make: Callable[[nn.Module], nn.Module]) -> None:
    network = _Plain()
    network.features = make(network.features)
    with pytest.raises(UserError) as caught:
        _maps(name, network, cam_layers=("features.4",))
    _assert_one_sentence(caught.value)


class _AlwaysDropping(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return F.dropout(features, 0.5)


class _WithoutGradient(Wrapper):
    def forward(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            return self.module(images)


class _Inference(Wrapper):
    def forward(self, images: Tensor) -> Tensor:
        with torch.inference_mode():
            return self.module(images)


def _dropping() -> nn.Module:
    network = _Plain()
    network.drop = _AlwaysDropping()
    return network


def _traced_in_training() -> nn.Module:
    network = _Plain().train()
    network.features.eval()
    return torch.jit.trace(network, _images(), check_trace=False)


def _unnormalized() -> nn.Module:
    network = _Plain()
    network.features[1] = nn.BatchNorm2d(8, track_running_stats=False)
    return network


def _changed_in_place(features: Tensor) -> Tensor:
    features[:, :3].relu_()
    features[:, 3:].relu_()
    return features


UNFIT: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "dropout that stays on": (_dropping, "different outputs each time"),
    "traced while training": (_traced_in_training, "different outputs each time"),
    "no_grad": (lambda: _WithoutGradient(_Plain()), "no gradient"),
    "saved features that are changed": (lambda: _Written(_changed_in_place), "cannot be differentiated"),
    "inference mode": (lambda: _Inference(_Plain()), "no gradient"),
    "quantized": (lambda: torch.ao.quantization.quantize_dynamic(_Plain(), {nn.Linear}), "no gradient"),
    "reentrant checkpoint": (
        lambda: _Written(lambda x: checkpoint(F.relu, x, use_reentrant=True)),
        "cannot be differentiated",
    ),
    "statistics of the batch": (_unnormalized, "mixes the images"),
    "traced softmax": (lambda: _traced(nn.Sequential(_Plain(), nn.Softmax(1))), "returns probabilities"),
    "scripted softmax": (lambda: torch.jit.script(nn.Sequential(_Plain(), nn.Softmax(1))), "returns probabilities"),
}


@pytest.mark.parametrize("how", UNFIT)
def test_a_network_that_no_method_fits(how: str) -> None:
    make, words = UNFIT[how]
    with pytest.raises(UserError, match=words) as caught:
        check_network(make_scorer(make(), [[0]]), (3, 12, 12))
    _assert_one_sentence(caught.value)


def test_a_network_of_zeros_is_steady() -> None:
    network = _Plain()
    nn.init.zeros_(network.head.bias)
    nn.init.zeros_(network.head.weight)
    assert check_network(make_scorer(network, [[0]]), (3, 12, 12)) == 3
