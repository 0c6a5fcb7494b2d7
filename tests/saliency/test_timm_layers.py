"""Where class activation maps read timm's transformers and MLPs, made small."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from wsloc.classifiers import make_scorer
from wsloc.config import SaliencySettings
from wsloc.errors import UserError
from wsloc.saliency import MethodContext, PairBatch, bind_method

pytest.importorskip("timm")
from timm.models import cait, convit, mlp_mixer, swin_transformer

SMALL = {"img_size": 32, "num_classes": 3, "embed_dim": 8}
NETWORKS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    # The block around the last windows of attention; the norms before the pooling and before the last attention.
    "swin": (
        lambda: swin_transformer.SwinTransformer(
            **SMALL, patch_size=2, window_size=4, depths=(2, 2), num_heads=(2, 2), strict_img_size=False
        ),
        "norm",
    ),
    "cait": (lambda: cait.Cait(**SMALL, patch_size=8, depth=2, num_heads=2), "blocks_token_only.1.norm1"),
    "convit": (
        lambda: convit.ConVit(**SMALL, patch_size=8, depth=2, num_heads=2, local_up_to_layer=1),
        "blocks.1.norm1",
    ),
    "resmlp": (
        lambda: mlp_mixer.MlpMixer(
            **SMALL,
            patch_size=8,
            num_blocks=2,
            mlp_ratio=4,
            block_layer=mlp_mixer.ResBlock,
            norm_layer=mlp_mixer.Affine,
        ),
        "norm",
    ),
    "gmlp": (
        lambda: mlp_mixer.MlpMixer(
            **SMALL,
            patch_size=8,
            num_blocks=2,
            mlp_ratio=4,
            block_layer=mlp_mixer.SpatialGatingBlock,
            mlp_layer=mlp_mixer.GatedMlp,
        ),
        "norm",
    ),
}


def _network(name: str) -> nn.Module:
    torch.manual_seed(0)
    network = NETWORKS[name][0]()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    return network.eval()


def _maps(network: nn.Module, images: Tensor, layers: tuple[str, ...] = ()) -> Tensor:
    settings = SaliencySettings(method="grad-cam", cam_layers=layers)
    bound = bind_method(MethodContext(make_scorer(network, [[0], [1], [2]]), images[:1], settings))
    index = torch.arange(len(images)).repeat_interleave(3)
    return bound.compute(PairBatch(images, index, torch.arange(3).repeat(len(images)))).maps


@pytest.mark.parametrize("name", NETWORKS)
def test_the_layer_that_is_found_is_the_last_with_a_place(name: str) -> None:
    network, images = _network(name), torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    maps = _maps(network, images[:2])
    assert maps.any()
    torch.testing.assert_close(maps, _maps(network, images[:2], (NETWORKS[name][1],)))
    torch.testing.assert_close(maps[:3], _maps(network, images[[0, 2]])[:3])


def _hiera() -> nn.Module:
    hiera = pytest.importorskip("timm.models.hiera")
    torch.manual_seed(0)
    network: nn.Module = hiera.Hiera(
        img_size=(64, 64), num_classes=3, embed_dim=8, num_heads=1, stages=(1, 1, 1, 1), mask_unit_size=(8, 8)
    )
    nn.init.normal_(network.get_parameter("head.fc.weight"))
    return network.eval()


@pytest.mark.parametrize("layer", ["unroll", "blocks.0", "blocks.1.norm1", "blocks.2", "blocks.2.mlp"])
def test_tokens_by_mask_units_are_refused(layer: str) -> None:
    """Hiera puts its tokens into the order of the image at its last stage alone."""
    with pytest.raises(UserError, match=rf"of the layer {layer} change elsewhere than the image"):
        _maps(_hiera(), torch.zeros(1, 3, 64, 64), (layer,))


def test_the_layer_that_is_found_in_hiera_is_in_order() -> None:
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    maps = _maps(_hiera(), images)
    assert maps.any()
    torch.testing.assert_close(maps, _maps(_hiera(), images, ("blocks.3",)))


@pytest.mark.parametrize("layer", ["blocks.0.attn.attn_drop", "blocks.1.attn.attn_drop"])
def test_a_matrix_of_attention_is_no_grid(layer: str) -> None:
    network = _network("convit")
    with pytest.raises(UserError, match=rf"of the layer {layer} change elsewhere than the image"):
        _maps(network, torch.zeros(1, 3, 32, 32), (layer,))
