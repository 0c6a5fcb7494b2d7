"""CAM, Grad-CAM and their kin on networks small enough to work out by hand; where they read features, and how."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from tiny_modules import Calls, Wrapper
from torch import Tensor, nn

from wsloc.classifiers import make_scorer
from wsloc.classifiers.grid import as_grid
from wsloc.config import SaliencySettings
from wsloc.errors import UserError
from wsloc.saliency import METHODS, Attribution, BoundMethod, MethodContext, PairBatch, bind_method, layers
from wsloc.saliency.activation_maps import activation_maps, signed_activation_maps
from wsloc.saliency.cam import cam, find_cam_layer
from wsloc.saliency.grad_cam import grad_cam, hires_cam, weigh_by_mean_gradient
from wsloc.saliency.layers import Layer, find_layer, named_layer

ACTIVATION_MAPS = ["cam", "grad-cam", "grad-cam++", "layer-cam", "xgrad-cam", "hires-cam", "score-cam"]
ON_LAYERS = ACTIVATION_MAPS[1:]


def _maps(
    network: nn.Module, name: str, images: Tensor, layers: tuple[str, ...] = (), outputs: tuple[int, ...] = (0,)
) -> Tensor:
    """The maps of some outputs for each image, image by image: ``(N * len(outputs), H, W)``."""
    settings = SaliencySettings(method=name, cam_layers=layers)
    method = bind_method(MethodContext(make_scorer(network, [[k] for k in outputs]), images[:1], settings))
    index = torch.arange(len(images)).repeat_interleave(len(outputs))
    classes = torch.arange(len(outputs)).repeat(len(images))
    return method.compute(PairBatch(images, index, classes)).maps


# Values by hand -------------------------------------------------------------------------------------------------------


def _hand_network() -> nn.Sequential:
    """Features A = relu(x) of 2 channels and 2 x 2 positions; each output weighs each of them, so that g is given."""
    network = nn.Sequential(nn.Conv2d(2, 2, 1, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2, bias=False))
    with torch.no_grad():
        network[0].weight.copy_(torch.eye(2)[:, :, None, None])
        network[3].weight[0] = torch.tensor([[[-1.0, 1.0], [2.0, 0.0]], [[3.0, 1.0], [-4.0, -4.0]]]).flatten()
        network[3].weight[1] = torch.tensor([[[1.0, 0.0], [0.0, 0.0]], [[0.0, 2.0], [0.0, 0.0]]]).flatten()
    return network


HAND_IMAGE = torch.tensor([[[1.0, 2.0], [-2.0, 3.0]], [[2.0, -1.0], [1.0, 1.0]]])
# A0 = 1 2   A1 = 2 0   for output 0:  g0 = -1  1    g1 =  3  1
#      0 3        1 1                        2  0         -4 -4
#
# g0 A0 = -1  2   sum 1    g1 A1 =  6  0   sum -2       sums of A0 and A1: 6 and 4
#          0  0                    -4 -4
#
# Grad-CAM   weights mean(g0) = 1/2, mean(g1) = -1:   1/2 - 2 = -3/2    1
#                                                     -1                3/2 - 1 = 1/2
# HiResCAM   g0 A0 + g1 A1                            5    2
#                                                     -4  -4
# LayerCAM   relu(g0) A0 = 0 2   relu(g1) A1 = 6 0    6    2
#                          0 0                 0 0    0    0
# XGrad-CAM  weights 1/6 and -2/4:                    1/6 - 1    1/3
#                                                     -1/2       1/2 - 1/2 = 0
# Grad-CAM++ a = g^2 / (2 g^2 + sum(A) g^3)
#            k = 0: at g = 1: 1 / (2 + 6) = 1/8; at g = 2: 4 / (8 + 48) = 1/14;  weight 1/8 + 2/14 = 15/56
#            k = 1: at g = 3: 9 / (18 + 108) = 1/14; at g = 1: 1 / (2 + 4) = 1/6;  weight 3/14 + 1/6 = 8/21
#            15/56 + 16/21 = 173/168    30/56
#            8/21                       45/56 + 8/21 = 199/168
# Score-CAM  masks A0 / 3 and A1 / 2. Features under a mask m are A m, so that the scores are sum(m (g0 A0 + g1 A1)):
#            5/3 + 4/3 - 4 = -1    and    5 - 2 - 2 = 1
#            weights u = 1 / (1 + e^2) and v = 1 - u:   u + 2 v    2 u
#                                                       v          3 u + v
#
# For output 1:  g0 = 1 0   g1 = 0 2
#                     0 0        0 0
#
# Grad-CAM   A0 / 4 + A1 / 2                          5/4    1/2
#                                                     1/2    5/4
# HiResCAM and LayerCAM                               1      0
#                                                     0      0
# XGrad-CAM  weights 1/6 and 0/4: A0 / 6
# Grad-CAM++ k = 0: 1 / (2 + 6) = 1/8; k = 1: at g = 2: 4 / (8 + 32) = 1/10, weight 1/5:  A0 / 8 + A1 / 5
# Score-CAM  scores sum(m (g0 A0 + g1 A1)) = 1/3 and 1
U, U_1 = 1 / (1 + math.exp(2)), 1 / (1 + math.exp(2 / 3))
HAND_MAPS: dict[str, list[list[list[float]]]] = {
    "grad-cam": [[[0, 1], [0, 1 / 2]], [[5 / 4, 1 / 2], [1 / 2, 5 / 4]]],
    "hires-cam": [[[5, 2], [0, 0]], [[1, 0], [0, 0]]],
    "layer-cam": [[[6, 2], [0, 0]], [[1, 0], [0, 0]]],
    "xgrad-cam": [[[0, 1 / 3], [0, 0]], [[1 / 6, 1 / 3], [0, 1 / 2]]],
    "grad-cam++": [
        [[173 / 168, 15 / 28], [8 / 21, 199 / 168]],
        [[1 / 8 + 2 / 5, 1 / 4], [1 / 5, 3 / 8 + 1 / 5]],
    ],
    "score-cam": [
        [[2 - U, 2 * U], [1 - U, 1 + 2 * U]],
        [[2 - U_1, 2 * U_1], [1 - U_1, 1 + 2 * U_1]],
    ],
}


@pytest.mark.parametrize("name", ON_LAYERS)
def test_by_hand(name: str) -> None:
    maps = _maps(_hand_network(), name, HAND_IMAGE[None], ("1",), (0, 1))
    torch.testing.assert_close(maps, torch.tensor(HAND_MAPS[name], dtype=torch.float32), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ON_LAYERS)
def test_channels_and_gradients_of_zero_leave_no_nan(name: str) -> None:
    images = torch.stack([HAND_IMAGE, HAND_IMAGE.clone(), -HAND_IMAGE.abs()])
    images[1, 0] = -1  # channel 0 is off
    maps = _maps(_hand_network(), name, images, ("1",), (0, 1))
    assert maps.isfinite().all()
    assert maps[:2].any()
    assert not maps[4:].any()  # all channels are off


def test_xgrad_cam_of_features_that_sum_to_zero() -> None:
    """Such a channel has no weight, where the formula divides by zero; the other one has 1/6 as above."""
    image = torch.stack([HAND_IMAGE[0].relu(), torch.tensor([[1.0, -1.0], [2.0, -2.0]])])
    maps = _maps(_hand_network(), "xgrad-cam", image[None], ("0",))
    torch.testing.assert_close(maps, torch.tensor([[[1.0, 2.0], [0.0, 3.0]]]) / 6)


@pytest.mark.parametrize("name", ON_LAYERS)
def test_maps_of_signed_features_are_rectified(name: str) -> None:
    maps = _maps(_Named(), name, _images(), ("stem.0",), (0, 1, 2))
    assert (maps >= 0).all()
    assert (maps == 0).any()
    assert maps.any()


def test_maps_are_enlarged_by_interpolation_with_the_corners_in_place() -> None:
    pixels = torch.tensor([[0.0, 4.0]])
    network = nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(2, 1, bias=False))
    nn.init.ones_(network[2].weight)
    image = pixels.repeat_interleave(2, 0).repeat_interleave(2, 1)[None, None]
    # Centers of the two cells lie at 1/2 and 5/2 of the four columns' centers 0 to 3.
    assert _maps(network, "hires-cam", image, ("0",)).tolist() == [[[0, 1, 3, 4]] * 2]


# CAM and the heads it is exact for ------------------------------------------------------------------------------------


def _body(channels: int = 5) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, channels, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))


def _images(count: int = 2, size_hw: tuple[int, int] = (12, 16)) -> Tensor:
    return torch.randn(count, 3, *size_hw, generator=torch.Generator().manual_seed(1))


def _rectified_and_enlarged(maps: Tensor, size_hw: tuple[int, int]) -> Tensor:
    return F.interpolate(maps.relu()[:, None], size_hw, mode="bilinear", align_corners=False)[:, 0]


POOLINGS: dict[str, Callable[[], nn.Module]] = {
    "AdaptiveAvgPool2d": lambda: nn.AdaptiveAvgPool2d(1),
    "AvgPool2d": lambda: nn.AvgPool2d((6, 8)),
    "mean": lambda: Calls(lambda values: values.mean((2, 3))),
    "mean from behind": lambda: Calls(lambda values: values.mean(dim=[-1, -2], keepdim=True)),
    "torch.mean": lambda: Calls(lambda values: torch.mean(values, (2, 3))),
    "F.adaptive_avg_pool2d": lambda: Calls(lambda values: F.adaptive_avg_pool2d(input=values, output_size=(1, 1))),
    "F.avg_pool2d": lambda: Calls(lambda values: F.avg_pool2d(values, values.shape[2:])),
}
HEADS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(5, 4),
    "no bias": lambda: nn.Linear(5, 4, bias=False),
    "dropout": lambda: nn.Sequential(nn.Dropout(), nn.Linear(5, 4)),
    "two linear ones": lambda: nn.Sequential(nn.Linear(5, 7), nn.Linear(7, 4)),
    "batch norm": lambda: nn.Sequential(nn.BatchNorm1d(5), nn.Linear(5, 4)),
    "softmax": lambda: nn.Sequential(nn.Linear(5, 4), nn.Softmax(dim=1)),
}


@pytest.mark.parametrize("pooling", POOLINGS.values(), ids=POOLINGS)
@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_cam_of_a_linear_head(pooling: Callable[[], nn.Module], head: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    body, last = _body(), head()
    network, images = nn.Sequential(body, pooling(), nn.Flatten(), last).eval(), _images()
    with torch.no_grad():
        # The weights from pooled features to scores: what the head makes of each channel alone.
        bare = last[:-1] if isinstance(last, nn.Sequential) and isinstance(last[-1], nn.Softmax) else last
        weights = bare(torch.eye(5)) - bare(torch.zeros(1, 5))
        expected = torch.einsum("nkhw,ko->nohw", body(images), weights)[:, [2, 0]].flatten(0, 1)
    maps = _rectified_and_enlarged(expected, (12, 16))
    assert maps.amax(dim=(1, 2)).all()
    assert (expected < 0).any()
    torch.testing.assert_close(
        _maps(network, "cam", images, outputs=(2, 0)), maps, rtol=0, atol=1e-5 * float(maps.max())
    )


@pytest.mark.parametrize("rectified", [False, True])
@pytest.mark.parametrize("pooling", POOLINGS.values(), ids=POOLINGS)
def test_cam_of_a_1_x_1_convolution_before_the_pooling(pooling: Callable[[], nn.Module], rectified: bool) -> None:
    torch.manual_seed(1)
    body, convolution = _body(), nn.Conv2d(5, 4, 1)
    network = nn.Sequential(
        body, convolution, nn.ReLU() if rectified else nn.Identity(), pooling(), nn.Flatten()
    ).eval()
    images = _images()
    with torch.no_grad():
        class_maps = convolution(body(images))[:, [2, 0]].flatten(0, 1)
    maps = _rectified_and_enlarged(class_maps, (12, 16))
    assert maps.any()
    torch.testing.assert_close(_maps(network, "cam", images, outputs=(2, 0)), maps, rtol=0, atol=1e-6)


NOT_LINEAR: dict[str, Callable[[], list[nn.Module]]] = {
    "two layers": lambda: [
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(5, 7),
        nn.ReLU(),
        nn.Linear(7, 4),
    ],
    "layer norm": lambda: [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(5), nn.Linear(5, 4)],
    "global maximum": lambda: [nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(5, 4)],
    "maximum of fixed size": lambda: [nn.MaxPool2d((6, 8)), nn.Flatten(), nn.Linear(5, 4)],
    "amax": lambda: [Calls(lambda values: values.amax((2, 3))), nn.Linear(5, 4)],
    "no pooling": lambda: [nn.Flatten(), nn.Linear(5 * 48, 4)],
    "pooling to 2 x 2": lambda: [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(20, 4)],
}


@pytest.mark.parametrize("head", NOT_LINEAR.values(), ids=NOT_LINEAR)
@pytest.mark.parametrize("bias", [0.0, 1000.0])
def test_cam_is_refused_for_other_heads(head: Callable[[], list[nn.Module]], bias: float) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(_body(), *head()).eval()
    nn.init.constant_(network[-1].bias, bias)  # however large, it does not make a head linear
    refusal = r"^CAM needs a network that ends in global average pooling and one linear layer .*`method='grad-cam'`\.$"
    with pytest.raises(UserError, match=refusal):
        _maps(network, "cam", _images())
    assert _maps(network, "hires-cam", _images()).any()


def test_a_large_bias_does_not_make_a_linear_head_look_bent() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(_body(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4)).eval()
    nn.init.constant_(network[-1].bias, 1000.0)
    assert find_cam_layer(make_scorer(network, [[0]]), _images()) == Layer("pooling-input", call=1)


def test_cam_takes_no_layer() -> None:
    network = nn.Sequential(_body(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4))
    with pytest.raises(UserError, match="leave out `cam_layers`"):
        _maps(network, "cam", _images(), ("0",))


# No gradient below the layer ------------------------------------------------------------------------------------------


class BelowError(Exception):
    pass


class _FailingBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:  # noqa: ARG004
        return features.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # noqa: ARG004
        raise BelowError


class _Below(nn.Module):
    """Cannot be differentiated; remembers whether what it gives has a graph."""

    def __init__(self) -> None:
        super().__init__()
        self.with_graph: list[bool] = []

    def forward(self, features: Tensor) -> Tensor:
        answer = _FailingBackward.apply(features)
        self.with_graph.append(answer.grad_fn is not None or answer.requires_grad)
        return answer


class _Watched(nn.Module):
    """Remembers what comes by."""

    def __init__(self) -> None:
        super().__init__()
        self.with_graph: list[bool] = []

    def forward(self, features: Tensor) -> Tensor:
        self.with_graph.append(features.grad_fn is not None)
        return features


def _with_a_barrier() -> tuple[nn.Sequential, _Below, _Watched]:
    torch.manual_seed(0)
    below, above = _Below(), _Watched()
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.ReLU(inplace=True),
        below,
        nn.Sequential(nn.Conv2d(4, 5, 3, padding=1), nn.BatchNorm2d(5), nn.ReLU(inplace=True)),
        nn.AdaptiveAvgPool2d(1),
        above,
        nn.Flatten(),
        nn.Linear(5, 4),
    )
    return network.train(), below, above


@pytest.mark.parametrize(
    ("name", "layers"), [(name, ()) for name in ACTIVATION_MAPS] + [(name, ("3",)) for name in ON_LAYERS]
)
def test_no_gradient_below_the_layer(name: str, layers: tuple[str, ...]) -> None:
    network, below, above = _with_a_barrier()
    images = _images(3).requires_grad_(True)
    maps = _maps(network, name, images, layers, (0, 1))
    assert maps.any()
    assert below.with_graph
    assert not any(below.with_graph)
    if name != "score-cam":  # which needs no gradient at all
        assert any(above.with_graph)
    assert images.grad is None


@pytest.mark.parametrize(("name", "layers"), [("gradient", ()), ("grad-cam", ("0",)), ("grad-cam", ("0", "3"))])
def test_the_barrier_is_one(name: str, layers: tuple[str, ...]) -> None:
    network, below, _ = _with_a_barrier()
    with pytest.raises(BelowError):
        _maps(network, name, _images(), layers)
    assert below.with_graph[-1]


# Named layers ---------------------------------------------------------------------------------------------------------


class _Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
        self.block = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(inplace=True))
        self.deep = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(6, 7, 3, padding=1), nn.ReLU(inplace=True))
        self.head = nn.Linear(7, 4)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.deep(self.block(self.stem(images))).mean((2, 3)))


def _grad_cam_of_block(network: _Named, images: Tensor, output: int) -> Tensor:
    features = network.block(network.stem(images)).detach().requires_grad_(True)
    scores = network.head(network.deep(features).mean((2, 3)))[:, output]
    (gradients,) = torch.autograd.grad(scores.sum(), features)
    return (gradients.mean((2, 3), keepdim=True) * features).sum(dim=1).detach()


@pytest.mark.parametrize("wraps", [0, 1, 2])
def test_a_layer_by_its_name_through_any_wrapper(wraps: int) -> None:
    network, images = _Named(), _images()
    expected = _rectified_and_enlarged(_grad_cam_of_block(network, images, 1), (12, 16))
    wrapped: nn.Module = network
    for _ in range(wraps):
        wrapped = Wrapper(wrapped)
    scorer = make_scorer(wrapped, [[1]])
    assert named_layer(scorer, "block") == Layer("module-output", "module." * wraps + "block")
    assert expected.any()
    for name in ("block", "module." * wraps + "block", "block.2"):
        torch.testing.assert_close(_maps(wrapped, "grad-cam", images, (name,), (1,)), expected)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("blok", "The network has no layer 'blok'; did you mean block?"),
        ("lock", "The network has no layer 'lock'; did you mean block?"),  # no whole part of a name
        ("7x7", "The network has no layer '7x7'; it has stem, block, deep, head."),
        ("1", "The layer '1' may be any of stem.1, block.1, deep.1; give the whole name."),
        (
            "head",
            "The layer's features of shape (1, 4) have no place in an image of 16 x 12 pixels; name another layer.",
        ),
    ],
)
def test_a_layer_that_cannot_be_read(name: str, sentence: str) -> None:
    with pytest.raises(UserError) as refusal:
        grad_cam(
            scorer := make_scorer(_Named(), [[0]]),
            PairBatch(_images(), torch.tensor([0]), torch.tensor([0])),
            [named_layer(scorer, name)],
        )
    assert str(refusal.value) == sentence


class _Recurrent(nn.Module):
    def __init__(self, times: int = 2, give: Callable[[Tensor], Any] = lambda values: values) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 3, 3, padding=1)
        self.again = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU())
        self.pair = Calls(give)
        self.head = nn.Linear(3, 2)
        self.times = times

    def forward(self, images: Tensor) -> Tensor:
        features = self.stem(images)
        for _ in range(self.times):
            features = self.again(features)
        self.pair(features)
        return self.head(features.mean((2, 3)))


@pytest.mark.parametrize("name", ON_LAYERS)
@pytest.mark.parametrize(("times", "how_often"), [(0, "does not run"), (2, "runs 2 times"), (3, "runs 3 times")])
def test_a_layer_that_does_not_run_once_is_refused(name: str, times: int, how_often: str) -> None:
    with pytest.raises(UserError) as refusal:
        _maps(_Recurrent(times), name, _images(), ("again",))
    sentence = str(refusal.value)
    assert sentence.startswith(f"The layer again {how_often} in a pass")
    assert sentence.count(".") == 1
    assert sentence.endswith(".")


@pytest.mark.parametrize("name", ON_LAYERS)
def test_a_layer_that_gives_no_tensor_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=r"^The layer pair gives no single tensor; name another layer\.$"):
        _maps(_Recurrent(1, lambda values: (values, values)), name, _images(), ("pair",))


@pytest.mark.parametrize("name", [name for name in ON_LAYERS if name != "score-cam"])
@pytest.mark.parametrize("layers", [("pair",), ("again", "pair")], ids="+".join)
def test_a_layer_that_the_scores_do_not_depend_on_is_refused(name: str, layers: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match=r"does not depend on a layer"):
        _maps(_Recurrent(1, lambda values: 2 * values), name, _images(), layers)


@pytest.mark.parametrize("name", [name for name in ON_LAYERS if name != "score-cam"])
@pytest.mark.parametrize("layers", [("stem", "deep"), ("deep", "stem"), ("stem", "block", "deep")], ids="+".join)
def test_several_layers_are_fused_by_the_maximum(name: str, layers: tuple[str, ...]) -> None:
    network, images = _Named(), _images()
    alone = [_maps(network, name, images, (layer,), (1, 2)) for layer in layers]
    assert all(maps.amax(dim=(1, 2)).any() for maps in alone)
    over_maximum = [maps / maps.amax(dim=(1, 2), keepdim=True).clamp(min=1e-30) for maps in alone]
    expected = torch.stack(over_maximum).amax(dim=0)
    fused = _maps(network, name, images, layers, (1, 2))
    torch.testing.assert_close(fused, expected, rtol=0, atol=1e-5)
    assert all((fused - maps).abs().max() > 0.1 for maps in over_maximum)


def test_a_map_of_zeros_is_fused_as_zeros() -> None:
    scorer, images = make_scorer(_Named(), [[0]]), _images()
    batch = PairBatch(images, torch.tensor([0, 1]), torch.tensor([0, 0]))
    layers = [named_layer(scorer, "stem"), named_layer(scorer, "deep")]
    nothing = activation_maps(scorer, batch, layers, lambda features, _: 0 * features[:, 0])
    assert torch.equal(nothing.maps, torch.zeros(2, 12, 16))
    one = activation_maps(
        scorer, batch, layers, lambda features, _: features.square().sum(dim=1) * (features.shape[1] == 4)
    )
    assert one.maps.amax(dim=(1, 2)).tolist() == [1, 1]


def test_score_cam_reads_one_layer() -> None:
    with pytest.raises(UserError, match="Score-CAM reads one layer"):
        _maps(_Named(), "score-cam", _images(), ("stem", "deep"))


# Grids ----------------------------------------------------------------------------------------------------------------

H, W, K = 3, 5, 7


def _grid(height: int = H, width: int = W) -> Tensor:
    """``(2, K, height, width)``, every value another."""
    return torch.arange(2.0 * K * height * width).reshape(2, K, height, width)


def _tokens(prefix: int, height: int = H, width: int = W) -> Tensor:
    """``(2, T, K)``: the grid row by row, after tokens of minus one."""
    tokens = _grid(height, width).flatten(2).transpose(1, 2)
    return torch.cat([torch.full((2, prefix, K), -1.0), tokens], dim=1)


@pytest.mark.parametrize(
    ("features", "size_hw"),
    [
        (_grid(), (48, 80)),
        (_grid(), (50, 84)),  # of nearly the image's aspect
        (_grid().permute(0, 2, 3, 1), (48, 80)),
        (_grid().permute(0, 2, 3, 1), (50, 84)),
        (_tokens(0), (48, 80)),
        (_tokens(1), (48, 80)),  # a class token
        (_tokens(2), (48, 80)),  # class and distillation
        (_tokens(5), (48, 80)),  # class and four registers
    ],
    ids=["channels first", "odd", "channels last", "channels last, odd", "tokens", "class", "distilled", "registers"],
)
def test_features_as_a_grid(features: Tensor, size_hw: tuple[int, int]) -> None:
    assert torch.equal(as_grid(features, size_hw), _grid())


def test_channels_that_happen_to_fit_the_image_stay_channels() -> None:
    # 256 channels to 142 rows is nearly 1.8 to 1, as 576 x 320 pixels are; 142 x 78 cells are not exactly.
    features = torch.zeros(1, 256, 142, 78)
    assert as_grid(features, (576, 320)).shape == (1, 256, 142, 78)
    assert as_grid(torch.zeros(1, 7, 7, 768), (224, 224)).shape == (1, 768, 7, 7)
    assert as_grid(torch.zeros(1, 20, 10, 96), (640, 320)).shape == (1, 96, 20, 10)


@pytest.mark.parametrize("prefix", [0, 1, 2, 5])
@pytest.mark.parametrize(
    ("grid_hw", "size_hw"),
    [
        ((14, 14), (224, 224)),
        ((16, 16), (224, 224)),
        ((37, 37), (518, 518)),
        ((10, 20), (160, 320)),
        ((21, 14), (336, 224)),
    ],
)
def test_token_grids_of_usual_transformers(prefix: int, grid_hw: tuple[int, int], size_hw: tuple[int, int]) -> None:
    assert torch.equal(as_grid(_tokens(prefix, *grid_hw), size_hw), _grid(*grid_hw))


@pytest.mark.parametrize(
    ("shape", "size_hw"),
    [((2, 30, 7), (48, 64)), ((2, 7), (8, 8)), ((2, 1, 7), (8, 16)), ((2, 3, 4, 5, 6), (8, 8)), ((2,), (8, 8))],
)
def test_features_without_a_place(shape: tuple[int, ...], size_hw: tuple[int, int]) -> None:
    with pytest.raises(UserError, match="have no place in an image of"):
        as_grid(torch.zeros(shape), size_hw)


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.above(tokens, self.norm1(tokens))

    def above(self, tokens: Tensor, normed: Tensor) -> Tensor:
        tokens = tokens + self.attention(normed, normed, normed, need_weights=False)[0]
        return tokens + self.mlp(self.norm2(tokens))


class _Transformer(nn.Module):
    """Patches of 4 px, a class token and registers, two blocks, a head on the class token."""

    def __init__(self, size_hw: tuple[int, int], registers: int = 0, width: int = 8) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.grid_hw = size_hw[0] // 4, size_hw[1] // 4
        self.patches = nn.Conv2d(3, width, 4, stride=4)
        self.prefix = nn.Parameter(torch.randn(1, 1 + registers, width))
        self.places = nn.Parameter(torch.randn(1, math.prod(self.grid_hw), width))
        self.blocks = nn.Sequential(_Block(width), _Block(width))
        self.head = nn.Linear(width, 4)

    def tokens(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2) + self.places
        return torch.cat([self.prefix.expand(len(images), -1, -1), tokens], dim=1)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.blocks(self.tokens(images))[:, 0])


@pytest.mark.parametrize("registers", [0, 4])
@pytest.mark.parametrize("size_hw", [(16, 16), (12, 20), (24, 16)], ids=str)
def test_a_transformer_is_read_before_its_last_attention(size_hw: tuple[int, int], registers: int) -> None:
    network, images = _Transformer(size_hw, registers).eval(), _images(2, size_hw)
    scorer = make_scorer(network, [[2]])
    assert find_layer(scorer, images) == Layer("module-input", "blocks.1.attention")

    first, second = network.blocks
    with torch.no_grad():
        tokens = first(network.tokens(images))
        normed = second.norm1(tokens)
    normed.requires_grad_(True)
    scores = network.head(second.above(tokens, normed)[:, 0])[:, 2]
    (gradients,) = torch.autograd.grad(scores.sum(), normed)
    assert gradients[:, 1 + registers :].any()

    weights = gradients[:, 1 + registers :].mean(dim=1, keepdim=True)
    of_tokens = (weights * normed.detach())[:, 1 + registers :].sum(dim=2)
    expected = of_tokens.unflatten(1, network.grid_hw)
    batch = PairBatch(images, torch.tensor([0, 1]), torch.tensor([0, 0]))
    (signed,), _ = signed_activation_maps(scorer, batch, [find_layer(scorer, images)], weigh_by_mean_gradient)
    torch.testing.assert_close(signed, expected)
    torch.testing.assert_close(grad_cam(scorer, batch).maps, _rectified_and_enlarged(expected, size_hw))


def test_behind_the_last_attention_other_tokens_have_no_gradient() -> None:
    """Why it is the last attention that is read: a head on the class token makes every later map zero."""
    network = _Transformer((12, 20)).eval()
    scorer, images = make_scorer(network, [[2]]), _images(1, (12, 20))
    batch = PairBatch(images, torch.tensor([0]), torch.tensor([0]))
    (last,), _ = signed_activation_maps(scorer, batch, [named_layer(scorer, "blocks.1")], weigh_by_mean_gradient)
    assert not last.any()
    (before,), _ = signed_activation_maps(scorer, batch, [named_layer(scorer, "blocks.0")], weigh_by_mean_gradient)
    assert before.any()


class _ChannelsLast(nn.Module):
    """A convolution whose features go on as ``(N, h, w, K)``, or as they are."""

    def __init__(self, last: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 6, 2, stride=2)
        self.turn = Calls(lambda values: values.permute(0, 2, 3, 1) if last else values)
        self.weights = nn.Parameter(torch.randn(4, 6, 6, 8))
        self.last = last

    def forward(self, images: Tensor) -> Tensor:
        features = self.turn(self.stem(images))
        if self.last:
            features = features.permute(0, 3, 1, 2)
        return torch.einsum("nkhw,okhw->no", features.tanh(), self.weights)


@pytest.mark.parametrize("name", ON_LAYERS)
def test_channels_last_are_read_as_channels_first(name: str) -> None:
    first, last = (_maps(_ChannelsLast(last), name, _images(), ("turn",), (0, 3)) for last in (False, True))
    assert first.any()
    torch.testing.assert_close(last, first)


# Features that belong to no image, or to no place in it --------------------------------------------------------------


class Attention(nn.Module):
    """Any function of tokens ``(N, T, K)`` that mixes those of a row."""

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens + (tokens @ tokens.transpose(1, 2)).softmax(2) @ tokens


class _Windows(nn.Module):
    """Patches of 2 px; attention in windows of half the width; a head that knows every place, or the mean over them."""

    def __init__(self, mean: str = "") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patches = nn.Conv2d(3, 4, 2, stride=2)
        self.block = nn.Sequential()
        self.attention = Attention()
        self.mlp = nn.Linear(4, 4)
        self.places = nn.Parameter(torch.randn(3, 4, 8, 4))
        self.head = nn.Linear(4, 3)
        self.mean = mean

    def forward(self, images: Tensor) -> Tensor:
        grid = self.patches(images).permute(0, 2, 3, 1)  # (N, 4, 8, 4)
        windows = grid.unflatten(2, (2, 4)).transpose(1, 2).flatten(0, 1).flatten(1, 2)  # (2 N, 16, 4)
        windows = self.attention(windows).unflatten(0, (-1, 2)).unflatten(2, (4, 4))
        grid = self.block(self.mlp(windows.transpose(1, 2).flatten(2, 3)))
        if self.mean == "grid":
            return self.head(grid.mean((1, 2)))
        if self.mean == "tokens":
            return self.head(grid.flatten(1, 2).mean(1))
        return torch.einsum("nhwk,ohwk->no", grid.tanh(), self.places)


WIDE = (8, 16)


@pytest.mark.parametrize("name", ON_LAYERS)
def test_features_in_windows_are_refused(name: str) -> None:
    """Row 1 is the second half of image 0, not image 1."""
    sentence = r"^The layer attention gives 6 rows for 3 images .*name the block around it, or another layer\.$"
    with pytest.raises(UserError, match=sentence):
        _maps(_Windows(), name, _images(2, WIDE), ("attention",))
    assert _maps(_Windows(), name, _images(2, WIDE), ("block",)).any()


def test_windows_are_never_found_and_patches_are_not_taken_for_the_end() -> None:
    with pytest.raises(UserError, match=r"works on tokens behind its last convolution.*`cam_layers`, such as the last"):
        find_layer(make_scorer(_Windows(), [[0]]), _images(1, WIDE))


@pytest.mark.parametrize("name", ["cam", *ON_LAYERS])
@pytest.mark.parametrize("mean", ["grid", "tokens"])
def test_a_mean_over_positions_that_come_before_channels_is_a_global_pooling(mean: str, name: str) -> None:
    network, images = _Windows(mean), _images(3, WIDE)
    maps = _maps(network, name, images[:2])
    torch.testing.assert_close(_maps(network, name, images[[0, 2]])[0], maps[0])
    if name == "cam":
        seen: list[Tensor] = []
        network.block.register_forward_hook(lambda _module, _inputs, output: seen.append(output.detach()))
        network(images[:2])
        expected = torch.einsum("nhwk,k->nhw", seen[0], network.head.weight[0].detach())
        torch.testing.assert_close(maps, _rectified_and_enlarged(expected, WIDE))


class _TokensFirst(nn.Module):
    """Attention on ``(T, N, K)``; as many images as tokens hide it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patches = nn.Conv2d(3, 4, 4, stride=4)
        self.block = nn.Identity()
        self.attention = nn.MultiheadAttention(4, 1)
        self.places = nn.Parameter(torch.randn(2, 2, 4))

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.block(self.patches(images).flatten(2).permute(2, 0, 1))
        return torch.einsum("tnk,otk->no", self.attention(tokens, tokens, tokens)[0], self.places)


def test_a_map_that_depends_on_the_other_image_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever kind of method makes it, also as the second of two."""

    def bind_mixing(context: MethodContext) -> BoundMethod:
        def mixing(batch: PairBatch) -> Attribution:
            maps = batch.images.mean(dim=(0, 1))[None].relu().expand(len(batch), -1, -1)
            return Attribution(maps, context.scorer.logits(batch.images).detach())

        return BoundMethod(mixing)

    monkeypatch.setitem(METHODS, "mixing", bind_mixing)
    for settings in (SaliencySettings(method="mixing"), SaliencySettings(method="gradient", second_method="mixing")):
        context = MethodContext(make_scorer(_Named(), [[0]]), _images(1), settings)
        with pytest.raises(UserError, match="map of an image changes with the other images of its batch"):
            bind_method(context)


def test_no_method_is_tried_at_the_price_of_an_image() -> None:
    """Two batches of two images each: of methods that cost many passes, a few are made."""
    network, rows = _Named(), 0

    def count(_module: nn.Module, inputs: tuple[Tensor]) -> None:
        nonlocal rows
        rows += len(inputs[0])

    network.register_forward_pre_hook(count)
    for name in METHODS:
        rows, settings = 0, SaliencySettings(method=name, occlusion_patch=2, occlusion_stride=1, rise_masks=1000)
        with contextlib.suppress(UserError):
            bind_method(MethodContext(make_scorer(network, [[0]]), _images(1), settings))
        assert rows <= 40, name


@pytest.mark.parametrize(
    ("layers", "sentence"),
    [
        ((), "works on tokens behind its last convolution"),
        (("block",), "with the other images|2 rows for 3 im"),
    ],
)
@pytest.mark.parametrize("name", ON_LAYERS)
def test_tokens_that_come_before_images_are_refused(name: str, layers: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        _maps(_TokensFirst(), name, _images(1, (4, 8)), layers)


@pytest.mark.parametrize("name", ["cam", *ON_LAYERS])
def test_a_single_cell_is_refused_with_the_size_to_use(name: str) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(_body(), nn.Conv2d(5, 5, 4, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3))
    sentence = r"have a single cell for the image of 8 x 8 pixels.*such as `input_size=56`, or a layer below\.$"
    with pytest.raises(UserError, match=sentence):
        _maps(network, name, _images(1, (8, 8)))
    assert _maps(network, name, _images(1, (56, 56)), outputs=(0, 1, 2)).any()


# The layer that is found by itself ------------------------------------------------------------------------------------


def _linear(inputs: int) -> list[nn.Module]:
    return [nn.Flatten(), nn.Linear(inputs, 4)]


@pytest.mark.parametrize(
    ("network", "layer"),
    [
        (nn.Sequential(_body(), nn.AdaptiveAvgPool2d(1), *_linear(5)), Layer("pooling-input")),
        # The input of the global pooling, not of a pooling before or of the gate within a block.
        (
            nn.Sequential(
                nn.AvgPool2d(2), Calls(lambda x: x * x.mean((2, 3), keepdim=True)), nn.AvgPool2d((6, 8)), *_linear(3)
            ),
            Layer("pooling-input", call=2),
        ),
        # As VGG: the input of the pooling to a fixed size.
        (nn.Sequential(_body(), nn.AdaptiveAvgPool2d(3), *_linear(45)), Layer("pooling-input", call=1)),
        (nn.Sequential(_body(), nn.AdaptiveMaxPool2d(3), *_linear(45)), Layer("pooling-input", call=1)),
        # No pooling: the last convolution.
        (nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), *_linear(700)), Layer("module-output", "0")),
    ],
    ids=["global", "gate", "VGG", "VGG with maxima", "convolution"],
)
def test_where_features_are_read(network: nn.Module, layer: Layer) -> None:
    if layer == Layer("pooling-input"):
        layer = Layer("pooling-input", call=1)  # that of the body comes before
    assert find_layer(make_scorer(network, [[0]]), _images()) == layer


def test_only_what_is_behind_the_last_module_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call that is watched takes time: of a module that runs twice, too, its second end is no beginning."""
    relu = nn.ReLU()
    deep = [nn.Conv2d(3, 5, 3), relu, *(nn.Conv2d(5, 5, 1) for _ in range(20)), relu]
    network = nn.Sequential(*deep, nn.AdaptiveAvgPool2d(1), *_linear(5))
    scorer = make_scorer(network, [[0]])
    batch = PairBatch(_images(), *torch.tensor([[0, 1], [0, 0]]))
    layer = find_layer(scorer, batch.images)
    watched = []
    is_pooling = layers._is_pooling
    monkeypatch.setattr(layers, "_is_pooling", lambda *call: watched.append(call) or is_pooling(*call))
    maps = grad_cam(scorer, batch, [layer]).maps
    count = len(watched)
    from_the_start = grad_cam(scorer, batch, [Layer("pooling-input", call=layer.call)]).maps
    torch.testing.assert_close(maps, from_the_start, rtol=0, atol=0)
    assert 0 < count < 20 < len(watched) - count


def test_a_network_with_nothing_to_read() -> None:
    network = nn.Sequential(*_linear(3 * 12 * 16))
    with pytest.raises(UserError, match="no pooling, attention or convolution that can be watched"):
        find_layer(make_scorer(network, [[0]]), _images())


def test_functions_and_methods_agree_on_the_layer() -> None:
    """What a binder finds once is what the function finds by itself at each call."""
    network, images = _Named(), _images()
    scorer, batch = make_scorer(network, [[1]]), PairBatch(_images(), torch.tensor([0, 1]), torch.tensor([0, 0]))
    assert torch.equal(hires_cam(scorer, batch).maps, _maps(network, "hires-cam", images, outputs=(1,)))
    assert torch.equal(cam(scorer, batch).maps, _maps(network, "cam", images, outputs=(1,)))
