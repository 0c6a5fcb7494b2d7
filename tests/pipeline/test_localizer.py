"""Putting a localizer together: what the network can take is found out before the first image."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from wsloc.classifiers import Classifier, Preprocessing
from wsloc.cli.options import parse_localize
from wsloc.datasets import asked_classes, open_dataset
from wsloc.errors import UserError
from wsloc.pipeline import localize_images, make_localizer


class OneSize(nn.Module):
    """Like torchvision's ViT, which asserts the size of its input."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 3)

    def forward(self, images: Tensor) -> Tensor:
        torch._assert(images.shape[-1] == 32, "Wrong image width!")
        return self.head(images.mean(dim=(2, 3)))


def classifier(network: nn.Module, size: int, resize: str = "squash") -> Classifier:
    return Classifier(network, Preprocessing((size, size), resize=resize), ("red", "green", "blue"), "softmax", "mine")  # type: ignore[arg-type]


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    ("size", "resize", "sentence"),
    [
        (48, "squash", "Wrong image width!"),
        (32, "short-side", "mine takes inputs of one size only; use `resize='squash'`"),
    ],
)
def test_a_network_of_one_size(size: int, resize: str, sentence: str) -> None:
    config = parse_localize("--dataset folder --root photos --labels labels.csv".split())
    with pytest.raises(UserError, match=sentence):
        make_localizer(config, ("red", "green", "blue"), classifier(OneSize(), size, resize))


@pytest.mark.usefixtures("tiny")
def test_a_network_in_memory() -> None:
    config = parse_localize("--dataset folder --root photos --labels labels.csv --limit 3".split())
    dataset = open_dataset(config.data)
    network = OneSize()
    localizer = make_localizer(config, asked_classes(config.data, dataset), classifier(network, 32))
    assert localizer.model.scorer.network is network
    results = list(localize_images(localizer, dataset.images))
    assert [result.image.file for result in results] == ["00.png", "01.png", "02.png"]
    assert [len(result.items) for result in results] == [1, 2, 3]


@pytest.mark.usefixtures("tiny")
def test_a_network_of_one_size_takes_crops_of_an_image_whose_aspect_is_kept() -> None:
    config = parse_localize("--dataset folder --root photos --labels labels.csv --views ten-crop --limit 2".split())
    dataset = open_dataset(config.data)
    localizer = make_localizer(config, asked_classes(config.data, dataset), classifier(OneSize(), 32, "short-side"))
    assert [len(result.items) for result in localize_images(localizer, dataset.images)] == [1, 2]
