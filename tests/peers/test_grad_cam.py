"""Class activation maps compared with grad-cam's (``pytorch_grad_cam``).

It brings another build of OpenCV, which would hide ours, and so has an environment of its own: ``make peers``. Both
compute in float64, so that rounding decides nowhere on which side of a ReLU's corner a value lies.

grad-cam gives maps that are enlarged and then brought to [0, 1], the least value becoming 0; so are wsloc's here.
Maps of several layers are left out: grad-cam takes their mean, wsloc, as LayerCAM's paper, their maximum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from wsloc.classifiers import VIEWS, Preprocessing, make_scorer
from wsloc.classifiers.load import load_classifier
from wsloc.config import ClassifierSettings, SaliencySettings
from wsloc.images import read_image
from wsloc.saliency import MethodContext, PairBatch, bind_method

pytorch_grad_cam = pytest.importorskip("pytorch_grad_cam", reason="grad-cam has an environment of its own: make peers")

TOLERANCE = 1e-4
BY_GRADIENT = {
    "grad-cam": pytorch_grad_cam.GradCAM,
    "grad-cam++": pytorch_grad_cam.GradCAMPlusPlus,
    "xgrad-cam": pytorch_grad_cam.XGradCAM,
    "layer-cam": pytorch_grad_cam.LayerCAM,
    "hires-cam": pytorch_grad_cam.HiResCAM,
}
PAIRS = torch.tensor([0, 1, 1]), torch.tensor([0, 1, 2])
"""Image and class, two classes of image 1."""


class _Scaled(nn.Module):
    """Scores so large that grad-cam's epsilon of 1e-6 beside squared gradients does not count."""

    def __init__(self, network: nn.Module, factor: float = 1e7) -> None:
        super().__init__()
        self.network = network
        self.factor = factor

    def forward(self, images: Tensor) -> Tensor:
        return self.factor * self.network(images)


def _maps(network: nn.Module, name: str, images: Tensor, outputs: list[int], layers: tuple[str, ...]) -> Tensor:
    """wsloc's, each brought to [0, 1]."""
    scorer = make_scorer(network, [[output] for output in outputs])
    method = bind_method(MethodContext(scorer, images[:1], SaliencySettings(method=name, cam_layers=layers)))
    maps = method.compute(PairBatch(images, *PAIRS)).maps
    low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    assert (high > low).all()
    return (maps - low) / (high - low)


def _references(oracle: type, network: nn.Module, layer: nn.Module, images: Tensor, outputs: list[int]) -> Tensor:
    """grad-cam's, which takes one class for each image of its batch."""
    targets = [lambda scores, output=outputs[k]: scores[output] for k in PAIRS[1].tolist()]
    with oracle(model=network, target_layers=[layer]) as cam:
        return torch.from_numpy(cam(images[PAIRS[0]].double(), targets))


def _assert_same(maps: Tensor, references: Tensor) -> None:
    assert maps.shape == references.shape
    torch.testing.assert_close(maps, references.float(), rtol=0, atol=TOLERANCE)


# Real weights and photographs -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def photographs(shared: Path) -> Tensor:
    paths = sorted((shared / "VOCdevkit/VOC2012/JPEGImages").glob("*.jpg"))[::300][:2]
    return torch.stack([VIEWS["whole"](read_image(path), Preprocessing((128, 128))).views[0].pixels for path in paths])


@pytest.fixture(scope="module")
def real(shared: Path) -> Callable[[str], nn.Module]:
    def load(arch: str) -> nn.Module:
        weights = shared / "weights" / f"{arch}.pth"
        return load_classifier(ClassifierSettings(arch=arch, weights=weights)).network.eval().double()

    return load


def _with_modules(network: nn.Module, arch: str) -> nn.Module:
    if arch != "densenet121":
        return network
    # torchvision's DenseNet rectifies and pools in functions, which no hook sees.
    return nn.Sequential(network.features, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), network.classifier)


def _best(network: nn.Module, images: Tensor) -> list[int]:
    """The best outputs of both images, and the second of the last."""
    with torch.no_grad():
        best = network(images.double()).topk(2).indices
    return [int(best[0, 0]), int(best[1, 0]), int(best[1, 1])]


@pytest.mark.parametrize(
    ("arch", "layer", "found"),
    [
        ("densenet121", "1", True),
        ("mobilenet_v2", "features.18", True),
        ("mobilenet_v2", "features.13", False),
        ("squeezenet1_0", "features.12", False),
        ("squeezenet1_0", "features.7", False),
    ],
)
@pytest.mark.parametrize("name", BY_GRADIENT)
def test_real_weights_and_photographs(
    name: str, arch: str, layer: str, found: bool, real: Callable[[str], nn.Module], photographs: Tensor
) -> None:
    network = real(arch)
    for_grad_cam = _with_modules(network, arch)
    outputs = _best(network, photographs)
    maps = _maps(_Scaled(network), name, photographs, outputs, () if found else (f"network.{layer}",))
    references = _references(
        BY_GRADIENT[name], _Scaled(for_grad_cam), for_grad_cam.get_submodule(layer), photographs, outputs
    )
    _assert_same(maps, references)


@pytest.fixture
def enlarged_alike(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """grad-cam enlarges Score-CAM's masks with ``align_corners=True``, but the map that it shows without, as wsloc."""
    alike = partial(nn.Upsample, mode="bilinear", align_corners=False)
    monkeypatch.setattr(torch.nn, "UpsamplingBilinear2d", lambda size: alike(size=tuple(size)))
    return


@pytest.mark.usefixtures("enlarged_alike")
@pytest.mark.parametrize("layer", ["features.12.squeeze_activation", "features.7.squeeze_activation"])
def test_score_cam(layer: str, real: Callable[[str], nn.Module], photographs: Tensor) -> None:
    network = real("squeezenet1_0")
    outputs = _best(network, photographs)
    references = _references(pytorch_grad_cam.ScoreCAM, network, network.get_submodule(layer), photographs, outputs)
    _assert_same(_maps(network, "score-cam", photographs, outputs, (layer,)), references)


# A network of its own, which needs no files ---------------------------------------------------------------------------


def _random_network() -> nn.Sequential:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.ReLU(),
        nn.Sequential(nn.Conv2d(6, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()),
        nn.Conv2d(8, 8, 3, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8 * 5 * 7, 3),
    )
    return network.eval().double()


@pytest.mark.parametrize("name", [*BY_GRADIENT, "score-cam"])
@pytest.mark.parametrize("layer", ["1", "2"])
def test_random_network(name: str, layer: str) -> None:
    """At layers of the images' resolution, so that Score-CAM's masks need no enlargement."""
    network = _random_network()
    images = torch.randn(2, 3, 11, 15, generator=torch.Generator().manual_seed(1))
    if name != "score-cam":
        maps = _maps(_Scaled(network), name, images, [0, 1, 2], (f"network.{layer}",))
        references = _references(BY_GRADIENT[name], _Scaled(network), network.get_submodule(layer), images, [0, 1, 2])
    else:
        maps = _maps(network, name, images, [0, 1, 2], (layer,))
        references = _references(pytorch_grad_cam.ScoreCAM, network, network.get_submodule(layer), images, [0, 1, 2])
    _assert_same(maps, references)
