import pytest
import torch
from torch import Tensor, nn

from wsloc.classifiers import Scorer, make_scorer
from wsloc.saliency import Attribution, PairBatch
from wsloc.saliency.gradient import gradient, gradient_positive, gradient_squared, gradient_x_input, input_gradients
from wsloc.saliency.pair_gradients import occurrence, pair_gradients

GRADIENTS = {
    "gradient": gradient,
    "gradient-positive": gradient_positive,
    "gradient-squared": gradient_squared,
    "gradient-x-input": gradient_x_input,
}
ALL = pytest.mark.parametrize("name", GRADIENTS)


def _hand_network() -> nn.Sequential:
    """Two channels, a 1 x 1 convolution to two, ReLU, two outputs, for images of 2 x 2 pixels."""
    network = nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2, bias=False))
    with torch.no_grad():
        # h0 = x0 - 2 x1, h1 = -x0 + x1 + 1
        network[0].weight.copy_(torch.tensor([[1.0, -2.0], [-1.0, 1.0]]).reshape(2, 2, 1, 1))
        network[0].bias.copy_(torch.tensor([0.0, 1.0]))
        network[3].weight[0] = torch.tensor([[[1.0, 2.0], [-3.0, 4.0]], [[5.0, -6.0], [7.0, 0.5]]]).flatten()
        network[3].weight[1] = torch.tensor([[[1.0, 1.0], [1.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]]).flatten()
    return network


HAND_IMAGE = torch.tensor([[[1.0, 2.0], [3.0, -1.0]], [[1.0, 0.0], [-1.0, 2.0]]])
# h0 = -1  2   h1 =  1 -1   so that ReLU lets through h1 h0
#       5 -5        -3  4                             h0 h1
#
# Output 0 weighs what gets through by   5  2   which gives  w0 = -5    2     w1 = 5   -4
#                                       -3  0.5                   -3   -0.5        6    0.5
# and has the value 1 * 5 + 2 * 2 - 5 * 3 + 4 * 0.5 = -4.
# Output 1 weighs h0 by 1, h1 by 0:      0  1   which gives  w0 =  0    1     w1 = 0   -2
#                                        1  0                      1    0         -2    0
# and has the value 2 + 5 = 7.
HAND_MAPS = {
    "gradient": ([[5, 4], [6, 0.5]], [[0, 2], [2, 0]]),
    "gradient-positive": ([[5, 2], [6, 0.5]], [[0, 1], [1, 0]]),
    "gradient-squared": ([[50, 20], [45, 0.5]], [[0, 5], [5, 0]]),
    # w0 x0 + w1 x1:  -5 + 5 = 0    4 + 0 = 4          0          2 + 0 = 2
    #                 -9 - 6 = -15  0.5 + 1 = 1.5      3 + 2 = 5  0
    "gradient-x-input": ([[0, 4], [15, 1.5]], [[0, 2], [5, 0]]),
}


def _small_network(inplace: bool = False, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 12, 3, padding=1),
        nn.ReLU(inplace),
        nn.Dropout(0.5),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(12, 6),
    )


def _images(count: int = 4, seed: int = 1) -> Tensor:
    return torch.randn(count, 3, 16, 20, generator=torch.Generator().manual_seed(seed))


def _each(network: nn.Module, count: int = 6) -> Scorer:
    return make_scorer(network, [[output] for output in range(count)])


def _pairs(images: Tensor, image_index: list[int], classes: list[int]) -> PairBatch:
    index, of_class = torch.tensor(image_index, dtype=torch.int64), torch.tensor(classes, dtype=torch.int64)
    return PairBatch(images, index, of_class)


def _answer(name: str, scorer: Scorer, images: Tensor, image_index: list[int], classes: list[int]) -> Attribution:
    return GRADIENTS[name](scorer, _pairs(images, image_index, classes))


def _maps(name: str, scorer: Scorer, images: Tensor, image_index: list[int], classes: list[int]) -> Tensor:
    return _answer(name, scorer, images, image_index, classes).maps


def test_which_pair_of_its_image_each_one_is() -> None:
    # Pairs that share a number share a backward pass, so that the numbers begin at 0 and leave none out.
    assert occurrence(torch.tensor([3, 0, 3, 1, 3, 0])).tolist() == [0, 0, 1, 0, 2, 1]
    assert occurrence(torch.zeros(0, dtype=torch.int64)).tolist() == []


def test_the_signed_gradients_by_hand() -> None:
    scorer = make_scorer(_hand_network(), [[0], [1]])
    gradients, logits = input_gradients(scorer, _pairs(HAND_IMAGE[None], [0, 0], [0, 1]))
    assert gradients.tolist() == [[[[-5, 2], [-3, -0.5]], [[5, -4], [6, 0.5]]], [[[0, 1], [1, 0]], [[0, -2], [-2, 0]]]]
    assert logits.tolist() == [[-4, 7]]


def test_gradients_with_respect_to_several_tensors_a_pass_at_a_time() -> None:
    a, b = torch.tensor([[1.0], [2.0]], requires_grad=True), torch.tensor([[3.0], [4.0]], requires_grad=True)
    index = torch.tensor([1, 0, 1])
    # a b of image 1, a of image 0, b^2 of image 1: the first two share a pass, the third has one of its own.
    scores = torch.stack([a[1, 0] * b[1, 0], a[0, 0] + 0 * b[0, 0], b[1, 0] ** 2 + 0 * a[1, 0]])
    passes = list(pair_gradients(scores, [a, b], index))
    assert [(pairs.tolist(), [g.tolist() for g in gradients]) for pairs, gradients in passes] == [
        ([0, 1], [[[4], [1]], [[2], [0]]]),
        ([2], [[[0]], [[8]]]),
    ]
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(scores[0], a)


@ALL
def test_by_hand(name: str) -> None:
    scorer = make_scorer(_hand_network(), [[0], [1]])
    answer = _answer(name, scorer, HAND_IMAGE[None], [0, 0], [0, 1])
    assert answer.maps.tolist() == [*HAND_MAPS[name]]
    assert answer.logits.tolist() == [[-4, 7]]
    assert answer.maps.dtype == answer.logits.dtype == torch.float32
    assert not answer.maps.requires_grad
    assert not answer.logits.requires_grad


@ALL
def test_a_class_of_several_outputs_is_the_largest_of_them(name: str) -> None:
    network = _hand_network()
    scorer = make_scorer(network, [[0, 1], [0]])
    # The image holds the larger output 1, its negative with h0 = 1 -2, h1 = 1  3 the larger output 0.
    #                                                               -5  5         5 -2
    opposite = -HAND_IMAGE
    assert network(opposite[None]).argmax().item() == 0
    images = torch.stack([HAND_IMAGE, opposite])
    maps = _maps(name, scorer, images, [0, 1, 0, 1], [0, 0, 1, 1])
    assert maps[0].tolist() == HAND_MAPS[name][1]
    assert maps[2].tolist() == HAND_MAPS[name][0]
    assert torch.equal(maps[1], maps[3])


@ALL
def test_pairs_of_a_batch_are_what_they_are_alone(name: str) -> None:
    scorer, images = _each(_small_network()), _images()
    # Mixed classes; three of image 0, one of 1, none of 2, two of 3, one of them twice, in no order.
    image_index, classes = [3, 0, 1, 0, 3, 0, 3], [1, 5, 1, 0, 4, 2, 1]
    together = _maps(name, scorer, images, image_index, classes)
    assert together.shape == (7, 16, 20)
    for row, image, of_class in zip(together, image_index, classes, strict=True):
        alone = _maps(name, scorer, images[image : image + 1], [0], [of_class])[0]
        assert alone.max() > 0
        assert torch.allclose(row, alone, rtol=0, atol=1e-5 * float(alone.max()))


@ALL
def test_the_map_depends_on_the_class(name: str) -> None:
    maps = _maps(name, _each(_small_network()), _images(1), [0] * 6, list(range(6)))
    for one in range(6):
        for other in range(one):
            assert (maps[one] - maps[other]).abs().max() > 0.01 * maps[one].max()


@ALL
def test_no_pairs(name: str) -> None:
    images = _images()
    answer = _answer(name, _each(_small_network()), images, [], [])
    assert answer.maps.shape == (0, 16, 20)
    assert answer.logits.shape == (4, 6)


@ALL
def test_in_place_relu_changes_nothing(name: str) -> None:
    outside, inside = (_each(_small_network(inplace)) for inplace in (False, True))
    pairs = [0, 1, 1, 2], [0, 1, 2, 3]
    assert torch.equal(_maps(name, outside, _images(), *pairs), _maps(name, inside, _images(), *pairs))


@ALL
def test_a_network_may_alter_its_input_in_place(name: str) -> None:
    outside, inside = (
        _each(nn.Sequential(nn.Hardtanh(-0.5, 0.5, inplace), *_small_network())) for inplace in (False, True)
    )
    images, pairs = _images(), ([0, 1, 1], [0, 1, 2])
    assert torch.equal(_maps(name, outside, images, *pairs), _maps(name, inside, images, *pairs))
    assert torch.equal(images, _images())


@ALL
def test_training_mode_does_not_matter(name: str) -> None:
    network = _small_network().eval()
    pairs = [0, 1, 1], [0, 1, 2]
    expected = _maps(name, _each(network), _images(), *pairs)
    assert torch.equal(_maps(name, _each(network.train()), _images(), *pairs), expected)


@ALL
@pytest.mark.parametrize("last", [nn.Softmax(dim=1), nn.LogSoftmax(dim=1), nn.Sigmoid()])
def test_a_final_activation_is_passed_over(name: str, last: nn.Module) -> None:
    bare = _small_network()
    with_activation = nn.Sequential(*bare, last)
    pairs = [0, 1, 1], [0, 1, 2]
    assert torch.equal(
        _maps(name, _each(with_activation), _images(), *pairs), _maps(name, _each(bare), _images(), *pairs)
    )


@ALL
def test_scale_of_the_scores(name: str) -> None:
    """Twice the scores: twice the map, four times where it is squared."""
    network = _small_network().eval()
    pairs = [0, 1], [0, 1]
    before = _maps(name, _each(network), _images(), *pairs)
    with torch.no_grad():
        network[-1].weight.mul_(2)
        network[-1].bias.mul_(2)
    factor = 4 if name == "gradient-squared" else 2
    assert torch.allclose(_maps(name, _each(network), _images(), *pairs), factor * before, rtol=1e-5)
