"""Features inside attention over windows are put back where they belong in their image, or refused."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.maxvit import MaxVit
from torchvision.models.swin_transformer import SwinTransformer, SwinTransformerBlockV2

from wsloc.classifiers import make_scorer
from wsloc.classifiers.grid import as_grid
from wsloc.classifiers.scorer import scoring_mode
from wsloc.config import SaliencySettings
from wsloc.errors import UserError
from wsloc.saliency import MethodContext, PairBatch, bind_method
from wsloc.saliency.layers import named_layer
from wsloc.saliency.read_features import logits_and_features
from wsloc.saliency.window_layout import WindowLayout, source_of_cells


def test_the_layout_by_hand() -> None:
    """Two images of 2 x 3 cells in windows of 2 x 2: the third column begins another window, and is padded."""
    source = torch.tensor([[0, 1, 4], [2, 3, 6]])

    def arrive(marked: Tensor) -> Tensor:
        return torch.stack([marked[:8][source], marked[8:][source]])

    found = source_of_cells(16, arrive)
    assert found is not None
    assert found.tolist() == source.tolist()
    layout, windows = WindowLayout(-1, found), torch.arange(16.0).reshape(4, 4, 1)
    grid = layout.to_grid(windows, 2)
    assert grid[:, 0].tolist() == [[[0, 1, 4], [2, 3, 6]], [[8, 9, 12], [10, 11, 14]]]
    changed = layout.to_windows(-grid, windows)
    assert changed[:, :, 0].tolist() == [[0, -1, -2, -3], [-4, 5, -6, 7], [-8, -9, -10, -11], [-12, 13, -14, 15]]


@pytest.mark.parametrize(
    "arrive",
    [
        lambda marked: marked.reshape(2, 2, 2).roll(1, 0),  # the images change places
        lambda marked: marked.reshape(2, 2, 2)[:, :, :1].expand(2, 2, 2),  # two cells from one position
        lambda marked: marked.reshape(2, 2, 2).any(dim=1, keepdim=True).expand(2, 2, 2),  # attention still to come
        lambda _marked: torch.zeros(2, 2, 2, dtype=torch.bool),  # nothing arrives
        lambda marked: marked.reshape(2, 2, 2).transpose(0, 2),  # the images take turns
    ],
)
def test_what_is_no_layout(arrive: Callable[[Tensor], Tensor]) -> None:
    assert source_of_cells(8, arrive) is None


def _random(network: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    return network.eval()


def _swin(block: type[nn.Module] | None = None) -> nn.Module:
    blocks = {} if block is None else {"block": block}
    return _random(SwinTransformer([2, 2], 8, [2, 2], [2, 2], [4, 4], num_classes=3, **blocks))


def _timm_swin(name: str) -> nn.Module:
    timm = pytest.importorskip("timm.models")
    swin = {"swin": timm.swin_transformer.SwinTransformer, "swin_v2": timm.swin_transformer_v2.SwinTransformerV2}[name]
    small = {"img_size": 40, "patch_size": 2, "window_size": 4, "embed_dim": 8, "num_classes": 3}
    return _random(swin(**small, depths=(2, 2), num_heads=(2, 2), strict_img_size=False))


def _maxvit() -> nn.Module:
    return _random(MaxVit((64, 64), 8, 2, [8, 16], [1, 1], 8, 0.0, num_classes=3))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], int, str]] = {
    "timm swin": (partial(_timm_swin, "swin"), 40, "layers.0.blocks.0.attn"),
    "timm swin, shifted and padded": (partial(_timm_swin, "swin"), 36, "layers.0.blocks.1.attn"),
    "timm swin, a part of attention": (partial(_timm_swin, "swin"), 40, "layers.1.blocks.1.attn.proj"),
    "timm swin_v2": (partial(_timm_swin, "swin_v2"), 40, "layers.0.blocks.1.attn"),
    "torchvision swin": (_swin, 40, "features.3.1.attn"),
    "torchvision swin v2": (partial(_swin, SwinTransformerBlockV2), 40, "features.3.1.attn"),
    "torchvision maxvit": (_maxvit, 64, "blocks.0.layers.0.layers.grid_attention.attn_layer"),
}


def _images(size: int, count: int = 3) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def _maps(network: nn.Module, images: Tensor, layer: str, method: str = "layer-cam") -> Tensor:
    settings = SaliencySettings(method=method, cam_layers=(layer,), score_cam_channels=2)
    bound = bind_method(MethodContext(make_scorer(network, [[0]]), images[:1], settings))
    index = torch.arange(len(images))
    return bound.compute(PairBatch(images, index, torch.zeros_like(index))).maps


@pytest.mark.parametrize(
    ("name", "method"), [*((name, "grad-cam") for name in NETWORKS), ("torchvision swin", "score-cam")]
)
def test_the_map_of_an_image_does_not_depend_on_its_neighbor(name: str, method: str) -> None:
    make, size, layer = NETWORKS[name]
    network, images = make(), _images(size)
    both, beside_another = (_maps(network, images[pair], layer, method) for pair in ([0, 1], [0, 2]))
    assert both[0].any()
    torch.testing.assert_close(both[0], beside_another[0], rtol=0, atol=1e-4 * float(both[0].max()))
    assert (both[1] - beside_another[1]).abs().max() > 0.01 * both[1].max()


@pytest.mark.parametrize(("size", "block", "shift"), [(40, 0, 0), (40, 1, 2), (36, 1, 2)])
def test_a_feature_of_a_window_lies_where_its_pixels_are(size: int, block: int, shift: int) -> None:
    """The windows of 4 x 4 cells of timm's Swin, by hand: rolled by the shift, then padded to whole windows."""
    network, images = _timm_swin("swin"), _images(size, 2)
    side = size // 2
    padded = -(-side // 4) * 4
    seen: list[Tensor] = []
    layer = f"layers.0.blocks.{block}.attn"
    hook = network.get_submodule(layer).register_forward_hook(lambda _m, _i, output: seen.append(output))
    expected_logits = network(images)
    hook.remove()
    scorer = make_scorer(network, [[0]])
    with scoring_mode(network):
        logits, (features,) = logits_and_features(scorer, images, [named_layer(scorer, layer)])
    per_image = (padded // 4) ** 2
    assert len(seen[0]) == 2 * per_image
    expected = torch.empty(2, 8, side, side)
    for row, window in enumerate(seen[0]):
        image, place = divmod(row, per_image)
        for token, values in enumerate(window):
            y, x = place // (padded // 4) * 4 + token // 4, place % (padded // 4) * 4 + token % 4
            if y < side and x < side:
                expected[image, :, (y + shift) % side, (x + shift) % side] = values
    torch.testing.assert_close(features, expected)
    torch.testing.assert_close(logits, expected_logits)


@pytest.mark.parametrize(
    ("make", "size", "layer", "block"),
    [
        (partial(_timm_swin, "swin"), 40, "layers.1.blocks.1.attn.qkv", "layers.1.blocks.1"),
        (
            _maxvit,
            64,
            "blocks.0.layers.0.layers.window_attention.attn_layer.1.to_qkv",
            "blocks.0.layers.0.layers.window_attention",
        ),
    ],
)
def test_before_the_end_of_an_attention_the_block_is_named(
    make: Callable[[], nn.Module], size: int, layer: str, block: str
) -> None:
    network, images = make(), _images(size, 2)
    with pytest.raises(
        UserError, match=rf"cannot be told where .* the layer {layer} belong .* name {block}, the block"
    ):
        _maps(network, images, layer)
    assert _maps(network, images, block).any()


def test_four_dimensions_that_are_no_grid() -> None:
    """64 windows of 49 tokens are no grid over a square; one cell too many is rounding, and a square was squashed."""
    with pytest.raises(UserError, match="have no place in an image of 224 x 224"):
        as_grid(torch.zeros(1, 64, 49, 32), (224, 224))
    assert as_grid(torch.zeros(1, 32, 3, 5), (40, 80)).shape == (1, 32, 3, 5)
    assert as_grid(torch.zeros(1, 32, 7, 7), (224, 448)).shape == (1, 32, 7, 7)
