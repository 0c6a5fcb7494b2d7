from functools import partial

import pytest
import torch
from torch import Tensor, nn

from wsloc.classifiers import Scorer, make_scorer
from wsloc.config import SaliencySettings
from wsloc.saliency import Attribution, BoundMethod, MethodContext, PairBatch, bind_method
from wsloc.saliency.combination import combined, guided_grad_cam
from wsloc.saliency.grad_cam import grad_cam
from wsloc.saliency.gradient import gradient
from wsloc.saliency.relu_rules import guided

FIRST = torch.tensor([[[1.0, 2.0], [0.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]], [[5.0, 0.0], [0.0, 0.0]]])
SECOND = torch.tensor([[[10.0, 0.0], [5.0, 5.0]], [[1.0, 2.0], [3.0, 4.0]], [[3e-9, 0.0], [0.0, 1e-9]]])
PAIRS = PairBatch(torch.zeros(1, 3, 2, 2), torch.zeros(3, dtype=torch.int64), torch.arange(3))


def _given(maps: Tensor, logit: float, passes: int = 1, shares: bool = True) -> BoundMethod:
    """A method that gives these maps, whatever it is asked."""
    return BoundMethod(lambda _: Attribution(maps, torch.tensor([[logit]])), passes, shares)


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("product", [[10, 0, 0, 20], [0, 0, 0, 0], [15e-9, 0, 0, 0]]),
        # Over their maxima: 1/4 1/2 0 1 and 1 0 1/2 1/2; zeros and 1/4 1/2 3/4 1; 1 0 0 0 and 1 0 0 1/3.
        ("mean", [[0.625, 0.25, 0.25, 0.75], [0.125, 0.25, 0.375, 0.5], [1, 0, 0, 1 / 6]]),
    ],
)
def test_two_maps_by_hand(by: str, expected: list[list[float]]) -> None:
    before = FIRST.clone(), SECOND.clone()
    answer = combined(_given(FIRST, 1), _given(SECOND, 2), by).compute(PAIRS)  # type: ignore[arg-type]
    assert torch.allclose(answer.maps.flatten(start_dim=1), torch.tensor(expected), atol=0)
    assert answer.maps.dtype == torch.float32
    assert answer.logits.tolist() == [[1]]
    assert torch.equal(FIRST, before[0])
    assert torch.equal(SECOND, before[1])


@pytest.mark.parametrize(("by", "scale"), [("product", 2), ("mean", 1)])
def test_the_scale_of_either_map_does_not_change_the_ratios(by: str, scale: float) -> None:
    plain = combined(_given(FIRST, 0), _given(SECOND, 0), by).compute(PAIRS).maps  # type: ignore[arg-type]
    scaled = combined(_given(1024 * FIRST, 0), _given(SECOND / 512, 0), by).compute(PAIRS).maps  # type: ignore[arg-type]
    assert torch.equal(scale * plain, scaled)


def test_a_map_that_is_not_finite_stays_so() -> None:
    broken = SECOND.clone()
    broken[0, 0, 1] = torch.nan
    for by in ("product", "mean"):
        maps = combined(_given(FIRST, 0), _given(broken, 0), by).compute(PAIRS).maps  # type: ignore[arg-type]
        assert not maps[0].isfinite().all()
        assert maps[1:].isfinite().all()


@pytest.mark.parametrize(
    ("first", "second", "passes", "shares"),
    [((1, True), (5, True), 6, True), ((3, True), (2, False), 5, False), ((1, False), (1, True), 2, False)],
)
def test_what_it_costs(first: tuple[int, bool], second: tuple[int, bool], passes: int, shares: bool) -> None:
    bound = combined(_given(FIRST, 0, *first), _given(SECOND, 0, *second), "mean")
    assert (bound.forward_passes, bound.shares_passes) == (passes, shares)


def _scorer() -> Scorer:
    torch.manual_seed(2)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 12, 3), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 4),
    )  # fmt: skip
    return make_scorer(network, [[output] for output in range(4)])


def _batch() -> PairBatch:
    images = torch.randn(3, 3, 16, 20, generator=torch.Generator().manual_seed(1))
    return PairBatch(images, torch.tensor([2, 0, 2, 1]), torch.tensor([0, 1, 3, 2]))


@pytest.mark.parametrize("by", ["product", "mean"])
def test_two_methods_that_the_settings_name(by: str) -> None:
    scorer, batch = _scorer(), _batch()
    settings = SaliencySettings(method="grad-cam", second_method="gradient", combine=by)  # type: ignore[arg-type]
    bound = bind_method(MethodContext(scorer, batch.images[:1], settings))
    fine, coarse = gradient(scorer, batch), grad_cam(scorer, batch)
    found = bound.compute(batch)
    for ours, one, other in zip(found.maps, fine.maps, coarse.maps, strict=True):
        expected = one * other if by == "product" else (one / one.max() + other / other.max()) / 2
        assert expected.max() > 0
        assert torch.allclose(ours, expected, atol=1e-6 * float(expected.max()))
    assert torch.allclose(found.logits, fine.logits, atol=1e-6)
    assert (bound.forward_passes, bound.shares_passes) == (2, False)


def test_guided_grad_cam_is_the_product_of_the_two() -> None:
    scorer, batch = _scorer(), _batch()
    answer = guided_grad_cam(scorer, batch)
    fine, coarse = guided(scorer, batch), grad_cam(scorer, batch)
    assert (fine.maps * coarse.maps).amax(dim=(1, 2)).min() > 0
    assert torch.allclose(answer.maps, fine.maps * coarse.maps)
    assert torch.allclose(answer.logits, fine.logits)


def test_guided_grad_cam_has_the_order_and_ratios_of_the_product_of_its_parts() -> None:
    scorer, batch = _scorer(), _batch()
    parts = combined(BoundMethod(partial(guided, scorer)), BoundMethod(partial(grad_cam, scorer)), "product")
    for ours, theirs in zip(guided_grad_cam(scorer, batch).maps, parts.compute(batch).maps, strict=True):
        assert torch.allclose(ours / ours.max(), theirs / theirs.max(), atol=1e-6)
