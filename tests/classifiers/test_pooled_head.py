"""The head that is put on any network: scores are weighted sums of features averaged over the image."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from wsloc.classifiers import make_scorer
from wsloc.classifiers.architectures import build_architecture
from wsloc.classifiers.pooled_head import PooledLinear, check_pooling, head_name, new_head, pooled, remove_head
from wsloc.config import SaliencySettings
from wsloc.errors import UserError
from wsloc.saliency import MethodContext, PairBatch, bind_method

QUICK = {"squeezenet1_0": 512, "mobilenet_v3_small": 576, "small_cnn": 128, "shufflenet_v2_x0_5": 1024}
SLOW = {
    "resnet18": 512,
    "vgg11": 512,
    "alexnet": 256,
    "densenet121": 1024,
    "mobilenet_v2": 1280,
    "mnasnet0_5": 1280,
    "efficientnet_b0": 1280,
    "convnext_tiny": 768,
    "swin_t": 768,
    "regnet_y_400mf": 440,
    "googlenet": 1024,
}


def with_new_head(arch: str, classes: int = 3) -> nn.Module:
    torch.manual_seed(0)
    network = build_architecture(arch, pretrained=False, num_outputs=None).network.eval()
    name = head_name(network, arch)
    remove_head(network, name)
    setattr(network, name, new_head(check_pooling(network, (3, 96, 96), arch), classes, seed=1))
    return network


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    ("arch", "channels"), [*QUICK.items(), *(pytest.param(*item, marks=pytest.mark.slow) for item in SLOW.items())]
)
def test_cam_is_exact_on_every_architecture(arch: str, channels: int) -> None:
    network = with_new_head(arch)
    head = next(module for module in network.modules() if isinstance(module, PooledLinear))
    assert head.weight.shape == (3, channels)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn((2, 3, 96, 96), generator=generator)
    scorer = make_scorer(network, [[0], [1], [2]])
    cam = bind_method(
        MethodContext(scorer, images, SaliencySettings(method="cam"))
    )  # refuses a head that is not linear
    attribution = cam.compute(PairBatch(images, torch.tensor([0, 1]), torch.tensor([2, 0])))
    with torch.no_grad():
        scores = network(images)
    assert torch.allclose(attribution.logits, scores, atol=1e-5)

    seen: list[Tensor] = []
    hook = head.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0].detach()))
    with torch.no_grad():
        network(images)
    hook.remove()
    assert torch.allclose(pooled(seen[0]) @ head.weight.T + head.bias, scores, atol=1e-5)


def test_pooling_by_hand() -> None:
    features = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]], [[0.0, 0.0], [0.0, 4.0]]]])
    head = PooledLinear(2, 1)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[2.0, -1.0]]))
        head.bias.copy_(torch.tensor([0.5]))
    assert head(features).item() == pytest.approx(2 * 3 - 1 + 0.5)
    assert head(torch.tensor([[3.0, 1.0]])).item() == pytest.approx(5.5)


def test_the_first_weights_come_from_the_seed_alone() -> None:
    before = torch.get_rng_state()
    assert torch.equal(new_head(4, 2, seed=3).weight, new_head(4, 2, seed=3).weight)
    assert not torch.equal(new_head(4, 2, seed=3).weight, new_head(4, 2, seed=4).weight)
    assert torch.equal(torch.get_rng_state(), before)


class _Headed(nn.Module):
    """A network whose head reads what ``reading`` makes of its features."""

    def __init__(self, reading: str) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU())
        self.reading = reading
        self.fc = nn.Linear(5, 2)

    def forward(self, images: Tensor) -> Tensor:
        features = self.body(images)
        answers: Tensor = self.fc(
            {
                "mean": features.mean(dim=(2, 3)),
                "relu": (features - 0.1).relu().mean(dim=(2, 3)),
                "maximum": features.amax(dim=(2, 3)),
                "corner": features[:, :, 0, 0],
                "maps": features,
            }[self.reading]
        )
        return answers


@pytest.mark.parametrize(
    ("reading", "accepted"), [("mean", True), ("maps", True), ("maximum", False), ("corner", False), ("relu", False)]
)
def test_only_averages_over_the_image_are_taken(reading: str, accepted: bool) -> None:
    torch.manual_seed(0)
    network = _Headed(reading).eval()
    remove_head(network, head_name(network, "mine"))
    if accepted:
        assert check_pooling(network, (3, 12, 10), "mine") == 5
    else:
        with pytest.raises(UserError, match="The head of mine does not read averages of features over the image"):
            check_pooling(network, (3, 12, 10), "mine")


def test_networks_without_a_head_are_refused() -> None:
    with pytest.raises(UserError, match="body has no layer called fc, classifier or head that reads pooled features"):
        head_name(nn.Sequential(nn.Conv2d(3, 2, 1)), "body")
    network = build_architecture("vit_b_16", pretrained=False, num_outputs=None).network
    with pytest.raises(UserError, match="vit_b_16 has no layer called"):
        head_name(network, "vit_b_16")


def test_an_input_that_the_network_cannot_take_is_a_users_error() -> None:
    network = _Headed("mean").eval()
    remove_head(network, "fc")
    with pytest.raises(UserError, match=r"mine cannot take an image of shape \(1, 12, 10\)"):
        check_pooling(network, (1, 12, 10), "mine")
