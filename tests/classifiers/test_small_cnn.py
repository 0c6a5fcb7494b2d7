"""The demo's network."""

from __future__ import annotations

import pytest
import torch

from wsloc.classifiers.small_cnn import SmallCNN


@pytest.mark.parametrize("channels", [1, 3])
def test_it_scores_images_of_any_size(channels: int) -> None:
    network = SmallCNN(num_classes=6, in_channels=channels).eval()
    assert network(torch.zeros(2, channels, 40, 16)).shape == (2, 6)
    assert sum(parameter.numel() for parameter in SmallCNN(6).parameters()) == 190_806
