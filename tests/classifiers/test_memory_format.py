"""Channels last changes how tensors lie in memory, and nothing that a method finds."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from wsloc.classifiers import make_scorer
from wsloc.classifiers.memory_format import in_fast_order, with_channels_last
from wsloc.config import SaliencySettings
from wsloc.saliency import METHODS, MethodContext, PairBatch, bind_method

SETTINGS = SaliencySettings(
    smoothgrad_samples=2, integrated_steps=2, occlusion_patch=8, occlusion_stride=8, rise_masks=5, score_cam_channels=3
)
SHAPE = (3, 20, 24)


class Watched(nn.Module):
    """Notes the strides of what passes."""

    def __init__(self) -> None:
        super().__init__()
        self.last: list[bool] = []

    def forward(self, features: Tensor) -> Tensor:
        self.last.append(features.is_contiguous(memory_format=torch.channels_last))
        return features


def network(*, head: nn.Module | None = None) -> nn.Sequential:
    torch.manual_seed(5)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 12, 3), nn.BatchNorm2d(12), nn.ReLU(),
        Watched(), *([head] if head else [nn.AdaptiveAvgPool2d(1), nn.Flatten()]), nn.Linear(12, 4),
    )  # fmt: skip


class Viewed(nn.Module):
    """Takes the features of the first rows as a user's own code might: not of a tensor with channels last."""

    def forward(self, features: Tensor) -> Tensor:
        return features.view(len(features), 12, -1).mean(dim=-1) + 0 * features.view(len(features), -1)[:, :12]


@pytest.mark.parametrize("name", METHODS)
def test_every_method_finds_the_same(name: str) -> None:
    images = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(1))
    batch = PairBatch(images, torch.tensor([0, 1, 1, 2]), torch.tensor([0, 1, 2, 3]), (1, 2, 3, 4))
    first = make_scorer(network(), [[0], [1], [2, 3], [3]])
    last = with_channels_last(make_scorer(network(), [[0], [1], [2, 3], [3]]), SHAPE)
    settings = replace(SETTINGS, method=name)
    ours, theirs = (bind_method(MethodContext(scorer, images[:1], settings)).compute(batch) for scorer in (last, first))
    torch.testing.assert_close(ours.logits, theirs.logits, rtol=1e-4, atol=1e-5)
    assert theirs.maps.amax() > 0
    assert (ours.maps - theirs.maps).abs().max() <= 1e-4 * theirs.maps.max()
    watched = last.network[6]
    assert isinstance(watched, Watched)
    assert all(watched.last)


def test_a_network_that_cannot_take_it_stays_as_it_is() -> None:
    scorer = make_scorer(network(head=Viewed()), [[0]])
    assert with_channels_last(scorer, SHAPE) is scorer
    assert all(value.is_contiguous() for value in scorer.network.parameters())
    scorer.logits(torch.zeros(2, *SHAPE))


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_the_cpu_keeps_channels_first(precision: torch.dtype) -> None:
    scorer = make_scorer(network(), [[0]], precision=precision)
    assert in_fast_order(scorer, SHAPE) is scorer


def test_cuda_has_channels_last_in_half_precision_alone() -> None:
    scorer = make_scorer(network(), [[0]])
    played = replace(scorer, device=torch.device("cuda"))
    assert in_fast_order(played, SHAPE) is played
    assert all(value.is_contiguous() for value in scorer.network.parameters())
