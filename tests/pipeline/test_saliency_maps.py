"""The middle stage: images that need nothing pass at once, and what the network makes of them is not hidden."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from wsloc.classifiers import Scorer
from wsloc.cli.options import parse_localize
from wsloc.datasets import open_dataset
from wsloc.pipeline import Localizer, localize, make_localizer
from wsloc.pipeline.reading import PreparedImage, prepare
from wsloc.pipeline.saliency_maps import compute_maps
from wsloc.saliency import Attribution
from wsloc.saliency.gradient import occurrence


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


def test_a_nan_of_the_network_is_a_failure_not_an_uncovered_pixel(tiny_flags: list[str]) -> None:
    localizer, _ = opened(tiny_flags)
    images = open_dataset(parse_localize(tiny_flags).data).images[:3]

    def nan_above(scorer: Scorer, batch: Tensor, image_index: Tensor, classes: Tensor) -> Attribution:
        attribution = localizer.method(scorer, batch, image_index, classes)
        attribution.maps[:, :9] = torch.nan
        return attribution

    results = list(localize(replace(localizer, method=nan_above), images))
    reasons = {item.failure.reason for result in results for item in result.items if item.failure}
    assert reasons == {"the saliency map is not finite"}
    assert not any(item.localizations for result in results for item in result.items)


def test_occurrences_of_an_image_by_hand() -> None:
    index = torch.tensor([3, 0, 3, 3, 1, 0])
    assert occurrence(index).tolist() == [0, 0, 1, 2, 0, 1]
    assert occurrence(index[:0]).tolist() == []
