"""What holds for every method as the settings name it, and what binding one refuses."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from wsloc.classifiers import Scorer, make_scorer
from wsloc.config import SaliencySettings
from wsloc.errors import UserError
from wsloc.saliency import METHODS, Attribution, BoundMethod, MethodContext, PairBatch, bind_method
from wsloc.saliency.grad_cam import grad_cam
from wsloc.saliency.integrated_gradients import integrated_gradients
from wsloc.saliency.layers import named_layer
from wsloc.saliency.occlusion import occlusion
from wsloc.saliency.rise import rise
from wsloc.saliency.score_cam import score_cam
from wsloc.saliency.smoothgrad import smoothgrad, smoothgrad_squared

ALL = pytest.mark.parametrize("name", METHODS)
SMALL = SaliencySettings(
    smoothgrad_samples=3,
    smoothgrad_noise=0.3,
    integrated_steps=4,
    occlusion_patch=7,
    occlusion_stride=5,
    occlusion_fill="image-mean",
    rise_masks=70,
    rise_grid=3,
    rise_fraction=0.4,
    score_cam_channels=5,
)
SHARED = {
    *("cam", "grad-cam", "grad-cam++", "layer-cam", "xgrad-cam", "hires-cam", "score-cam", "occlusion", "rise")
}  # fmt: skip
CHANGING = {"rise", "score-cam", "occlusion", "smoothgrad", "smoothgrad-squared", "integrated-gradients"}
"""Of a changed image another output of the class may be the largest."""
EXAMPLE = torch.randn(1, 3, 16, 20, generator=torch.Generator().manual_seed(9))


def _network() -> nn.Sequential:
    torch.manual_seed(5)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 12, 3), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 4),
    )  # fmt: skip


def _each(network: nn.Module, count: int = 4) -> Scorer:
    return make_scorer(network, [[output] for output in range(count)])


def _settings(name: str, **changes: object) -> SaliencySettings:
    return SaliencySettings(**{**SMALL.__dict__, "method": name, **changes})


def _bind(name: str, network: nn.Module | None = None, seed: int = 0, **changes: object) -> BoundMethod:
    return bind_method(MethodContext(_each(network or _network()), EXAMPLE, _settings(name, **changes), seed))


def _images(count: int = 3) -> Tensor:
    return torch.randn(count, 3, 16, 20, generator=torch.Generator().manual_seed(1))


def _pairs(images: Tensor, image_index: list[int], classes: list[int]) -> PairBatch:
    """With a seed that the pair's class and the image's first value decide, as the pipeline's do not change either."""
    seeds = tuple(int(1000 * images[i, 0, 0, 0].abs()) + k for i, k in zip(image_index, classes, strict=True))
    return PairBatch(images, torch.tensor(image_index), torch.tensor(classes), seeds)


def _rows(network: nn.Module) -> list[int]:
    """The number of images in each forward pass from now on."""
    rows: list[int] = []
    network.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    return rows


def test_every_name_has_a_binder() -> None:
    assert len(METHODS) == 19
    assert all(callable(METHODS[name]) for name in METHODS)
    assert SaliencySettings().method in METHODS


@ALL
def test_a_map_has_the_shape_of_the_images(name: str) -> None:
    answer = _bind(name).compute(_pairs(_images(), [2, 0, 2, 1], [0, 1, 3, 2]))
    assert answer.maps.shape == (4, 16, 20)
    assert answer.logits.shape == (3, 4)
    assert answer.maps.dtype == answer.logits.dtype == torch.float32
    assert answer.maps.isfinite().all()
    assert answer.maps.min() >= 0
    assert (answer.maps.amax(dim=(1, 2)) > 0).any()
    assert not answer.maps.requires_grad
    assert not answer.logits.requires_grad


@ALL
def test_the_logits_are_those_of_the_images(name: str) -> None:
    network = _network()
    answer = _bind(name, network).compute(_pairs(_images(), [2, 0], [0, 1]))
    assert torch.allclose(answer.logits, network(_images()), atol=1e-5)


@ALL
def test_pairs_of_a_batch_are_what_they_are_alone(name: str) -> None:
    """Mixed classes; three of image 2, one of them twice; none of image 1; in no order."""
    bound, images = _bind(name), _images(4)
    image_index, classes = [2, 0, 3, 2, 2, 0], [3, 1, 1, 0, 3, 2]
    together = bound.compute(_pairs(images, image_index, classes)).maps
    peak = float(together.max())
    for row, image, of_class in zip(together, image_index, classes, strict=True):
        alone = bound.compute(_pairs(images[image : image + 1], [0], [of_class])).maps[0]
        assert torch.allclose(row, alone, rtol=0, atol=1e-5 * float(alone.max() or peak))
    assert torch.equal(together[0], together[4])


@ALL
def test_companions_leave_the_bytes_alone(name: str) -> None:
    """At one batch size: other images, other classes, another place in the batch."""
    bound, images, others = _bind(name), _images(4), 3 * _images(8)[4:]
    images[3].zero_()
    others[3] = images[0]
    first = bound.compute(_pairs(images, [1, 0, 2, 0], [0, 1, 3, 2])).maps
    last = bound.compute(_pairs(others, [0, 0, 3, 1, 3], [2, 3, 2, 2, 1])).maps
    assert torch.equal(first[1], last[4])
    assert torch.equal(first[3], last[2])


@ALL
def test_the_forward_passes_of_one_image_are_those_that_it_says(name: str) -> None:
    network = _network()
    bound = _bind(name, network)
    rows = _rows(network)
    bound.compute(_pairs(_images(1), [0], [2]))
    assert sum(rows) == bound.forward_passes
    assert set(rows) == {1}


@pytest.mark.parametrize(
    ("name", "passes"),
    [
        ("gradient", 1),
        ("guided", 1),
        ("smoothgrad", 3 + 1),
        ("integrated-gradients", 4 + 1),
        ("grad-cam", 1),
        ("guided-grad-cam", 2),
        ("score-cam", 5 + 1),
        # Tops 0, 5, 10 and lefts 0, 5, 10, 15 of 16 x 20 pixels.
        ("occlusion", 3 * 4 + 1),
        ("rise", 70 + 1),
    ],
)
def test_the_number_of_passes_by_hand(name: str, passes: int) -> None:
    assert _bind(name).forward_passes == passes


def test_score_cam_takes_no_more_channels_than_there_are() -> None:
    assert _bind("score-cam", score_cam_channels=None).forward_passes == 12 + 1
    assert _bind("score-cam", score_cam_channels=500).forward_passes == 12 + 1
    assert _bind("score-cam", score_cam_channels=500, cam_layers=("0",)).forward_passes == 8 + 1


@ALL
def test_classes_of_one_image_cost_nothing_more_where_passes_are_shared(name: str) -> None:
    network = _network()
    bound = _bind(name, network)
    assert bound.shares_passes == (name in SHARED)
    rows = _rows(network)
    bound.compute(_pairs(_images(1), [0, 0, 0], [2, 0, 3]))
    if bound.shares_passes:
        assert sum(rows) == bound.forward_passes


def _direct(function: Callable[..., Attribution], **arguments: object) -> Callable[[Scorer, PairBatch], Attribution]:
    return lambda scorer, batch: function(scorer, batch, **arguments)


@pytest.mark.parametrize(
    ("name", "direct"),
    [
        ("smoothgrad", _direct(smoothgrad, samples=3, noise=0.3)),
        ("smoothgrad-squared", _direct(smoothgrad_squared, samples=3, noise=0.3)),
        ("integrated-gradients", _direct(integrated_gradients, steps=4)),
        ("occlusion", _direct(occlusion, patch=7, stride=5, fill="image-mean")),
        ("rise", _direct(rise, masks=70, grid=3, fraction=0.4, seed=6)),
        ("score-cam", _direct(score_cam, channels=5)),
        ("grad-cam", _direct(grad_cam)),
    ],
)
def test_the_settings_reach_the_method(name: str, direct: Callable[[Scorer, PairBatch], Attribution]) -> None:
    network = _network()
    batch = _pairs(_images(), [1, 0, 1], [2, 0, 3])
    assert torch.equal(_bind(name, network, seed=6).compute(batch).maps, direct(_each(network), batch).maps)


@pytest.mark.parametrize("name", ["grad-cam", "grad-cam++", "layer-cam", "xgrad-cam", "hires-cam", "score-cam"])
def test_the_layers_reach_the_method(name: str) -> None:
    network, batch = _network(), _pairs(_images(), [1, 0, 1], [2, 0, 3])
    found = _bind(name, network, cam_layers=("1",)).compute(batch).maps
    assert (found - _bind(name, network).compute(batch).maps).abs().max() > 0.01 * found.max()
    if name == "grad-cam":
        scorer = _each(network)
        assert torch.equal(found, grad_cam(scorer, batch, layers=[named_layer(scorer, "1")]).maps)


def _no_pooling() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 14 * 18, 4))


def _smooth() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4))


def _no_layer() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(960, 4))


@pytest.mark.parametrize(
    ("name", "make", "changes", "sentence"),
    [
        ("cam", _no_pooling, {}, "CAM needs a network that ends in global average pooling"),
        ("cam", _network, {"cam_layers": ("1",)}, "leave out `cam_layers`"),
        ("score-cam", _network, {"cam_layers": ("1", "3")}, "Score-CAM reads one layer"),
        ("grad-cam", _network, {"cam_layers": ("9",)}, "The network has no layer '9'"),
        ("grad-cam", _no_layer, {}, "The network has no pooling, attention or convolution"),
        ("layer-cam", _network, {"cam_layers": ("6",)}, "have no place in an image of 20 x 16"),
        ("guided", _smooth, {}, "rules for ReLU and ReLU6, but this network also runs Silu"),
        ("deconvnet", _smooth, {}, "rules for ReLU and ReLU6, but this network also runs Silu"),
        ("guided-grad-cam", _smooth, {}, "rules for ReLU and ReLU6, but this network also runs Silu"),
        ("gradient", _no_pooling, {"second_method": "cam"}, "CAM needs a network"),
    ],
)
def test_a_refusal_comes_before_the_first_image(
    name: str, make: Callable[[], nn.Module], changes: dict[str, object], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence) as raised:
        _bind(name, make(), **changes)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", [name for name in METHODS if name not in CHANGING])
def test_a_class_of_several_outputs_is_the_largest_of_them(name: str) -> None:
    network, images = _network(), _images()
    scorer = make_scorer(network, [[0, 1, 2, 3], [0], [1], [2], [3]])
    bound = bind_method(MethodContext(scorer, EXAMPLE, _settings(name)))
    best = network(images).argmax(dim=1)
    first = torch.arange(3)
    found = bound.compute(PairBatch(images, first, torch.zeros(3, dtype=torch.int64))).maps
    assert torch.allclose(found, bound.compute(PairBatch(images, first, 1 + best)).maps, rtol=1e-5, atol=1e-7)
    assert not torch.allclose(found, bound.compute(PairBatch(images, first, 1 + (best + 1) % 4)).maps)
