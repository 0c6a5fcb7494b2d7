"""Which layers of a network a hypercolumn joins."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor, nn

from wsloc.classifiers.scorer import make_scorer
from wsloc.errors import UserError
from wsloc.learning.feature_layers import choose_layers


def chosen(network: nn.Module, size: int = 64) -> tuple[str, ...]:
    return choose_layers(make_scorer(network, [[0]]), torch.zeros(1, 3, size, size))


@pytest.mark.parametrize(
    ("arch", "size", "layers"),
    [
        # Sums of residual blocks, not their terms.
        ("resnet18", 64, ("layer2", "layer3", "layer4")),
        ("mobilenet_v2", 64, ("features.6", "features.13", "features")),
        ("densenet121", 64, ("features.denseblock2", "features.denseblock3", "features")),
        ("squeezenet1_0", 64, ("features.5", "features.10", "features")),
        # Not the adaptive pooling, whose grid is 7 x 7 for any image.
        ("vgg11", 64, ("features.14", "features.19", "features")),
        # Channels last.
        ("swin_t", 64, ("features.3", "features.5", "permute")),
    ],
)
def test_the_three_coarsest_strides_of_usual_networks(arch: str, size: int, layers: tuple[str, ...]) -> None:
    assert chosen(getattr(torchvision.models, arch)(weights=None), size) == layers


def test_a_transformer_is_read_at_equal_steps_through_its_blocks() -> None:
    network = torchvision.models.VisionTransformer(
        image_size=32, patch_size=8, num_layers=6, num_heads=2, hidden_dim=8, mlp_dim=8, num_classes=3
    )
    blocks = [f"encoder.layers.encoder_layer_{index}" for index in (1, 3, 5)]
    assert chosen(network, 32) == tuple(blocks)


def test_what_has_no_place_in_the_image_is_not_read() -> None:
    """Hiera's tokens before its last stage are in an order of their own; ConViT projects positions to a matrix."""
    timm = pytest.importorskip("timm.models")
    small = {"img_size": (64, 64), "embed_dim": 8, "num_heads": 1, "stages": (1, 1, 1, 1)}
    assert chosen(timm.hiera.Hiera(**small)) == ("patch_embed", "blocks.3")
    blocks = timm.convit.ConVit(img_size=32, patch_size=4, embed_dim=8, depth=3, num_heads=2, local_up_to_layer=2)
    assert chosen(blocks, 32) == ("blocks.0", "blocks.1", "blocks.2")


def test_a_network_of_ones_own() -> None:
    def block(inputs: int, outputs: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))

    shared = nn.ReLU()
    network = nn.Sequential(
        block(3, 4), shared, block(4, 8), shared, block(8, 16), block(16, 16),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 2),
    )  # fmt: skip
    # A module that runs twice stands for no one place; a convolution's stride is that of the block before.
    assert chosen(network, 32) == ("2", "4", "5")


def test_a_network_without_a_grid_is_refused() -> None:
    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3 * 8 * 8, 2)

        def forward(self, images: Tensor) -> Tensor:
            return self.linear(images.flatten(1))  # type: ignore[no-any-return]

    with pytest.raises(UserError, match="name them by `feature_layers`"):
        chosen(Flat(), 8)
