"""Features of named layers come with the maps, from the same forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from wsloc.cli.options import parse_localize
from wsloc.datasets import Dataset, asked_classes, open_dataset
from wsloc.errors import UserError
from wsloc.pipeline import Localizer, Runner, make_localizer
from wsloc.pipeline.features import watched_features
from wsloc.pipeline.map_stage import ImageMaps
from wsloc.pipeline.read_stage import ReadImage
from wsloc.registries import METHODS

FAST = (
    "--smoothgrad-samples 2 --integrated-steps 3 --occlusion-patch 12 --occlusion-stride 10 --rise-masks 9 "
    "--score-cam-channels 4 --limit 5"
).split()
LAYERS = ("body.1", "body.3")


def opened(flags: Sequence[str], layers: Sequence[str] = LAYERS) -> tuple[Dataset, Localizer]:
    config = parse_localize(flags)
    dataset = open_dataset(config.data)
    return dataset, make_localizer(config, asked_classes(config.data, dataset)).with_layers(layers)


def computed(localizer: Localizer, dataset: Dataset) -> list[ImageMaps]:
    found = [one for one in localizer.compute_maps(dataset.images, Runner()) if isinstance(one, ImageMaps)]
    assert len(found) == len(dataset.images)
    return found


def plain_features(localizer: Localizer, image: ReadImage, layer: str) -> list[NDArray[np.float32]]:
    """What a hook of our own sees for each view."""
    network, kept = localizer.model.scorer.network, []
    hook = network.get_submodule(layer).register_forward_hook(
        lambda _m, _i, output: kept.append(output.detach().clone())
    )
    assert image.views is not None
    with torch.no_grad():
        for view in image.views.views:
            network(view.pixels[None])
    hook.remove()
    return [of_view[0].numpy() for of_view in kept]


@pytest.mark.parametrize("method", METHODS)
def test_they_equal_what_a_plain_hook_sees(tiny_flags: list[str], method: str) -> None:
    dataset, localizer = opened([*tiny_flags, *FAST, "--method", method])
    for image in computed(localizer, dataset):
        assert list(image.features) == list(LAYERS)
        for layer, found in image.features.items():
            (expected,) = plain_features(localizer, image.read, layer)
            assert (found.dtype, found.shape) == (np.float16, expected.shape)
            np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-4)


def test_mirrored_views_are_turned_back_and_averaged(tiny_flags: list[str]) -> None:
    dataset, localizer = opened([*tiny_flags, *FAST, "--views", "mirror"])
    for image in computed(localizer, dataset):
        for layer, found in image.features.items():
            straight, mirrored = plain_features(localizer, image.read, layer)
            expected = (straight + mirrored[..., ::-1]) / 2
            np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-4)


def test_views_of_another_scale_are_left_out(tiny_flags: list[str]) -> None:
    dataset, localizer = opened([*tiny_flags, *FAST, "--views", "multi-scale"])
    _, whole = opened([*tiny_flags, *FAST, "--views", "whole"])
    for ours, theirs in zip(computed(localizer, dataset), computed(whole, dataset), strict=True):
        for layer in LAYERS:
            assert ours.features[layer].shape == theirs.features[layer].shape
            assert np.isfinite(ours.features[layer]).all()


def test_crops_show_no_whole_image(tiny_flags: list[str]) -> None:
    dataset, localizer = opened([*tiny_flags, *FAST, "--views", "ten-crop"])
    with pytest.raises(UserError, match="no view shows it; choose other `views` than ten-crop"):
        computed(localizer, dataset)


@pytest.mark.parametrize("flags", [[], ["--targets", "top2"], ["--method", "occlusion"], ["--method", "grad-cam"]])
def test_they_cost_no_pass_and_change_no_map(tiny: Path, tiny_flags: list[str], flags: list[str]) -> None:
    passes, maps = [], []
    for layers in ((), LAYERS):
        dataset, localizer = opened([*tiny_flags, *FAST, *flags], layers)
        (tiny / "forward-passes.txt").unlink()
        found = computed(localizer, dataset)
        passes.append(len((tiny / "forward-passes.txt").read_text()))
        maps.append({(one.read.image.image_id, name): one.maps[name] for one in found for name in one.maps})
        assert all(len(one.features) == len(layers) for one in found)
    assert passes[0] == passes[1]
    assert maps[0].keys() == maps[1].keys()
    assert all(np.array_equal(maps[0][item], maps[1][item]) for item in maps[0])


def test_companions_change_no_feature(tiny_flags: list[str]) -> None:
    dataset, localizer = opened([*tiny_flags, *FAST, "--resize", "short-side"])
    for alone, beside in zip(dataset.images, computed(localizer, dataset), strict=True):
        (one,) = localizer.compute_maps([alone], Runner())
        assert isinstance(one, ImageMaps)
        assert all(np.array_equal(one.features[layer], beside.features[layer]) for layer in LAYERS)


def test_no_hook_is_left_behind(tiny_flags: list[str]) -> None:
    dataset, localizer = opened([*tiny_flags, *FAST])
    computed(localizer, dataset)
    for module in localizer.model.scorer.network.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks


@pytest.mark.parametrize(
    ("layer", "sentence"), [("body.99", "body.99"), ("body.7", "have no place in an image of 32 x 32 pixels")]
)
def test_a_layer_that_gives_no_grid_is_a_sentence(tiny_flags: list[str], layer: str, sentence: str) -> None:
    dataset, localizer = opened([*tiny_flags, *FAST], [layer])
    with pytest.raises(UserError, match=sentence) as told:
        computed(localizer, dataset)
    assert "\n" not in str(told.value)


def test_passes_of_other_images_are_not_looked_at() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 1), torch.nn.ReLU())
    images = torch.rand((2, 3, 4, 4), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = network[0](images).clone()
        with watched_features(network, images, ["0"]) as found:
            network(images)
            network(images + 1)
            network(images[:1])
        assert torch.equal(found()["0"], expected)
        with watched_features(network, images, ["0"]) as found:
            network(images + 1)
            with pytest.raises(UserError, match="The layer 0 gives no tensor"):
                found()
