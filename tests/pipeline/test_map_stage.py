"""The middle stage: images that need nothing pass at once, and what the network makes of them is not hidden."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
import pytest
import torch

from wsloc.cli.options import parse_localize
from wsloc.datasets import asked_classes, open_dataset
from wsloc.errors import UserError
from wsloc.pipeline import Failed, Runner, localize_images, make_localizer
from wsloc.pipeline.map_stage import ImageMaps, MapStage
from wsloc.pipeline.read_stage import ReadImage
from wsloc.saliency import Attribution, PairBatch

FAST = "--smoothgrad-samples 2 --occlusion-patch 12 --occlusion-stride 10 --rise-masks 9 --score-cam-channels 4".split()


def opened(flags: list[str]) -> tuple[MapStage, list[ReadImage]]:
    config = parse_localize(flags)
    dataset = open_dataset(config.data)
    localizer = make_localizer(config, asked_classes(config.data, dataset))
    images = [image for image in localizer.read(dataset.images) if isinstance(image, ReadImage)]
    assert len(images) == len(dataset.images)
    return localizer.network, images


def computed(stage: MapStage, images: Iterable[ReadImage]) -> list[ImageMaps]:
    found = [image for image in stage.compute(images, Runner()) if isinstance(image, ImageMaps)]
    assert len(found) == len(list(images))
    return found


def with_compute(stage: MapStage, compute: Callable[[PairBatch], Attribution]) -> MapStage:
    """The same stage with another method on its network."""
    bound = stage.model.bound
    model = replace(stage.model)
    model.__dict__["bound"] = replace(bound, method=replace(bound.method, compute=compute))
    return replace(stage, model=model)


def test_images_without_a_class_do_not_pile_up(tiny_flags: list[str]) -> None:
    stage, images = opened(tiny_flags)
    unknown = [replace(one, class_names=("unicorn",)) for one in images]
    pulled: list[ReadImage] = []
    stream = (pulled.append(one) or one for one in unknown)
    for number, image_maps in enumerate(stage.compute(stream, Runner()), 1):
        assert isinstance(image_maps, ImageMaps)
        assert image_maps.maps == {}
        assert len(pulled) == number
    assert number == len(images)


def test_an_image_of_a_rare_size_does_not_hold_back_all_others(tiny_flags: list[str]) -> None:
    stage, images = opened([*tiny_flags, "--resize", "short-side", "--targets", "top1"])
    shapes = [one.views.views[0].pixels.shape for one in images if one.views]
    rare, common = images[0], next(one for one, shape in zip(images, shapes, strict=True) if shape != shapes[0])
    pulled: list[ReadImage] = []
    stream = (pulled.append(one) or one for one in [rare, *[common] * 400])
    for number, image_maps in enumerate(stage.compute(stream, Runner())):
        assert isinstance(image_maps, ImageMaps)
        assert len(image_maps.maps) == 1
        # Eight batches may wait in each of the two passes: for the best class, and for its map.
        assert len(pulled) - number <= 2 * 8 * stage.batch_size + 2
    assert number == 400


def test_a_nan_of_the_network_is_a_failure_not_an_uncovered_pixel(tiny_flags: list[str]) -> None:
    config = parse_localize(tiny_flags)
    dataset = open_dataset(config.data)
    localizer = make_localizer(config, asked_classes(config.data, dataset))
    compute = localizer.model.method.compute

    def nan_above(batch: PairBatch) -> Attribution:
        attribution = compute(batch)
        attribution.maps[:, :9] = torch.nan
        return attribution

    spoiled = replace(localizer, maps=with_compute(localizer.network, nan_above))
    results = list(localize_images(spoiled, dataset.images[:3]))
    reasons = {item.failure.reason for result in results for item in result.items if item.failure}
    assert reasons == {"the saliency map is not finite"}
    assert not any(item.localizations for result in results for item in result.items)


def watched(stage: MapStage) -> tuple[MapStage, list[PairBatch]]:
    """The same stage, and the batches that its method will be given."""
    batches: list[PairBatch] = []
    own = stage.model.bound.method.compute

    def compute(batch: PairBatch) -> Attribution:
        batches.append(batch)
        return own(batch)

    return with_compute(stage, compute), batches


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
    stage, images = opened([*tiny_flags, *FAST, "--method", method, *flags, "--views", views, "--limit", "9"])
    stage, batches = watched(stage)
    found = computed(stage, images)
    items = sum(len(of_image.maps) for of_image in found)
    # One, two and three labels in turn.
    assert items == 18
    assert sum(map(len, batches)) == items * count
    rows = sum(len(set(batch.image_index.tolist())) for batch in batches)
    assert rows == (9 if shared else items) * count
    # Full batches, the last one filled up.
    assert {len(batch.images) for batch in batches} == {stage.batch_size}
    assert len(batches) == -(-rows // stage.batch_size)


@pytest.mark.parametrize("method", ["grad-cam", "layer-cam", "score-cam", "occlusion", "rise"])
@pytest.mark.parametrize("views", ["whole", "multi-scale"])
def test_shared_rows_give_what_rows_of_their_own_give(tiny_flags: list[str], method: str, views: str) -> None:
    stage, images = opened([*tiny_flags, *FAST, "--method", method, "--views", views, "--limit", "6"])
    bound = stage.model.bound
    assert bound.method.shares_passes
    model = replace(stage.model)
    model.__dict__["bound"] = replace(bound, method=replace(bound.method, shares_passes=False))
    alone = replace(stage, model=model)
    pairs = 0
    for ours, theirs in zip(computed(stage, images), computed(alone, images), strict=True):
        assert list(ours.maps) == list(theirs.maps) == list(ours.read.image.labels)
        assert ours.probabilities == pytest.approx(theirs.probabilities, abs=1e-6)
        for name, of_class in ours.maps.items():
            assert np.abs(of_class - theirs.maps[name]).max() <= 1e-5 * theirs.maps[name].max()
            pairs += 1
    assert pairs == 12


def _seeds(stage: MapStage, images: list[ReadImage]) -> dict[tuple[bytes, int], int]:
    """The seed of each network input and class."""
    stage, batches = watched(stage)
    computed(stage, images)
    return {
        (batch.images[row].numpy().tobytes(), of_class): seed
        for batch in batches
        for row, of_class, seed in zip(batch.image_index.tolist(), batch.classes.tolist(), batch.seeds, strict=True)
    }


@pytest.mark.parametrize("method", ["smoothgrad", "occlusion"])
def test_each_item_and_view_has_a_seed_of_its_own(tiny_flags: list[str], method: str) -> None:
    stage, images = opened([*tiny_flags, *FAST, "--method", method, "--views", "mirror"])
    straight = _seeds(stage, images)
    # 79 items of two views each.
    assert len(straight) == len(set(straight.values())) == 158
    assert all(0 <= seed < 2**31 for seed in straight.values())
    order = np.random.default_rng(2).permutation(len(images))[:17]
    some = _seeds(replace(stage, batch_size=3), [images[index] for index in order])
    assert len(some) > 30
    assert some.items() <= straight.items()
    other = _seeds(replace(stage, seed=1), images)
    assert other.keys() == straight.keys()
    assert not set(other.values()) & set(straight.values())


def test_failures_of_the_read_stage_pass_by_in_order(tiny_flags: list[str]) -> None:
    for extra in ([], ["--targets", "top2"]):
        stage, images = opened([*tiny_flags, "--limit", "5", *extra])
        failed = Failed(images[1].image, "read", "no image")
        found = list(stage.compute([images[0], failed, *images[2:]], Runner()))
        assert found[1] is failed
        assert [one.read.image for one in found if isinstance(one, ImageMaps)] == [
            images[index].image for index in (0, 2, 3, 4)
        ]


def short_of_memory(stage: MapStage, most: int) -> MapStage:
    """The same stage on a device that holds ``most`` images at a time."""
    compute = stage.model.bound.method.compute

    def limited(batch: PairBatch) -> Attribution:
        if len(batch.images) > most:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return compute(batch)

    return with_compute(stage, limited)


@pytest.mark.parametrize(("most", "size"), [(16, None), (15, 8), (3, 2), (1, 1)])
def test_a_batch_that_does_not_fit_is_halved_for_the_rest_of_the_run(
    tiny_flags: list[str], most: int, size: int | None
) -> None:
    stage, images = opened([*tiny_flags, "--batch-size", "16"])
    limited = short_of_memory(stage, most)
    assert limited.changes() == {}
    for expected, found in zip(computed(stage, images), computed(limited, images), strict=True):
        assert expected.probabilities == pytest.approx(found.probabilities, rel=1e-4)
        for name, saliency in expected.maps.items():
            assert np.abs(saliency - found.maps[name]).max() <= 1e-5 * saliency.max()
    assert limited.changes() == ({} if size is None else {"batch_size": size})


def test_memory_for_no_image_at_all_is_an_error(tiny_flags: list[str]) -> None:
    stage, images = opened(tiny_flags)
    with pytest.raises(UserError, match="does not suffice for one image"):
        computed(short_of_memory(stage, 0), images)
