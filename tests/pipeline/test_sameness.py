"""DESIGN's promise: the same bytes for any order, number of workers, part size or subset."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from wsloc.cli.options import parse_localize
from wsloc.datasets import Dataset, asked_classes, open_dataset
from wsloc.images import read_scaled
from wsloc.pipeline import Localizer, Runner, localize_images, make_localizer
from wsloc.pipeline.map_stage import ImageMaps
from wsloc.records import ImageRecord, Localization

FAST = (
    "--smoothgrad-samples 2 --integrated-steps 3 --occlusion-patch 12 --occlusion-stride 10 --rise-masks 9 "
    "--score-cam-channels 5"
).split()
EVERY_KIND = pytest.mark.parametrize(
    "method", ["smoothgrad", "integrated-gradients", "guided", "grad-cam", "score-cam", "occlusion", "rise"]
)


def opened(flags: Sequence[str]) -> tuple[Dataset, Localizer]:
    config = parse_localize(flags)
    dataset = open_dataset(config.data)
    return dataset, make_localizer(config, asked_classes(config.data, dataset))


def records(
    localizer: Localizer, dataset: Dataset, images: Sequence[ImageRecord] | None = None, workers: int = 0
) -> list[Localization]:
    if not workers:
        results = list(localize_images(localizer, images or dataset.images))
    else:
        with ThreadPoolExecutor(workers) as pool:
            results = list(localize_images(localizer, images or dataset.images, Runner(pool, localizer.window)))
    return [found for result in results for item in result.items for found in item.localizations]


@pytest.mark.parametrize(
    "variant",
    [
        [],
        ["--resize", "short-side"],
        ["--views", "ten-crop"],
        ["--targets", "top2"],
        ["--segmenter", "grabcut-torch"],
    ],
)
def test_order_and_subset_change_nothing(tiny_flags: list[str], variant: list[str]) -> None:
    dataset, localizer = opened([*tiny_flags, *variant])
    straight = records(localizer, dataset)
    shuffled = [dataset.images[i] for i in np.random.default_rng(1).permutation(len(dataset.images))]
    by_item = {(found.image_id, found.class_name): found for found in records(localizer, dataset, shuffled[:25])}

    assert len(by_item) >= 25
    assert all(found == by_item.get((found.image_id, found.class_name), found) for found in straight)
    assert set(by_item) <= {(found.image_id, found.class_name) for found in straight}


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_workers_change_nothing(tiny_flags: list[str], workers: int) -> None:
    dataset, localizer = opened(tiny_flags)
    assert records(localizer, dataset, workers=workers) == records(localizer, dataset)


def test_results_come_in_the_order_of_the_images(tiny_flags: list[str]) -> None:
    # With the aspect kept, images wait for companions of their size and overtake each other on the device.
    dataset, localizer = opened([*tiny_flags, "--resize", "short-side"])
    assert [result.image for result in localize_images(localizer, dataset.images)] == list(dataset.images)


def with_batch_size(localizer: Localizer, size: int) -> Localizer:
    return replace(localizer, maps=replace(localizer.network, batch_size=size), window=2 * size)


def computed(localizer: Localizer, images: Sequence[ImageRecord]) -> list[ImageMaps]:
    found = [one for one in localizer.compute_maps(images, Runner()) if isinstance(one, ImageMaps)]
    assert len(found) == len(images)
    return found


def test_batch_sizes_agree_to_1e_5(tiny_flags: list[str]) -> None:
    dataset, localizer = opened(tiny_flags)
    maps = {size: computed(with_batch_size(localizer, size), dataset.images) for size in (1, 4, 7)}
    for size in (1, 7):
        for ours, theirs in zip(maps[4], maps[size], strict=True):
            for a, b in zip(ours.maps.values(), theirs.maps.values(), strict=True):
                assert np.abs(a - b).max() <= 1e-5 * a.max()
    boxes = {
        size: [found.box_xyxy for found in records(with_batch_size(localizer, size), dataset)] for size in (1, 4, 7)
    }
    for size in (1, 7):
        equal = sum(a == b for a, b in zip(boxes[4], boxes[size], strict=True))
        assert equal >= 0.99 * len(boxes[4])


def maps_of(localizer: Localizer, images: Sequence[ImageRecord]) -> dict[tuple[str, str], NDArray[np.float32]]:
    found = computed(localizer, images)
    return {(one.read.image.image_id, name): of_class for one in found for name, of_class in one.maps.items()}


@EVERY_KIND
@pytest.mark.parametrize("views", ["whole", "multi-scale"])
def test_order_and_companions_leave_the_bytes_of_a_map_alone(tiny_flags: list[str], method: str, views: str) -> None:
    dataset, localizer = opened([*tiny_flags, *FAST, "--method", method, "--views", views, "--limit", "12"])
    straight = maps_of(localizer, dataset.images)
    assert len(straight) == 24
    shuffled = [dataset.images[i] for i in np.random.default_rng(1).permutation(12)[:7]]
    others = maps_of(localizer, shuffled)
    assert len(others) >= 7
    # The score of a class of this network may rise wherever a patch hides something.
    assert sum(bool(of_class.max() > 0) for of_class in others.values()) > len(others) / 3
    for item, of_class in others.items():
        assert np.array_equal(of_class, straight[item])
    # Nor do the other classes of an image.
    one = dataset.images[2]
    for label in one.labels:
        alone = maps_of(localizer, [replace(one, labels=(label,))])
        assert np.array_equal(alone[one.image_id, label], straight[one.image_id, label])


@EVERY_KIND
def test_batches_of_1_and_of_8_agree_to_1e_5(tiny_flags: list[str], method: str) -> None:
    dataset, localizer = opened([*tiny_flags, *FAST, "--method", method, "--limit", "8"])
    small, large = (maps_of(with_batch_size(localizer, size), dataset.images) for size in (1, 8))
    assert small.keys() == large.keys()
    for item, of_class in small.items():
        assert np.abs(of_class - large[item]).max() <= 1e-5 * of_class.max()


def test_shared_rows_equal_rows_of_their_own(tiny_flags: list[str]) -> None:
    # top3 of three classes shares the forward pass of an image; labels give each class its own row.
    dataset, shared_rows = opened([*tiny_flags, "--targets", "top3"])
    all_labels = [replace(image, labels=("red", "green", "blue")) for image in dataset.images]
    _, own_rows = opened(tiny_flags)
    ours = {(f.image_id, f.class_name): f for f in records(own_rows, dataset, all_labels)}
    theirs = {(f.image_id, f.class_name): f for f in records(shared_rows, dataset)}
    assert ours.keys() == theirs.keys()
    assert len(ours) == 3 * len(dataset.images)
    assert sum(ours[key].box_xyxy == theirs[key].box_xyxy for key in ours) >= 0.99 * len(ours)


def test_memory_is_bounded_by_the_window(tiny_flags: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, localizer = opened(tiny_flags)
    images = list(dataset.images) * 5
    begun: list[object] = []
    monkeypatch.setattr(
        "wsloc.pipeline.read_stage.read_scaled", lambda *source: (begun.append(source), read_scaled(*source))[1]
    )
    with ThreadPoolExecutor(2) as pool:
        results = localize_images(localizer, images, Runner(pool, localizer.window))
        ahead = [len(begun) - done for done, _ in enumerate(results, start=1)]
    assert len(begun) == len(images)
    # Two windows of 2 x batch size, and one batch on the device.
    assert max(ahead) <= 5 * localizer.network.batch_size
