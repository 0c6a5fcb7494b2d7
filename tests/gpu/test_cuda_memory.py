"""Memory of a CUDA device: flat over the images, and a batch that does not fit is halved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from wsloc.cli.options import parse_localize
from wsloc.datasets import Dataset, asked_classes, open_dataset
from wsloc.pipeline import Localizer, Runner, make_localizer
from wsloc.pipeline.batch_size import LARGEST
from wsloc.pipeline.map_stage import ImageMaps
from wsloc.records import ImageRecord

LARGE = ["--input-size", "512", "--device", "cuda"]
"""A row takes some 50 MiB, far more than the steps in which PyTorch asks for memory."""


def opened(flags: Sequence[str]) -> tuple[Dataset, Localizer]:
    config = parse_localize([*flags, *LARGE])
    dataset = open_dataset(config.data)
    return dataset, make_localizer(config, asked_classes(config.data, dataset))


def with_batch_size(localizer: Localizer, size: int) -> Localizer:
    return replace(localizer, maps=replace(localizer.network, batch_size=size))


def computed(localizer: Localizer, images: Sequence[ImageRecord]) -> list[ImageMaps]:
    found = [one for one in localizer.compute_maps(images, Runner()) if isinstance(one, ImageMaps)]
    assert len(found) == len(images)
    return found


def peak_of(localizer: Localizer, images: Sequence[ImageRecord]) -> int:
    torch.cuda.reset_peak_memory_stats()
    computed(localizer, images)
    return torch.cuda.max_memory_allocated()


def test_it_is_flat_over_the_images(tiny_flags: list[str]) -> None:
    dataset, localizer = opened(tiny_flags)
    images = dataset.images[:8]
    peak_of(localizer, images)
    held, peak = torch.cuda.memory_allocated(), peak_of(localizer, images)
    for _ in range(3):
        assert peak_of(localizer, images) == peak
    assert torch.cuda.memory_allocated() == held


@pytest.fixture
def little_memory() -> Iterator[None]:
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


@pytest.mark.usefixtures("little_memory")
def test_a_batch_that_does_not_fit_is_halved(tiny_flags: list[str]) -> None:
    dataset, localizer = opened(tiny_flags)
    images = dataset.images[:20]
    enough = 2 * peak_of(with_batch_size(localizer, 4), images)
    assert peak_of(with_batch_size(localizer, 32), images) > enough
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(enough / total)

    halved = with_batch_size(localizer, 32)
    found = computed(halved, images)
    size = halved.network.changes()["batch_size"]
    assert size in (4, 8)
    for ours, theirs in zip(found, computed(with_batch_size(localizer, size), images), strict=True):
        assert ours.probabilities == theirs.probabilities
        for name, saliency in ours.maps.items():
            np.testing.assert_array_equal(saliency, theirs.maps[name])


def test_auto_takes_what_fits_and_always_the_same(tiny_flags: list[str]) -> None:
    flags = [*tiny_flags, "--batch-size", "auto"]
    sizes = [opened(flags)[1].network.batch_size for _ in range(2)]
    assert sizes[0] == sizes[1]
    assert 1 <= sizes[0] <= LARGEST
    dataset, localizer = opened(flags)
    assert peak_of(localizer, dataset.images[:20]) < 0.75 * torch.cuda.get_device_properties(0).total_memory
    assert localizer.network.changes() == {}
