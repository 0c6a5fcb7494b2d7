"""Maps compared with captum's, on the weights that people use and on photographs.

captum overrides the ReLUs that are ``nn.ReLU`` modules, each used once and not in place. It is therefore given a copy
of the network in which every ReLU is such a module; wsloc is given the network as torchvision made it.

Both compute in float64. A gradient jumps where a value is near zero or two are nearly the maximum of a pooling; in
float32 some of a photograph's millions of values are so near that batches of another size fall on the other side.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
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
from wsloc.saliency.activation_maps import signed_activation_maps
from wsloc.saliency.grad_cam import weigh_by_mean_gradient
from wsloc.saliency.layers import find_layer, named_layer

captum_attr = pytest.importorskip("captum.attr", reason="captum is the oracle here")
pytestmark = [
    pytest.mark.filterwarnings("ignore:Setting backward hooks on ReLU activations"),
    pytest.mark.filterwarnings("ignore:Input Tensor 0 did not already require gradients"),
]

ARCHS = pytest.mark.parametrize("arch", ["densenet121", "mobilenet_v2", "squeezenet1_0"])
PAIRS = [(0, 0), (1, 1), (1, 2)]
"""Image and class: the best of image 0, the best of image 1 and the second of image 1."""
SEEDS = 11, 12, 13
SIZE_HW = 96, 96
TOLERANCE = 1e-4


class _ReLU6(nn.ReLU):
    """captum does not know ``nn.ReLU6``; of a ReLU module it never looks at the forward pass."""

    def forward(self, values: Tensor) -> Tensor:
        return F.relu6(values)


def _with_modules(network: nn.Module, arch: str) -> nn.Module:
    network = copy.deepcopy(network)
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.ReLU6):
                setattr(parent, name, _ReLU6())
            elif isinstance(child, nn.ReLU):
                child.inplace = False
    if arch == "densenet121":  # whose last ReLU and pooling are functions
        head = [nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), network.classifier]
        return nn.Sequential(network.features, *head)
    return network


@dataclass(frozen=True)
class Given:
    scorer: Scorer
    images: Tensor
    outputs: list[int]
    """Of the network, for each class."""
    rewritten: nn.Module
    """For captum."""

    @property
    def batch(self) -> PairBatch:
        index, classes = (torch.tensor(numbers) for numbers in zip(*PAIRS, strict=True))
        return PairBatch(self.images, index, classes, SEEDS)

    def maps(self, method: str, **settings: object) -> Tensor:
        setup = MethodContext(self.scorer, self.images[:1], SaliencySettings(method=method, **settings))
        return bind_method(setup).compute(self.batch).maps

    def references(self, attribute: Callable[[Tensor, int], Tensor]) -> Tensor:
        """What captum says for each pair: of ``(1, C, H, W)`` and an output ``(1, ..., H, W)``."""
        answers = [attribute(self.images[image, None].double(), self.outputs[k]) for image, k in PAIRS]
        return torch.cat(answers).detach().float()


@pytest.fixture(scope="module")
def photographs(shared: Path) -> Tensor:
    paths = sorted((shared / "VOCdevkit/VOC2012/JPEGImages").glob("*.jpg"))[::300][:2]
    pixels = [VIEWS["whole"](read_image(path), Preprocessing(SIZE_HW)).views[0].pixels for path in paths]
    # Of few digits, so that small multiples of them are exact in float32 too.
    return torch.stack(pixels).bfloat16().float()


@pytest.fixture(scope="module")
def given(shared: Path, photographs: Tensor) -> Callable[[str], Given]:
    def load(arch: str) -> Given:
        settings = ClassifierSettings(arch=arch, weights=shared / "weights" / f"{arch}.pth")
        network = load_classifier(settings).network.eval().double()
        rewritten = _with_modules(network, arch)
        with torch.no_grad():
            logits = network(photographs.double())
            torch.testing.assert_close(rewritten(photographs.double()), logits)
        best = logits.topk(2).indices
        outputs = [int(best[0, 0]), int(best[1, 0]), int(best[1, 1])]
        return Given(make_scorer(network, [[output] for output in outputs]), photographs, outputs, rewritten)

    return load


def _assert_same(maps: Tensor, references: Tensor, tolerance: float = TOLERANCE) -> None:
    assert maps.shape == references.shape
    for own, other in zip(maps, references, strict=True):
        size = float(other.abs().max())
        assert size > 0
        torch.testing.assert_close(own, other, rtol=0, atol=tolerance * size)


def _no_relu_is_written_as_a_function(network: nn.Module, images: Tensor) -> bool:
    """Whether the ReLUs of the graph are as many as the ReLU modules."""
    seen, waiting = set(), [network(images[:1].double().requires_grad_(True)).grad_fn]
    while waiting:
        operation = waiting.pop()
        if operation is not None and operation not in seen:
            seen.add(operation)
            waiting += [before for before, _ in operation.next_functions]
    ran = [type(operation).__name__ for operation in seen]
    modules = sum(isinstance(module, nn.ReLU) for module in network.modules())
    return modules == sum(name.startswith(("Relu", "Hardtanh")) for name in ran)


# Gradients ------------------------------------------------------------------------------------------------------------

OF_GRADIENT: dict[str, Callable[[Tensor], Tensor]] = {
    "gradient": lambda signed: signed.abs().amax(dim=1),
    "gradient-positive": lambda signed: signed.relu().amax(dim=1),
    "gradient-squared": lambda signed: signed.square().sum(dim=1),
}


@ARCHS
def test_saliency(arch: str, given: Callable[[str], Given]) -> None:
    of_arch = given(arch)
    oracle = captum_attr.Saliency(of_arch.rewritten)
    signed = of_arch.references(lambda image, output: oracle.attribute(image, target=output, abs=False))
    for name, reduce in OF_GRADIENT.items():
        _assert_same(of_arch.maps(name), reduce(signed))


@ARCHS
def test_input_x_gradient(arch: str, given: Callable[[str], Given]) -> None:
    of_arch = given(arch)
    oracle = captum_attr.InputXGradient(of_arch.rewritten)
    signed = of_arch.references(lambda image, output: oracle.attribute(image, target=output))
    _assert_same(of_arch.maps("gradient-x-input"), signed.sum(dim=1).abs())


@pytest.mark.parametrize("arch", ["mobilenet_v2", "squeezenet1_0"])
def test_integrated_gradients(arch: str, given: Callable[[str], Given]) -> None:
    of_arch = given(arch)
    oracle = captum_attr.IntegratedGradients(of_arch.rewritten)
    signed = of_arch.references(
        lambda image, output: oracle.attribute(image, target=output, n_steps=4, method="riemann_middle")
    )
    _assert_same(of_arch.maps("integrated-gradients", integrated_steps=4), signed.sum(dim=1).abs())


@pytest.mark.parametrize(
    ("name", "kind", "reduce"),
    [
        ("smoothgrad", "smoothgrad", lambda mean: mean.abs().amax(dim=1)),
        ("smoothgrad-squared", "smoothgrad_sq", lambda mean: mean.sum(dim=1)),
    ],
)
def test_noise_tunnel(
    name: str,
    kind: str,
    reduce: Callable[[Tensor], Tensor],
    given: Callable[[str], Given],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    of_arch = given("squeezenet1_0")
    oracle = captum_attr.NoiseTunnel(captum_attr.Saliency(of_arch.rewritten))
    samples, fraction, seeds = 4, 0.2, iter(SEEDS)

    def attribute(image: Tensor, output: int) -> Tensor:
        single, seed = image.float(), next(seeds)
        deviation = fraction * (single.max() - single.min())

        def drawn(_mean: float, deviations: Tensor) -> Tensor:
            # captum draws from the global generator, wsloc from one of the pair's seed: the same noise for both.
            generator = torch.Generator().manual_seed(seed)
            noise = [torch.randn(image.shape[1:], generator=generator) for _ in range(samples)]
            noisy = single + deviation * torch.stack(noise)
            assert noisy.shape == deviations.shape
            assert (deviations == float(deviation)).all()
            return noisy.double() - image

        with monkeypatch.context() as patched:
            patched.setattr(torch, "normal", drawn)
            return oracle.attribute(
                image, nt_type=kind, nt_samples=samples, stdevs=float(deviation), target=output, abs=False
            )

    mean = of_arch.references(attribute)
    maps = of_arch.maps(name, smoothgrad_samples=samples, smoothgrad_noise=fraction)
    _assert_same(maps, reduce(mean))


# ReLU rules -----------------------------------------------------------------------------------------------------------


@ARCHS
def test_guided_backprop(arch: str, given: Callable[[str], Given]) -> None:
    of_arch = given(arch)
    assert _no_relu_is_written_as_a_function(of_arch.rewritten, of_arch.images)
    oracle = captum_attr.GuidedBackprop(of_arch.rewritten)
    signed = of_arch.references(lambda image, output: oracle.attribute(image, target=output))
    _assert_same(of_arch.maps("guided"), signed.abs().amax(dim=1))


@pytest.mark.parametrize("arch", ["densenet121", "mobilenet_v2"])
def test_deconvolution(arch: str, given: Callable[[str], Given]) -> None:
    of_arch = given(arch)
    oracle = captum_attr.Deconvolution(of_arch.rewritten)
    signed = of_arch.references(lambda image, output: oracle.attribute(image, target=output))
    _assert_same(of_arch.maps("deconvnet"), signed.abs().amax(dim=1))


def test_deconvolution_of_squeezenet(given: Callable[[str], Given]) -> None:
    """Both say zero: what comes back to one of its squeezing layers is nowhere positive."""
    of_arch = given("squeezenet1_0")
    oracle = captum_attr.Deconvolution(of_arch.rewritten)
    signed = of_arch.references(lambda image, output: oracle.attribute(image, target=output))
    assert torch.equal(of_arch.maps("deconvnet"), signed.abs().amax(dim=1))


def test_captum_does_not_override_the_functional_relu_of_densenet(given: Callable[[str], Given]) -> None:
    """Why it is given a copy: of torchvision's own network its DeconvNet lets gradients of dead features through."""
    of_arch = given("densenet121")
    functional = copy.deepcopy(of_arch.scorer.network)
    for module in functional.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    assert not _no_relu_is_written_as_a_function(functional, of_arch.images)
    oracle = captum_attr.Deconvolution(functional)
    signed = of_arch.references(lambda image, output: oracle.attribute(image, target=output))
    maps, other = of_arch.maps("deconvnet"), signed.abs().amax(dim=1)
    assert ((maps - other).abs().amax(dim=(1, 2)) > 100 * TOLERANCE * other.amax(dim=(1, 2))).all()


# Grad-CAM -------------------------------------------------------------------------------------------------------------

LAYERS = {
    "densenet121": ("1", ()),
    "mobilenet_v2": ("features.18", ()),
    "squeezenet1_0": ("features.12", ("features.12",)),
}
"""What captum and wsloc are told. Of SqueezeNet wsloc would take a later layer by itself."""


@ARCHS
def test_layer_grad_cam(arch: str, given: Callable[[str], Given]) -> None:
    of_arch, (layer, names) = given(arch), LAYERS[arch]
    oracle = captum_attr.LayerGradCam(of_arch.rewritten, of_arch.rewritten.get_submodule(layer))
    signed = of_arch.references(lambda image, output: oracle.attribute(image, target=output))
    layers = [named_layer(of_arch.scorer, name) for name in names] or [find_layer(of_arch.scorer, of_arch.images[:1])]
    (own,), _ = signed_activation_maps(of_arch.scorer, of_arch.batch, layers, weigh_by_mean_gradient)
    _assert_same(own, signed[:, 0])
    rectified = captum_attr.LayerAttribution.interpolate(signed.relu(), SIZE_HW, "bilinear")[:, 0]
    _assert_same(of_arch.maps("grad-cam", cam_layers=names), rectified)


@ARCHS
def test_guided_grad_cam(arch: str, given: Callable[[str], Given]) -> None:
    of_arch, (layer, names) = given(arch), LAYERS[arch]
    oracle = captum_attr.GuidedGradCam(of_arch.rewritten, of_arch.rewritten.get_submodule(layer))
    signed = of_arch.references(
        lambda image, output: oracle.attribute(image, target=output, interpolate_mode="bilinear")
    )
    _assert_same(of_arch.maps("guided-grad-cam", cam_layers=names), signed.abs().amax(dim=1))


# Occlusion ------------------------------------------------------------------------------------------------------------


def _occlusion(network: nn.Module, patch: int, stride: int) -> Callable[[Tensor, int], Tensor]:
    oracle = captum_attr.Occlusion(network)
    return lambda image, output: oracle.attribute(
        image, (3, patch, patch), (3, stride, stride), baselines=0, target=output
    )


def _same_for_all_channels(attributions: Tensor) -> Tensor:
    assert torch.equal(attributions.amin(dim=1), attributions.amax(dim=1))
    return attributions[:, 0]


@pytest.mark.parametrize("arch", ["mobilenet_v2", "squeezenet1_0"])
def test_occlusion(arch: str, given: Callable[[str], Given]) -> None:
    of_arch = given(arch)
    signed = _same_for_all_channels(of_arch.references(_occlusion(of_arch.rewritten, 48, 32)))
    _assert_same(of_arch.maps("occlusion", occlusion_patch=48, occlusion_stride=32), signed.relu())


@pytest.mark.parametrize("size_hw", [(16, 16), (17, 23), (6, 30)], ids=str)
@pytest.mark.parametrize(("patch", "stride"), [(4, 4), (5, 2), (6, 5), (3, 1)])
def test_occlusion_of_any_size(size_hw: Sequence[int], patch: int, stride: int) -> None:
    """Patches that the border cuts off included."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2)).eval()
    image = torch.randn(1, 3, *size_hw)
    network(image)
    signed = _same_for_all_channels(_occlusion(network, patch, stride)(image, 1).detach())
    settings = SaliencySettings(method="occlusion", occlusion_patch=patch, occlusion_stride=stride)
    method = bind_method(MethodContext(make_scorer(network, [[1]]), image, settings))
    _assert_same(method.compute(PairBatch(image, torch.tensor([0]), torch.tensor([0]))).maps, signed.relu())
