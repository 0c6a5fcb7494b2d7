"""What docs/formats.md promises of bytes holds on CUDA, and the CPU finds the same boxes."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from wsloc.classifiers.memory_format import with_channels_last
from wsloc.cli.options import parse_localize
from wsloc.datasets import Dataset, asked_classes, open_dataset
from wsloc.pipeline import Localizer, Runner, localize_images, make_localizer
from wsloc.pipeline.map_stage import ImageMaps
from wsloc.records import ImageRecord, Localization

Maps = dict[tuple[str, str], NDArray[np.float32]]
FAST = (
    "--smoothgrad-samples 2 --integrated-steps 3 --occlusion-patch 12 --occlusion-stride 10 --rise-masks 9 "
    "--score-cam-channels 5"
).split()
EVERY_KIND = pytest.mark.parametrize(
    "method", ["gradient", "smoothgrad", "integrated-gradients", "guided", "grad-cam", "score-cam", "occlusion", "rise"]
)


def opened(flags: Sequence[str], device: str = "cuda") -> tuple[Dataset, Localizer]:
    config = parse_localize([*flags, "--device", device])
    dataset = open_dataset(config.data)
    return dataset, make_localizer(config, asked_classes(config.data, dataset))


def maps_of(localizer: Localizer, images: Sequence[ImageRecord], workers: int = 0) -> Maps:
    with ThreadPoolExecutor(max(1, workers)) as pool:
        found = list(localizer.compute_maps(images, Runner(pool if workers else None)))
    assert len(found) == len(images)
    return {
        (one.read.image.image_id, name): of_class
        for one in found
        if isinstance(one, ImageMaps)
        for name, of_class in one.maps.items()
    }


def boxes_of(localizer: Localizer, dataset: Dataset) -> list[Localization]:
    results = list(localize_images(localizer, dataset.images))
    return [found for result in results for item in result.items for found in item.localizations]


def assert_close(ours: Maps, theirs: Maps, tolerance: float) -> None:
    assert ours.keys() == theirs.keys()
    for pair, saliency in ours.items():
        assert np.abs(saliency - theirs[pair]).max() <= tolerance * max(saliency.max(), 1e-12), pair


@EVERY_KIND
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_order_companions_and_workers_leave_the_bytes_alone(tiny_flags: list[str], method: str, precision: str) -> None:
    dataset, localizer = opened([*tiny_flags, *FAST, "--method", method, "--precision", precision, "--limit", "12"])
    straight = maps_of(localizer, dataset.images)
    assert len(straight) == 24
    shuffled = [dataset.images[index] for index in np.random.default_rng(1).permutation(12)[:7]]
    for others in (maps_of(localizer, shuffled), maps_of(localizer, dataset.images, workers=2)):
        assert len(others) >= 7
        for pair, saliency in others.items():
            assert saliency.tobytes() == straight[pair].tobytes()


def test_batch_sizes_agree_to_1e_5(tiny_flags: list[str]) -> None:
    dataset, localizer = opened(tiny_flags)
    sizes = {size: replace(localizer, maps=replace(localizer.network, batch_size=size)) for size in (1, 4, 7)}
    for size in (1, 7):
        assert_close(maps_of(sizes[4], dataset.images), maps_of(sizes[size], dataset.images), 1e-5)
        pairs = zip(boxes_of(sizes[4], dataset), boxes_of(sizes[size], dataset), strict=True)
        assert np.mean([a.box_xyxy == b.box_xyxy for a, b in pairs]) >= 0.99


@EVERY_KIND
def test_the_cpu_finds_the_same(tiny_flags: list[str], method: str) -> None:
    flags = [*tiny_flags, *FAST, "--method", method]
    (dataset, on_cuda), (_, on_cpu) = opened(flags), opened(flags, "cpu")
    assert_close(maps_of(on_cpu, dataset.images), maps_of(on_cuda, dataset.images), 1e-4)
    pairs = list(zip(boxes_of(on_cpu, dataset), boxes_of(on_cuda, dataset), strict=True))
    assert len(pairs) >= 75
    assert np.mean([a.box_xyxy == b.box_xyxy for a, b in pairs]) >= 0.97


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_autocast_has_channels_last_and_finds_nearly_the_same(tiny_flags: list[str], precision: str) -> None:
    dataset, half = opened([*tiny_flags, "--precision", precision])
    _, whole = opened(tiny_flags)
    assert half.model.scorer.memory_format == torch.channels_last
    assert whole.model.scorer.memory_format == torch.preserve_format
    ours, theirs = maps_of(half, dataset.images), maps_of(whole, dataset.images)
    alike = [np.corrcoef(saliency.ravel(), ours[pair].ravel())[0, 1] for pair, saliency in theirs.items()]
    assert np.median(alike) > 0.99
    assert not all(saliency.tobytes() == ours[pair].tobytes() for pair, saliency in theirs.items())


@EVERY_KIND
def test_channels_last_finds_the_same_in_float32(tiny_flags: list[str], method: str) -> None:
    flags = [*tiny_flags, *FAST, "--method", method, "--limit", "6"]
    dataset, localizer = opened(flags)
    first = maps_of(localizer, dataset.images)
    _, other = opened(flags)
    scorer = with_channels_last(other.model.scorer, (3, 32, 32))
    assert scorer.memory_format == torch.channels_last
    stage, model = other.network, replace(other.network.model)
    model.__dict__["bound"] = replace(other.model, scorer=scorer)
    model = model.with_method(stage.model.saliency, torch.randn(1, 3, 32, 32))
    assert_close(first, maps_of(replace(other, maps=replace(stage, model=model)), dataset.images), 1e-4)
