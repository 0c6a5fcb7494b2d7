"""The middle stage: images that need nothing pass at once, and what the network makes of them is not hidden."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from wsloc.cli.options import parse_localize
from wsloc.datasets import open_dataset
from wsloc.pipeline import Localizer, localize, make_localizer
from wsloc.pipeline.reading import PreparedImage, prepare
from wsloc.pipeline.saliency_maps import compute_maps
from wsloc.saliency import Attribution, BoundMethod, PairBatch

FAST = "--smoothgrad-samples 2 --occlusion-patch 12 --occlusion-stride 10 --rise-masks 9 --score-cam-channels 4".split()


def opened(flags: list[str]) -> tuple[Localizer, list[PreparedImage]]:
    config = parse_localize(flags)
    dataset = open_dataset(config.data)
    localizer = make_localizer(config, dataset)
    return localizer, [prepare(localizer, image) for image in dataset.images]


def test_images_without_a_class_do_not_pile_up(tiny_flags: list[str]) -> None:
    localizer, prepared = opened(tiny_flags)
    unknown = [replace(one, image=replace(one.image, labels=("unicorn",))) for one in prepared]
    pulled: list[PreparedImage] = []
    for number, image_maps in enumerate(compute_maps(localizer, (pulled.append(one) or one for one in unknown)), 1):
        assert image_maps.maps == {}
        assert len(pulled) == number


def test_an_image_of_a_rare_size_does_not_hold_back_all_others(tiny_flags: list[str]) -> None:
    localizer, prepared = opened([*tiny_flags, "--resize", "short-side", "--targets", "top1"])
    shapes = [one.views.views[0].pixels.shape for one in prepared if one.views]
    rare, common = prepared[0], next(one for one, shape in zip(prepared, shapes, strict=True) if shape != shapes[0])
    pulled: list[PreparedImage] = []
    stream = [rare, *[common] * 400]
    for number, image_maps in enumerate(compute_maps(localizer, (pulled.append(one) or one for one in stream))):
        assert len(image_maps.maps) == 1
        # Eight batches may wait in each of the two passes: for the best class, and for its map.
        assert len(pulled) - number <= 2 * 8 * localizer.batch_size + 2
    assert number == 400


def test_a_nan_of_the_network_is_a_failure_not_an_uncovered_pixel(tiny_flags: list[str]) -> None:
    localizer, _ = opened(tiny_flags)
    images = open_dataset(parse_localize(tiny_flags).data).images[:3]

    def nan_above(batch: PairBatch) -> Attribution:
        attribution = localizer.method.compute(batch)
        attribution.maps[:, :9] = torch.nan
        return attribution

    results = list(localize(replace(localizer, method=BoundMethod(nan_above)), images))
    reasons = {item.failure.reason for result in results for item in result.items if item.failure}
    assert reasons == {"the saliency map is not finite"}
    assert not any(item.localizations for result in results for item in result.items)


def watched(localizer: Localizer) -> tuple[Localizer, list[PairBatch]]:
    """The same localizer, and the batches that its method will be given."""
    batches: list[PairBatch] = []

    def compute(batch: PairBatch) -> Attribution:
        batches.append(batch)
        return localizer.method.compute(batch)

    return replace(localizer, method=replace(localizer.method, compute=compute)), batches


@pytest.mark.parametrize(
    ("method", "flags", "shared"),
    [
        ("gradient", (), False),
        ("smoothgrad", (), False),
        ("gradient", ("--targets", "top2"), True),
        ("grad-cam", (), True),
        ("occlusion", (), True),
        ("grad-cam", ("--second-method", "occlusion"), True),
        ("grad-cam", ("--second-method", "guided"), False),
    ],
)
@pytest.mark.parametrize(("views", "count"), [("whole", 1), ("mirror", 2)])
def test_classes_share_a_row_where_the_method_shares_its_passes(
    tiny_flags: list[str], method: str, flags: tuple[str, ...], shared: bool, views: str, count: int
) -> None:
    localizer, prepared = opened([*tiny_flags, *FAST, "--method", method, *flags, "--views", views, "--limit", "9"])
    localizer, batches = watched(localizer)
    found = list(compute_maps(localizer, prepared))
    items = sum(len(of_image.maps) for of_image in found)
    # One, two and three labels in turn.
    assert items == 18
    assert sum(map(len, batches)) == items * count
    rows = sum(len(set(batch.image_index.tolist())) for batch in batches)
    assert rows == (9 if shared else items) * count
    # Full batches, the last one filled up.
    assert {len(batch.images) for batch in batches} == {localizer.batch_size}
    assert len(batches) == -(-rows // localizer.batch_size)


@pytest.mark.parametrize("method", ["grad-cam", "layer-cam", "score-cam", "occlusion", "rise"])
@pytest.mark.parametrize("views", ["whole", "multi-scale"])
def test_shared_rows_give_what_rows_of_their_own_give(tiny_flags: list[str], method: str, views: str) -> None:
    localizer, prepared = opened([*tiny_flags, *FAST, "--method", method, "--views", views, "--limit", "6"])
    assert localizer.method.shares_passes
    alone = replace(localizer, method=replace(localizer.method, shares_passes=False))
    pairs = 0
    for ours, theirs in zip(compute_maps(localizer, prepared), compute_maps(alone, prepared), strict=True):
        assert list(ours.maps) == list(theirs.maps) == list(ours.prepared.image.labels)
        assert ours.probabilities == pytest.approx(theirs.probabilities, abs=1e-6)
        for name, of_class in ours.maps.items():
            assert np.abs(of_class - theirs.maps[name]).max() <= 1e-5 * theirs.maps[name].max()
            pairs += 1
    assert pairs == 12


def _seeds(localizer: Localizer, prepared: list[PreparedImage]) -> dict[tuple[bytes, int], int]:
    """The seed of each network input and class."""
    localizer, batches = watched(localizer)
    list(compute_maps(localizer, prepared))
    return {
        (batch.images[row].numpy().tobytes(), of_class): seed
        for batch in batches
        for row, of_class, seed in zip(batch.image_index.tolist(), batch.classes.tolist(), batch.seeds, strict=True)
    }


@pytest.mark.parametrize("method", ["smoothgrad", "occlusion"])
def test_each_item_and_view_has_a_seed_of_its_own(tiny_flags: list[str], method: str) -> None:
    flags = [*tiny_flags, *FAST, "--method", method, "--views", "mirror"]
    localizer, prepared = opened(flags)
    straight = _seeds(localizer, prepared)
    # 79 items of two views each.
    assert len(straight) == len(set(straight.values())) == 158
    assert all(0 <= seed < 2**31 for seed in straight.values())
    order = np.random.default_rng(2).permutation(len(prepared))[:17]
    some = _seeds(replace(localizer, batch_size=3), [prepared[number] for number in order])
    assert len(some) > 30
    assert some.items() <= straight.items()
    other = _seeds(replace(localizer, seed=1), prepared)
    assert other.keys() == straight.keys()
    assert not set(other.values()) & set(straight.values())
