"""Class activation maps compared with torchcam's, on the weights that people use and on photographs.

Both compute in float64, so that none of a photograph's millions of values is so near to a ReLU's corner that rounding
decides. torchcam gives maps at the layer's resolution; they are enlarged here, and not brought to [0, 1]
(``normalized=False``), which would hide a constant factor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from wsloc.classifiers import VIEWS, Preprocessing, make_scorer
from wsloc.classifiers.load import load_classifier
from wsloc.classifiers.scorer import Scorer
from wsloc.config import ClassifierSettings, SaliencySettings
from wsloc.images import read_image
from wsloc.saliency import MethodContext, PairBatch, bind_method
from wsloc.saliency.activation_maps import activation_maps
from wsloc.saliency.layers import Layer, find_layer, named_layer

torchcam = pytest.importorskip("torchcam.methods", reason="torchcam is the oracle here")

PAIRS = [(0, 0), (1, 1), (1, 2)]
"""Image and class: the best of image 0, the best of image 1 and the second of image 1."""
TOLERANCE = 1e-4
BY_GRADIENT: dict[str, tuple[type, dict[str, float]]] = {
    "grad-cam": (torchcam.GradCAM, {}),
    # torchcam adds an epsilon to the denominator, which the paper does not have.
    "xgrad-cam": (torchcam.XGradCAM, {"eps": 0.0}),
    "layer-cam": (torchcam.LayerCAM, {}),
}


@dataclass(frozen=True)
class Place:
    """Where both read features."""

    arch: str
    layer: str
    """For torchcam."""
    found: bool
    """Whether wsloc finds it by itself."""

    @property
    def names(self) -> tuple[str, ...]:
        return () if self.found else (self.layer,)


PLACES = [
    # torchvision's DenseNet rectifies and pools in functions, which no hook sees: torchcam is given modules.
    Place("densenet121", "1", True),
    Place("mobilenet_v2", "features.18", True),
    Place("mobilenet_v2", "features.13", False),
    # By itself wsloc takes the input of the pooling, behind the last convolution.
    Place("squeezenet1_0", "features.12", False),
    Place("squeezenet1_0", "classifier.2", True),
    Place("squeezenet1_0", "features.7", False),
]


def _with_modules(network: nn.Module, arch: str) -> nn.Module:
    if arch != "densenet121":
        return network
    return nn.Sequential(network.features, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), network.classifier)


@dataclass(frozen=True)
class Given:
    network: nn.Module
    images: Tensor
    outputs: list[int]
    """Of the network, for each class."""
    for_torchcam: nn.Module

    @property
    def scorer(self) -> Scorer:
        return make_scorer(self.network, [[output] for output in self.outputs])

    @property
    def batch(self) -> PairBatch:
        return PairBatch(self.images, *(torch.tensor(numbers) for numbers in zip(*PAIRS, strict=True)))

    def layers(self, names: tuple[str, ...]) -> list[Layer]:
        return [named_layer(self.scorer, name) for name in names] or [find_layer(self.scorer, self.images[:1])]

    def maps(self, method: str, layers: tuple[str, ...] = ()) -> Tensor:
        settings = SaliencySettings(method=method, cam_layers=layers)
        return bind_method(MethodContext(self.scorer, self.images[:1], settings)).compute(self.batch).maps

    def references(self, make: Callable[[], torchcam.GradCAM], **settings: float) -> Tensor:
        """torchcam's map of each pair, ``(P, h, w)``, float32."""
        maps = []
        for image, k in PAIRS:
            with make() as extractor:
                scores = self.for_torchcam(self.images[image, None].double())
                maps += extractor(self.outputs[k], scores, normalized=False, **settings)
        return torch.cat(maps).detach().float()


@pytest.fixture(scope="module")
def given(shared: Path) -> Callable[..., Given]:
    def load(arch: str, side: int = 128) -> Given:
        paths = sorted((shared / "VOCdevkit/VOC2012/JPEGImages").glob("*.jpg"))[::300][:2]
        preprocessing = Preprocessing((side, side))
        images = torch.stack([VIEWS["whole"](read_image(path), preprocessing).views[0].pixels for path in paths])
        settings = ClassifierSettings(arch=arch, weights=shared / "weights" / f"{arch}.pth")
        network = load_classifier(settings).network.eval().double()
        with torch.no_grad():
            best = network(images.double()).topk(2).indices
        outputs = [int(best[0, 0]), int(best[1, 0]), int(best[1, 1])]
        return Given(network, images, outputs, _with_modules(network, arch))

    return load


def _enlarged(maps: Tensor, side: int = 128) -> Tensor:
    return F.interpolate(maps[:, None], (side, side), mode="bilinear", align_corners=False)[:, 0]


def _assert_same(maps: Tensor, references: Tensor) -> None:
    assert maps.shape == references.shape
    for own, other in zip(maps, references, strict=True):
        size = float(other.abs().max())
        assert size > 0
        torch.testing.assert_close(own, other, rtol=0, atol=TOLERANCE * size)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: f"{place.arch}-{place.layer}")
def test_gradient_weighted_maps(place: Place, given: Callable[..., Given]) -> None:
    of_arch = given(place.arch)
    for name, (oracle, settings) in BY_GRADIENT.items():
        references = of_arch.references(lambda oracle=oracle: oracle(of_arch.for_torchcam, place.layer), **settings)
        _assert_same(of_arch.maps(name, place.names), _enlarged(references))


@pytest.mark.parametrize(
    ("arch", "layer", "head"), [("densenet121", "1", "4"), ("mobilenet_v2", "features.18", "classifier.1")]
)
def test_cam(arch: str, layer: str, head: str, given: Callable[..., Given]) -> None:
    of_arch = given(arch)
    # torchcam does not rectify CAM.
    signed = of_arch.references(lambda: torchcam.CAM(of_arch.for_torchcam, layer, head))
    _assert_same(of_arch.maps("cam"), _enlarged(signed.relu()))


def test_cam_of_squeezenet(given: Callable[..., Given]) -> None:
    """torchcam weighs by the last convolution's weights, but leaves out its bias and the ReLU behind it."""
    of_arch = given("squeezenet1_0")
    without_bias = of_arch.references(lambda: torchcam.CAM(of_arch.for_torchcam, "features.12", "classifier.1"))
    bias = of_arch.network.classifier[1].bias.detach().float()[[of_arch.outputs[k] for _, k in PAIRS]]
    _assert_same(of_arch.maps("cam"), _enlarged((without_bias + bias[:, None, None]).relu()))


@pytest.mark.parametrize("place", PLACES[1:4], ids=lambda place: f"{place.arch}-{place.layer}")
def test_grad_cam_plus_plus(place: Place, given: Callable[..., Given]) -> None:
    """torchcam 0.5 divides a copy (``alpha[mask].div_(...)``), so that its weights are ``sum g^2 relu(g)``.

    The division is in wsloc's values by hand, and in the comparison with grad-cam in ``tests/peers``.
    """
    of_arch = given(place.arch)
    references = of_arch.references(lambda: torchcam.GradCAMpp(of_arch.for_torchcam, place.layer), eps=0.0)

    def undivided(features: Tensor, gradients: Tensor) -> Tensor:
        weights = (gradients.square() * gradients.relu()).sum(dim=(2, 3), keepdim=True)
        return (weights * features).sum(dim=1)

    own = activation_maps(of_arch.scorer, of_arch.batch, of_arch.layers(place.names), undivided).maps
    divided = of_arch.maps("grad-cam++", place.names)
    fixed = all(
        torch.allclose(one, other, rtol=0, atol=TOLERANCE * float(other.max()))
        for one, other in zip(divided, _enlarged(references), strict=True)
    )
    if not fixed:
        _assert_same(own, _enlarged(references))


@pytest.mark.parametrize("layer", ["features.12.squeeze_activation", "features.7.squeeze_activation"])
def test_score_cam(layer: str, given: Callable[..., Given]) -> None:
    """torchcam brings the masks to [0, 1] before it enlarges them, wsloc, as the paper, after.

    With 63 px over 3 or 7 cells some pixels lie on the cells' centers, so that the extremes survive the enlargement
    and the order does not matter.
    """
    of_arch = given("squeezenet1_0", 63)
    references = of_arch.references(lambda: torchcam.ScoreCAM(of_arch.for_torchcam, layer))
    assert references.shape[1:] in {(3, 3), (7, 7)}
    _assert_same(of_arch.maps("score-cam", (layer,)), _enlarged(references, 63))
