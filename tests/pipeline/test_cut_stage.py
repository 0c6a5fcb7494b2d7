"""The last stage, on maps made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco_masks

from wsloc.classifiers import LabelMap
from wsloc.classifiers.labelmap import MappedClass
from wsloc.config import SegmentationSettings
from wsloc.errors import ItemError
from wsloc.pipeline.cut_stage import CutStage, cut_maps
from wsloc.pipeline.map_stage import ImageMaps
from wsloc.pipeline.read_stage import ReadImage
from wsloc.pipeline.results import ImageResult, ItemResult
from wsloc.pipeline.runner import Runner
from wsloc.pipeline.stage import Failed
from wsloc.records import Failure, ImageRecord
from wsloc.registries import SEGMENTERS
from wsloc.segmentation import CutInput, Segmentation, Segmenter, agreement
from wsloc.segmentation.seeds import BACKGROUND, FOREGROUND, PROBABLE_BACKGROUND

NAN = float("nan")
LABEL_MAP = LabelMap("test", (MappedClass("cat", (0,)), MappedClass("dog", (1,)), MappedClass("cow", (), "none", "no")))


def _stage(**changes: object) -> CutStage:
    return CutStage(SegmentationSettings(**changes), "gradient", "cpu")  # type: ignore[arg-type]


def _image_maps(
    *maps: NDArray[np.float32],
    labels: tuple[str, ...] = ("cat",),
    class_names: tuple[str, ...] = ("cat",),
    size_wh: tuple[int, int] = (160, 80),
    working_rgb: NDArray[np.uint8] | None = None,
    image_id: str = "image",
) -> ImageMaps:
    """An image with a map for each of some classes; unlabeled, it is asked for just these."""
    if working_rgb is None:
        working_rgb = np.random.default_rng(0).integers(0, 256, (20, 40, 3), dtype=np.uint8)
    names = class_names[: len(maps)]
    image = ImageRecord(image_id, "a.jpg", Path("a.jpg"), labels)
    read = ReadImage(image, labels or names, size_wh, working_rgb, None)
    of_class = dict(zip(names, maps, strict=False))
    probabilities, ranks = dict(zip(names, (0.75, 0.5), strict=False)), dict(zip(names, (1, 2), strict=False))
    return ImageMaps(read, of_class, probabilities, ranks)


def _rectangle(top: int, bottom: int, left: int, right: int, value: float = 1) -> NDArray[np.float32]:
    saliency = np.zeros((20, 40), dtype=np.float32)
    saliency[top:bottom, left:right] = value
    return saliency


def _cut(stage: CutStage, image: ImageMaps | Failed) -> ImageResult:
    (result,) = cut_maps(stage, [image], Runner(), LABEL_MAP.why_unusable)
    return result


def _only(stage: CutStage, image: ImageMaps) -> ItemResult:
    (item,) = _cut(stage, image).items
    return item


def test_the_box_is_in_original_pixels() -> None:
    # The working image is a quarter of the original: rows 4 to 11 and columns 10 to 24 of it.
    item = _only(_stage(segmenter="threshold", smoothing=0), _image_maps(_rectangle(4, 12, 10, 25)))
    (found,) = item.localizations
    assert found.box_xyxy == (40.0, 16.0, 100.0, 48.0)
    assert all(type(value) is float for value in found.box_xyxy)
    assert found.area_fraction == (60 * 32) / (160 * 80)
    assert (found.image_id, found.file, found.class_name) == ("image", "a.jpg", "cat")
    assert (found.probability, found.quality, found.size_wh) == (0.75, 1.0, (160, 80))
    assert (found.method, found.segmenter, found.fallback, found.component) == ("gradient", "threshold", None, 0)
    assert item.failure is None
    assert item.trace is not None
    assert np.array_equal(item.trace.mask, _rectangle(4, 12, 10, 25) > 0)


@pytest.mark.parametrize("size_wh", [(40, 20), (41, 20), (1000, 999), (37, 19)])
def test_a_box_to_the_border_ends_at_the_border(size_wh: tuple[int, int]) -> None:
    stage = _stage(segmenter="threshold", smoothing=0)
    (found,) = _only(stage, _image_maps(_rectangle(10, 20, 20, 40), size_wh=size_wh)).localizations
    assert found.box_xyxy[2:] == size_wh
    assert found.box_xyxy[:2] == (size_wh[0] / 2, size_wh[1] / 2)


@pytest.mark.parametrize("segmenter", ["grabcut", "grabcut-plain", "grabcut-torch", "graphcut-2013"])
def test_an_object_of_one_color(segmenter: str) -> None:
    generator = np.random.default_rng(0)
    inside = _rectangle(5, 15, 8, 28) > 0
    image = np.where(inside[..., None], (200, 60, 40), (40, 80, 180)) + generator.integers(-9, 10, (20, 40, 3))
    # The map lights up the middle of the object and fades away from it.
    y, x = np.mgrid[:20, :40]
    saliency = np.exp(-np.hypot((y - 9.5) / 5, (x - 17.5) / 10)).astype(np.float32)
    attributed = _image_maps(saliency, working_rgb=image.astype(np.uint8))
    (found,) = _only(_stage(segmenter=segmenter), attributed).localizations
    assert found.box_xyxy == (32.0, 20.0, 112.0, 60.0)
    assert found.fallback is None


def test_components_in_order_of_area() -> None:
    saliency = _rectangle(0, 10, 0, 10) + _rectangle(12, 20, 30, 40) + _rectangle(0, 1, 30, 31)
    attributed = _image_maps(saliency)
    items = _only(_stage(segmenter="threshold", smoothing=0, components=3), attributed).localizations
    assert [item.component for item in items] == [0, 1]  # the third is less than 1 % of the image
    assert [item.box_xyxy for item in items] == [(0, 0, 40, 40), (120, 48, 160, 80)]


@pytest.mark.parametrize(("components", "areas"), [(1, [100]), (2, [100, 80]), ("all", [100, 80, 20, 12])])
def test_as_many_components_as_asked_for(components: object, areas: list[int]) -> None:
    saliency = _rectangle(0, 10, 0, 10) + _rectangle(12, 20, 30, 40) + _rectangle(0, 2, 20, 30)
    saliency += _rectangle(17, 20, 0, 4) + _rectangle(19, 20, 20, 27)  # the last is less than 1 % of the image
    stage = _stage(segmenter="threshold", smoothing=0, components=components)
    item = _only(stage, _image_maps(saliency))
    assert [int(coco_masks.area(record.mask_rle)) for record in item.localizations] == areas
    assert item.trace is not None
    assert item.trace.mask.sum() == sum(areas)


def test_what_other_boxes_cover_does_not_lower_the_quality() -> None:
    """Of two equal objects each has half of the map, so the cosine of the whole map with one of them is 1 / sqrt(2)."""
    saliency = _rectangle(0, 10, 0, 10) + _rectangle(10, 20, 30, 40)
    (alone,) = _only(_stage(segmenter="threshold", smoothing=0), _image_maps(saliency)).localizations
    assert alone.quality == pytest.approx(0.5**0.5)
    both = _only(_stage(segmenter="threshold", smoothing=0, components="all"), _image_maps(saliency)).localizations
    assert [record.quality for record in both] == [1, 1]
    # A map that is half as high on the second, and a third that no box has: 100, 50 * 2, and 20 pixels of 1.
    saliency = _rectangle(0, 10, 0, 10) + _rectangle(10, 20, 30, 40, 0.5) + _rectangle(0, 2, 20, 30)
    first, second = _only(_stage(segmenter="threshold", smoothing=0, components=2), _image_maps(saliency)).localizations
    assert first.quality == pytest.approx(100 / (120**0.5 * 100**0.5))
    assert second.quality == pytest.approx(50 / ((25 + 20) ** 0.5 * 100**0.5))


def test_one_component_has_the_cosine_of_the_whole_map() -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        saliency = generator.random((20, 40), dtype=np.float32)
        saliency[generator.random(saliency.shape) < 0.05] = NAN
        item = _only(_stage(segmenter="threshold", threshold=0.7), _image_maps(saliency))
        (found,), trace = item.localizations, item.trace
        assert trace is not None
        assert found.quality == agreement(trace.saliency, trace.mask)


def _nothing_found(trimap: NDArray[np.uint8]) -> Segmenter:
    return Segmenter(lambda items: [Segmentation(np.zeros(trimap.shape, dtype=bool), trimap) for _ in items])


def test_seeds_stand_in_for_an_empty_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    trimap = np.full((20, 40), PROBABLE_BACKGROUND, dtype=np.uint8)
    trimap[15:] = BACKGROUND
    trimap[2:6, 10:20] = FOREGROUND
    trimap[0, 39] = FOREGROUND
    monkeypatch.setitem(SEGMENTERS, "grabcut", lambda *_: _nothing_found(trimap))
    item = _only(_stage(components=5, component_area_fraction=0.0), _image_maps(_rectangle(2, 6, 10, 20)))
    (found,) = item.localizations
    assert found.fallback == "seeds"
    assert found.box_xyxy == (40, 8, 80, 24)


def test_neither_mask_nor_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    trimap = np.full((20, 40), PROBABLE_BACKGROUND, dtype=np.uint8)
    monkeypatch.setitem(SEGMENTERS, "grabcut", lambda *_: _nothing_found(trimap))
    failure = _only(_stage(), _image_maps(_rectangle(2, 6, 10, 20))).failure
    assert failure is not None
    assert (failure.stage, failure.class_name) == ("cut", "cat")
    assert "no foreground" in failure.reason


@pytest.mark.parametrize("segmenter", SEGMENTERS)
@pytest.mark.parametrize(
    ("saliency", "stage", "reason"),
    [
        (np.zeros((20, 40)), "saliency", "zero everywhere"),
        (np.ones((20, 40)), "saliency", "flat everywhere"),
        (np.full((20, 40), NAN), "saliency", "not finite"),
        (np.full((20, 40), np.inf), "saliency", "not finite"),
        (-_rectangle(2, 6, 10, 20), "saliency", "negative"),
    ],
)
def test_bad_maps_are_failures_with_a_reason(
    segmenter: str, saliency: NDArray[np.float64], stage: str, reason: str
) -> None:
    item = _only(_stage(segmenter=segmenter), _image_maps(saliency.astype(np.float32)))
    assert item.localizations == ()
    assert item.failure is not None
    assert (item.failure.image_id, item.failure.file, item.failure.class_name) == ("image", "a.jpg", "cat")
    assert item.failure.stage == stage
    assert reason in item.failure.reason


@pytest.mark.parametrize("segmenter", ["grabcut", "grabcut-plain", "grabcut-torch", "graphcut-2013"])
def test_too_few_seeds_are_a_failure(segmenter: str) -> None:
    # One pixel above the least value; of 800 pixels 40 would be seeds.
    stage = _stage(segmenter=segmenter, smoothing=0)
    failure = _only(stage, _image_maps(_rectangle(5, 6, 5, 6))).failure
    assert failure is not None
    assert failure.stage == "cut"
    assert "1 foreground seeds" in failure.reason


def test_an_error_of_opencv_is_a_failure() -> None:
    attributed = _image_maps(_rectangle(2, 10, 5, 20))
    wrong = np.zeros((20, 40, 3), dtype=np.float32)
    item = _only(_stage(), replace(attributed, read=replace(attributed.read, working_rgb=wrong)))
    assert item.failure is not None
    assert item.failure.stage == "cut"
    assert "\n" not in item.failure.reason


def test_one_bad_map_does_not_spoil_the_others() -> None:
    good = _rectangle(4, 12, 10, 25)
    attributed = _image_maps(
        np.zeros((20, 40), dtype=np.float32), good, labels=("dog", "cow", "cat"), class_names=("dog", "cat")
    )
    dog, cow, cat = _cut(_stage(segmenter="threshold", smoothing=0), attributed).items
    assert dog.failure is not None
    assert (dog.failure.stage, dog.failure.class_name) == ("saliency", "dog")
    assert cow.failure is not None
    assert (cow.failure.stage, cow.failure.class_name) == ("saliency", "cow")
    assert cow.failure.reason == LABEL_MAP.why_unusable("cow")
    assert cat.localizations[0].box_xyxy == (40, 16, 100, 48)
    assert cat.localizations[0].probability == 0.5  # the second map's, not the second label's


@pytest.mark.parametrize(("labels", "expected"), [(("cat", "dog"), ["cat", "dog"]), ((), [""])])
def test_an_image_that_could_not_be_read(labels: tuple[str, ...], expected: list[str]) -> None:
    image = ImageRecord("image", "a.jpg", Path("a.jpg"), labels)
    result = _cut(_stage(), Failed(image, "read", "a.jpg is no image"))
    assert result.image is image
    assert [item.failure for item in result.items] == [
        Failure("image", "a.jpg", name, "read", "a.jpg is no image") for name in expected
    ]


def test_classes_of_an_unlabeled_image_are_those_with_a_map() -> None:
    maps = _rectangle(4, 12, 10, 25), _rectangle(0, 4, 0, 8)
    result = _cut(_stage(segmenter="threshold"), _image_maps(*maps, labels=(), class_names=("dog", "cat")))
    assert [item.class_name for item in result.items] == ["dog", "cat"]
    assert [item.localizations[0].probability for item in result.items] == [0.75, 0.5]


@pytest.mark.parametrize("segmenter", SEGMENTERS)
def test_the_same_box_every_time(segmenter: str) -> None:
    saliency = np.random.default_rng(3).random((10, 10)).astype(np.float32)
    stage, attributed = _stage(segmenter=segmenter), _image_maps(saliency)
    before = saliency.copy(), attributed.read.working_rgb.copy()
    first, second = (_only(stage, attributed).localizations for _ in range(2))
    assert first == second
    assert first
    assert np.array_equal(saliency, before[0])
    assert np.array_equal(attributed.read.working_rgb, before[1])


def test_the_mask_of_a_box_is_read_back_by_pycocotools() -> None:
    saliency = _rectangle(5, 15, 10, 30)
    item = _only(_stage(segmenter="threshold", smoothing=0.0), _image_maps(saliency))
    (found,) = item.localizations
    assert (found.rank, found.size_wh) == (1, (160, 80))
    assert found.mask_rle is not None
    encoded = {**found.mask_rle, "counts": found.mask_rle["counts"].encode()}
    assert np.array_equal(coco_masks.decode(encoded).astype(bool), saliency > 0)


def _batches_of(calls: list[list[CutInput]], batch_size: int) -> Segmenter:
    """Takes all above half of the maximum, and notes what it was given."""

    def segment(items: Sequence[CutInput]) -> list[Segmentation | ItemError]:
        calls.append(list(items))
        masks = [item.saliency > 0.5 for item in items]
        return [ItemError("refused") if mask[0, 0] else Segmentation(mask, mask.astype(np.uint8)) for mask in masks]

    return Segmenter(segment, batch_size)


def test_a_segmenter_that_takes_batches_gets_pairs_of_one_size(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[CutInput]] = []
    bound: list[tuple[SegmentationSettings, torch.device]] = []

    def bind(settings: SegmentationSettings, device: torch.device) -> Segmenter:
        bound.append((settings, device))
        return _batches_of(calls, 2)

    monkeypatch.setitem(SEGMENTERS, "grabcut", bind)
    stage = _stage(smoothing=0)
    wide = np.zeros((10, 50, 3), dtype=np.uint8)
    zero = np.zeros((20, 40), dtype=np.float32)
    images = [
        _image_maps(_rectangle(4, 12, 10, 25), image_id="a"),
        _image_maps(np.eye(10, 50, 5, dtype=np.float32), working_rgb=wide, image_id="b"),
        _image_maps(_rectangle(0, 5, 0, 5), zero, labels=("cat", "dog"), class_names=("cat", "dog"), image_id="c"),
        _image_maps(_rectangle(1, 3, 2, 4), image_id="d"),
    ]
    results = list(cut_maps(stage, images, Runner(), LABEL_MAP.why_unusable))
    assert bound == [(stage.settings, torch.device("cpu"))]
    shapes = [[item.image_rgb.shape[:2] for item in call] for call in calls]
    # The zero map of the dog fills a place of its batch, but is never handed to the segmenter.
    assert sorted(shapes) == [[(10, 50)], [(20, 40)], [(20, 40), (20, 40)]]
    found = [[item.failure.reason if item.failure else item.localizations[0].box_xyxy for item in result.items]
             for result in results]  # fmt: skip
    assert [result.image.image_id for result in results] == ["a", "b", "c", "d"]
    assert found[0] == [(40, 16, 100, 48)]
    assert found[2] == ["refused", "the saliency map is zero everywhere, so it gives no seeds"]
    assert found[3] == [(8, 4, 16, 12)]


def test_an_image_that_is_asked_for_nothing_has_no_items() -> None:
    image = _image_maps(_rectangle(4, 12, 10, 25), labels=(), class_names=("cat",))
    nothing = replace(image, read=replace(image.read, class_names=()))
    assert _cut(_stage(), nothing).items == ()
