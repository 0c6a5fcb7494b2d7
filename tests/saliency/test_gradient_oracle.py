"""Maps compared with captum's, on a random network and on real weights with photographs."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn

from wsloc.classifiers import VIEWS, Preprocessing, make_scorer
from wsloc.images import read_image
from wsloc.saliency import PairBatch
from wsloc.saliency.gradient import gradient, gradient_positive, gradient_squared, gradient_x_input

captum_attr = pytest.importorskip("captum.attr")

GRADIENTS = {
    "gradient": gradient,
    "gradient-positive": gradient_positive,
    "gradient-squared": gradient_squared,
    "gradient-x-input": gradient_x_input,
}


def _reference(name: str, network: nn.Module, image: Tensor, output: int) -> Tensor:
    batch = image[None].clone().requires_grad_(True)
    if name == "gradient-x-input":
        return captum_attr.InputXGradient(network).attribute(batch, target=output)[0].sum(dim=0).abs().detach()
    signed = captum_attr.Saliency(network).attribute(batch, target=output, abs=False)[0].detach()
    return {
        "gradient": signed.abs().amax(dim=0),
        "gradient-positive": signed.clamp(min=0).amax(dim=0),
        "gradient-squared": (signed**2).sum(dim=0),
    }[name]


def _assert_same(maps: Tensor, references: list[Tensor], tolerance: float = 1e-5) -> None:
    for ours, reference in zip(maps, references, strict=True):
        assert reference.max() > 0
        assert torch.allclose(ours, reference, rtol=0, atol=tolerance * float(reference.max()))


@pytest.mark.parametrize("name", GRADIENTS)
def test_random_network(name: str) -> None:
    torch.manual_seed(3)
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(200, 5)
    ).eval()
    images = torch.randn(3, 3, 16, 16)
    image_index, classes = [0, 1, 2, 1], [4, 0, 2, 3]
    scorer = make_scorer(network, [[output] for output in range(5)])
    maps = GRADIENTS[name](scorer, PairBatch(images, torch.tensor(image_index), torch.tensor(classes))).maps
    _assert_same(
        maps, [_reference(name, network, images[image], k) for image, k in zip(image_index, classes, strict=True)]
    )


@pytest.fixture(scope="module")
def squeezenet(shared: Path) -> nn.Module:
    network = torchvision.models.squeezenet1_0(weights=None)
    network.load_state_dict(torch.load(shared / "weights/squeezenet1_0.pth", weights_only=True))
    return network.eval()


@pytest.fixture(scope="module")
def photographs(shared: Path) -> Tensor:
    paths = sorted((shared / "VOCdevkit/VOC2012/JPEGImages").glob("*.jpg"))[::300]
    preprocessing = Preprocessing((224, 224))
    return torch.stack([VIEWS["whole"](read_image(path), preprocessing).views[0].pixels for path in paths])


@pytest.mark.parametrize("name", GRADIENTS)
def test_real_weights_and_photographs(name: str, squeezenet: nn.Module, photographs: Tensor) -> None:
    # 207 golden retriever, 281 tabby cat, 282 tiger cat, 340 zebra
    outputs_of_class = [[207], [281, 282], [340]]
    image_index, classes = [0, 1, 1, 2], [0, 1, 2, 1]
    with torch.no_grad():
        logits = squeezenet(photographs)
    outputs = [
        max(outputs_of_class[k], key=lambda output, image=image: float(logits[image, output]))
        for image, k in zip(image_index, classes, strict=True)
    ]
    scorer = make_scorer(squeezenet, outputs_of_class)
    answer = GRADIENTS[name](scorer, PairBatch(photographs, torch.tensor(image_index), torch.tensor(classes)))
    assert torch.allclose(answer.logits, logits, atol=1e-4)
    references = [
        _reference(name, squeezenet, photographs[image], output)
        for image, output in zip(image_index, outputs, strict=True)
    ]
    _assert_same(answer.maps, references)
    # The same image, asked for another class, has another map.
    correlation = np.corrcoef(answer.maps[1].numpy().ravel(), answer.maps[2].numpy().ravel())[0, 1]
    assert correlation < 0.99
