"""What must come out the same: Grad-CAM and CAM, a batch and its pairs one by one, ReLUs in place and not."""

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
from wsloc.saliency import METHODS, BoundMethod, MethodContext, PairBatch, bind_method
from wsloc.saliency.activation_maps import signed_activation_maps
from wsloc.saliency.cam import cam
from wsloc.saliency.grad_cam import grad_cam, weigh_by_mean_gradient
from wsloc.saliency.layers import Layer, find_layer, named_layer

ALL = pytest.mark.parametrize("name", METHODS)
ON_LAYERS = pytest.mark.parametrize(
    "name", ["grad-cam", "grad-cam++", "layer-cam", "xgrad-cam", "hires-cam", "score-cam", "guided-grad-cam"]
)

CLASSES = [207, 281, 340, 508]
"""Outputs of ImageNet: golden retriever, tabby cat, zebra, computer keyboard."""
PAIRS = torch.tensor([0, 1, 2, 2, 0]), torch.tensor([0, 1, 2, 0, 3])
"""Mixed classes, two of image 2 and of image 0."""


def _assert_same(maps: Tensor, expected: Tensor, tolerance: float) -> None:
    """Each map ``(P, h, w)`` equal to its expectation, to a fraction of the largest value of the latter."""
    assert maps.shape == expected.shape
    for own, other in zip(maps, expected, strict=True):
        size = float(other.abs().max())
        assert size > 0
        torch.testing.assert_close(own, other, rtol=0, atol=tolerance * size)


def _rectified_and_enlarged(maps: Tensor, size_hw: tuple[int, int]) -> Tensor:
    return F.interpolate(maps.relu()[:, None], size_hw, mode="bilinear", align_corners=False)[:, 0]


# Grad-CAM and CAM on real networks ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Real:
    scorer: Scorer
    network: nn.Module
    batch: PairBatch


@pytest.fixture(scope="module")
def photographs(shared: Path) -> Tensor:
    paths = sorted((shared / "VOCdevkit/VOC2012/JPEGImages").glob("*.jpg"))[::300][:3]
    preprocessing = Preprocessing((224, 224))
    return torch.stack([VIEWS["whole"](read_image(path), preprocessing).views[0].pixels for path in paths])


@pytest.fixture(scope="module")
def real(shared: Path, photographs: Tensor) -> Callable[[str], Real]:
    def load(arch: str) -> Real:
        weights = shared / "weights" / f"{arch}.pth"
        network = load_classifier(ClassifierSettings(arch=arch, weights=weights)).network.eval()
        return Real(make_scorer(network, [[k] for k in CLASSES]), network, PairBatch(photographs, *PAIRS))

    return load


def _signed_grad_cam(given: Real, layer: Layer) -> Tensor:
    return signed_activation_maps(given.scorer, given.batch, [layer], weigh_by_mean_gradient)[0][0]


def _head_of_densenet(network: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    # torchvision rectifies the features after norm5, in a function of its forward().
    return network.features(images).relu(), network.classifier.weight


def _head_of_mobilenet(network: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    return network.features(images), network.classifier[1].weight


@pytest.mark.parametrize(
    ("arch", "head"),
    [("densenet121", _head_of_densenet), ("mobilenet_v2", _head_of_mobilenet)],
    ids=["densenet121", "mobilenet_v2"],
)
def test_grad_cam_without_its_relu_is_cam_over_the_positions(
    arch: str, head: Callable[[nn.Module, Tensor], tuple[Tensor, Tensor]], real: Callable[[str], Real]
) -> None:
    given = real(arch)
    with torch.no_grad():
        features, weights = head(given.network, given.batch.images)
        of_pairs = features[PAIRS[0]], weights[torch.tensor(CLASSES)[PAIRS[1]]]
        expected = torch.einsum("pkhw,pk->phw", *of_pairs)
        # The features lead to the scores that the network itself gives.
        bias = given.network.get_submodule("classifier" if arch == "densenet121" else "classifier.1").bias
        scores = given.network(given.batch.images)[PAIRS[0], torch.tensor(CLASSES)[PAIRS[1]]]
        pooled = expected.mean(dim=(1, 2)) + bias[torch.tensor(CLASSES)[PAIRS[1]]]
        torch.testing.assert_close(pooled, scores, rtol=1e-4, atol=1e-4)
    assert (expected < 0).any()  # else the ReLU would do nothing
    signed = _signed_grad_cam(given, find_layer(given.scorer, given.batch.images[:1]))
    _assert_same(signed * expected[0].numel(), expected, 1e-5)
    maps = _rectified_and_enlarged(expected, given.batch.size_hw)
    _assert_same(cam(given.scorer, given.batch).maps, maps, 1e-5)
    _assert_same(grad_cam(given.scorer, given.batch).maps * expected[0].numel(), maps, 1e-5)


def test_squeezenet_whose_class_maps_are_rectified_before_the_pooling(real: Callable[[str], Real]) -> None:
    given = real("squeezenet1_0")
    convolution = given.network.classifier[1]
    outputs = torch.tensor(CLASSES)[PAIRS[1]]
    with torch.no_grad():
        features = given.network.features(given.batch.images)
        without_bias = F.conv2d(features, convolution.weight)[PAIRS[0], outputs]
        class_maps = without_bias + convolution.bias[outputs, None, None]
        scores = given.network(given.batch.images)[PAIRS[0], outputs]
        torch.testing.assert_close(class_maps.relu().mean(dim=(1, 2)), scores)
    active = (class_maps > 0).float().mean(dim=(1, 2), keepdim=True)
    assert (active < 1).any()
    assert (active > 0).all()
    positions = class_maps[0].numel()

    # Below the 1 x 1 convolution: dS/dA_k is w_k / Z at the active positions and zero at the others.
    _assert_same(
        _signed_grad_cam(given, named_layer(given.scorer, "features.12")) * positions / active, without_bias, 1e-5
    )
    # At the input of the pooling, which wsloc takes by itself, the features are the rectified class maps.
    at_pooling = _signed_grad_cam(given, find_layer(given.scorer, given.batch.images[:1]))
    _assert_same(at_pooling * positions, class_maps.relu(), 1e-5)
    maps = _rectified_and_enlarged(class_maps, given.batch.size_hw)
    _assert_same(cam(given.scorer, given.batch).maps, maps, 1e-5)
    _assert_same(grad_cam(given.scorer, given.batch).maps * positions, maps, 1e-5)


# Batches, and ReLUs in place ------------------------------------------------------------------------------------------


class _Small(nn.Module):
    """Every kind of ReLU: a module, one that is used twice, ReLU6, a function; each in place or not."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        torch.manual_seed(2)  # one for which no map below is zero everywhere
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace)
        self.second = nn.Conv2d(8, 10, 3, padding=1)
        self.relu6 = nn.ReLU6(inplace)
        self.last = nn.Conv2d(10, 12, 3, padding=1)
        self.head = nn.Linear(12, 6)
        self.inplace = inplace

    def forward(self, images: Tensor) -> Tensor:
        features = self.relu(self.norm(self.first(images)))
        features = self.relu6(4 * self.second(F.max_pool2d(features, 2)))
        features = F.relu(self.last(features), inplace=self.inplace)
        features = self.relu(features - 0.02)
        return self.head(features.mean(dim=(2, 3)))


def _images(count: int = 4) -> Tensor:
    return torch.randn(count, 3, 16, 24, generator=torch.Generator().manual_seed(1))


def _bound(network: nn.Module, name: str, layers: tuple[str, ...] = ()) -> BoundMethod:
    settings = SaliencySettings(
        method=name,
        cam_layers=layers,
        smoothgrad_samples=3,
        integrated_steps=4,
        occlusion_patch=6,
        occlusion_stride=4,
        rise_masks=30,
        rise_grid=4,
    )
    return bind_method(MethodContext(make_scorer(network, [[0, 5], [1], [2], [3], [4]]), _images(1), settings))


def _batch(images: Tensor, pairs: list[tuple[int, int]]) -> PairBatch:
    index, classes = (torch.tensor(numbers) for numbers in zip(*pairs, strict=True))
    return PairBatch(images, index, classes, tuple(100 * image + of_class for image, of_class in pairs))


@ALL
def test_a_batch_is_its_pairs_one_by_one(name: str) -> None:
    method, images = _bound(_Small(), name), _images()
    # In no order: three classes of image 0, one of image 1, none of image 2, two of image 3, one of them twice.
    pairs = [(3, 1), (0, 4), (0, 0), (1, 1), (3, 3), (0, 2), (3, 1)]
    batch = _batch(images, pairs)
    together = method.compute(batch)
    alone = [
        method.compute(PairBatch(images[image : image + 1], torch.tensor([0]), torch.tensor([of_class]), (seed,)))
        for (image, of_class), seed in zip(pairs, batch.seeds, strict=True)
    ]
    _assert_same(together.maps, torch.cat([answer.maps for answer in alone]), 1e-5)
    for (image, _), answer in zip(pairs, alone, strict=True):
        torch.testing.assert_close(together.logits[image : image + 1], answer.logits)
    # Classes of an image differ, so that a mixture would show.
    first, second = together.maps[1], together.maps[2]
    assert (first / first.max() - second / second.max()).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["gradient", "deconvnet", "guided", "cam", "grad-cam", "grad-cam++", "xgrad-cam"])
def test_a_batch_of_photographs_is_its_pairs_one_by_one(name: str, real: Callable[[str], Real]) -> None:
    given = real("mobilenet_v2")  # not SqueezeNet, whose DeconvNet maps are zero
    # In float64: a gradient jumps where a value is near zero, and in float32 some of a photograph's millions of values
    # are so near that rounding, which depends on the batch size, decides.
    network, images = given.network.double(), given.batch.images[:, :, ::2, ::2]
    with torch.no_grad():
        best = network(images.double()).topk(2).indices
    scorer = make_scorer(network, [[int(output)] for output in best.flatten()])
    method = bind_method(MethodContext(scorer, images[:1], SaliencySettings(method=name)))
    pairs = [(0, 0), (1, 2), (2, 4), (2, 5), (0, 1)]  # the best class of each image, the second of two
    alone = [
        method.compute(PairBatch(images[image : image + 1], torch.tensor([0]), torch.tensor([k]))).maps
        for image, k in pairs
    ]
    _assert_same(method.compute(_batch(images, pairs)).maps, torch.cat(alone), 1e-5)


@ALL
def test_relus_in_place_change_nothing(name: str) -> None:
    batch = _batch(_images(), [(0, 0), (1, 1), (1, 2), (3, 4)])
    outside, inside = (_bound(_Small(inplace), name).compute(batch) for inplace in (False, True))
    assert outside.maps.amax(dim=(1, 2)).all()
    assert torch.equal(inside.maps, outside.maps)
    assert torch.equal(inside.logits, outside.logits)


@ON_LAYERS
@pytest.mark.parametrize("layer", ["norm", "second", "last"])
def test_a_layer_whose_output_is_rectified_in_place_is_read_before_that(name: str, layer: str) -> None:
    batch = _batch(_images(), [(0, 0), (1, 1), (1, 2), (3, 4)])
    outside, inside = (_bound(_Small(inplace), name, (layer,)).compute(batch).maps for inplace in (False, True))
    assert outside.any()
    assert torch.equal(inside, outside)


# Combinations ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layers", [(), ("second",), ("second", "last")], ids=len)
def test_guided_grad_cam_is_the_product(layers: tuple[str, ...]) -> None:
    network, batch = _Small(), _batch(_images(), [(0, 0), (1, 1), (1, 2), (3, 4)])
    product = _bound(network, "guided-grad-cam", layers).compute(batch).maps
    guided = _bound(network, "guided").compute(batch).maps
    coarse = _bound(network, "grad-cam", layers).compute(batch).maps
    assert product.any()
    assert torch.equal(product, guided * coarse)
