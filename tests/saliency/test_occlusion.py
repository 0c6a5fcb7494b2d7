import itertools

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from wsloc.classifiers import Scorer, make_scorer
from wsloc.saliency import PairBatch
from wsloc.saliency.occlusion import occlusion, patch_windows
from wsloc.saliency.perturbation import scores_of_versions


class Recorded(nn.Module):
    """Keeps the images of every forward pass."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(images.clone())
        return self.network(images)


def _weighted(*weights: Tensor) -> nn.Sequential:
    """Output k is the sum of all values of the image, each weighted by weights k."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(weights[0].numel(), len(weights)))
    with torch.no_grad():
        network[1].weight.copy_(torch.stack([of_output.flatten() for of_output in weights]))
        network[1].bias.fill_(5)
    return network


def _each(network: nn.Module, count: int) -> Scorer:
    return make_scorer(network, [[output] for output in range(count)])


def _pairs(images: Tensor, image_index: list[int], classes: list[int]) -> PairBatch:
    return PairBatch(images, torch.tensor(image_index, dtype=torch.int64), torch.tensor(classes, dtype=torch.int64))


IMAGE = torch.tensor([[[[1.0, 2.0, 0.0], [3.0, -1.0, 4.0], [2.0, 0.0, 1.0]]]])
WEIGHTS = torch.tensor([[[1.0, 1.0, 2.0], [1.0, 3.0, 1.0], [-1.0, 1.0, 5.0]]])
# Weight x value:  1   2  0
#                  3  -3  4
#                 -2   0  5


@pytest.mark.parametrize(
    ("patch", "stride", "expected"),
    [
        # Each pixel alone; where the score rises, nothing.
        (1, 1, [[1, 2, 0], [3, 0, 4], [0, 0, 5]]),
        # Falls of the four patches: 1 + 2 + 3 - 3 = 3, 2 + 0 - 3 + 4 = 3, 3 - 3 - 2 + 0 = -2, -3 + 4 + 0 + 5 = 6.
        (2, 1, [[3, 3, 3], [0.5, 2.5, 4.5], [0, 2, 6]]),
        # The last patches are cut off: 3, 0 + 4 = 4, -2 + 0 = -2, 5.
        (2, 2, [[3, 3, 4], [3, 3, 4], [0, 0, 5]]),
        # One patch over everything: 10.
        (3, 2, [[10] * 3] * 3),
        (4, 1, [[10] * 3] * 3),
    ],
)
def test_a_weighted_sum_by_hand(patch: int, stride: int, expected: list[list[float]]) -> None:
    scorer = _each(_weighted(WEIGHTS), 1)
    found = occlusion(scorer, _pairs(IMAGE, [0], [0]), patch=patch, stride=stride)
    assert found.maps[0].tolist() == pytest.approx(torch.tensor(expected), abs=1e-5)
    assert found.logits.tolist() == [[15]]
    assert found.maps.dtype == torch.float32
    assert not found.maps.requires_grad


def _two_colors() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn((2, 3, 12, 15), generator=generator) + torch.tensor([1.0, -2.0])[:, None, None, None]


@pytest.mark.parametrize("fill", ["data-mean", "image-mean", "blur"])
def test_what_hides_a_patch(fill: str) -> None:
    """With a patch of one network input, fall by fall, against means and OpenCV's Gaussian."""
    images, patch = _two_colors(), 5
    weights = torch.randn((3, 12, 15), generator=torch.Generator().manual_seed(1))
    found = occlusion(_each(_weighted(weights), 1), _pairs(images, [0, 1], [0, 0]), patch=patch, stride=5, fill=fill)
    for image, of_image in zip(images, found.maps, strict=True):
        if fill == "data-mean":
            hidden = torch.zeros_like(image)
        elif fill == "image-mean":
            hidden = torch.tensor([float(channel.mean()) for channel in image])[:, None, None].expand(3, 12, 15)
        else:
            channels = [
                cv2.GaussianBlur(channel.numpy(), (9, 9), 5 / 4, borderType=cv2.BORDER_REPLICATE) for channel in image
            ]
            hidden = torch.from_numpy(np.stack(channels))
        falls = (weights * (image - hidden)).sum(dim=0)
        expected = torch.zeros(12, 15)
        for top, left in itertools.product(range(0, 12, 5), range(0, 15, 5)):
            own = (slice(top, top + 5), slice(left, left + 5))
            expected[own] = falls[own].sum().clamp(min=0)
        assert expected.max() > 0
        assert torch.allclose(of_image, expected, atol=2e-4)


@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    patch=st.integers(1, 90),
    stride=st.floats(0, 1, exclude_min=True),
)
def test_patches_cover_every_pixel_of_any_size(height: int, width: int, patch: int, stride: float) -> None:
    step = max(1, round(stride * patch))
    windows = patch_windows((height, width), patch, step)
    covered = np.zeros((height, width), dtype=int)
    for window in windows:
        inside = covered[window]
        # None is empty, and none is larger than the patch.
        assert 1 <= inside.shape[0] <= patch
        assert 1 <= inside.shape[1] <= patch
        covered[window] += 1
        assert all(part.start % step == 0 for part in window)
    assert covered.min() >= 1
    assert len({(rows.start, columns.start) for rows, columns in windows}) == len(windows)
    # Not one more than is needed.
    rows, columns = (-(-max(side - patch, 0) // step) + 1 for side in (height, width))
    assert len(windows) == rows * columns


def test_pairs_of_a_batch_are_what_they_are_alone_and_share_their_passes() -> None:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 4)).eval()
    network, images = Recorded(body), torch.randn(3, 3, 10, 13)
    image_index, classes = [2, 0, 2, 2], [3, 1, 1, 0]
    together = occlusion(_each(network, 4), _pairs(images, image_index, classes), patch=4, stride=3).maps
    # 3 x 4 windows of each of the two images that are asked for, in full batches of 3, and the clean pass.
    assert [len(seen) for seen in network.seen] == [3] * (2 * 12 // 3 + 1)
    for row, image, of_class in zip(together, image_index, classes, strict=True):
        alone = occlusion(_each(body, 4), _pairs(images[image : image + 1], [0], [of_class]), patch=4, stride=3).maps[0]
        assert alone.max() > 0
        assert torch.allclose(row, alone, rtol=0, atol=1e-5 * float(alone.max()))


def test_the_images_are_not_changed() -> None:
    images = _two_colors()
    before = images.clone()
    occlusion(_each(_weighted(torch.ones(3, 12, 15)), 1), _pairs(images, [0, 1], [0, 0]), patch=5, stride=5)
    assert torch.equal(images, before)


def test_no_pairs() -> None:
    answer = occlusion(_each(_weighted(WEIGHTS), 1), _pairs(IMAGE, [], []), patch=2, stride=2)
    assert answer.maps.shape == (0, 3, 3)
    assert answer.logits.shape == (1, 1)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_scores_of_versions_by_hand(count: int) -> None:
    """Image i in version v has the values 100 i + v; classes 0, 1 and 2 are that, twice and minus that."""
    network = Recorded(_weighted(torch.ones(1, 1, 1), torch.full((1, 1, 1), 2.0), -torch.ones(1, 1, 1)))
    network.network[1].bias.data.zero_()
    batch = _pairs(torch.zeros(count, 1, 1, 1), *[[count - 1, 0, count - 1, 0], [2, 0, 0, 0]])

    def change(images: Tensor, versions: Tensor) -> Tensor:
        return (100.0 * images + versions)[:, None, None, None]

    scorer = _each(network, 3)
    found = scores_of_versions(scorer, batch, 5, change, scorer.pair_scores)
    last = 100 * (count - 1)
    expected = [[-last - v for v in range(5)], list(range(5)), [last + v for v in range(5)], list(range(5))]
    assert found.tolist() == expected
    # The images between the first and the last are never looked at, and every batch is full.
    assert {len(seen) for seen in network.seen} == {count}
    values = {int(value) for seen in network.seen for value in seen.flatten()}
    assert values == {*range(5), *range(last, last + 5)}
    assert len(network.seen) == -(-5 * len({0, count - 1}) // count)


def test_scores_of_no_pairs() -> None:
    network = Recorded(_weighted(WEIGHTS))
    scorer = _each(network, 1)
    found = scores_of_versions(scorer, _pairs(IMAGE, [], []), 4, lambda i, _: IMAGE[i], scorer.pair_scores)
    assert found.shape == (0, 4)
    assert network.seen == []
