import math

import pytest
import torch
from torch import Tensor

from wsloc.classifiers.small_cnn import SmallCNN
from wsloc.classifiers.training import TrainingSettings, augment, mean_average_precision, train_multilabel

SETTINGS = TrainingSettings(epochs=6, batch_size=8, seed=4)


def _stripes() -> tuple[Tensor, Tensor]:
    """Images of horizontal stripes, of vertical ones and of both: two labels."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(2, (40, 2), generator=generator).float()
    wave = torch.sin(torch.arange(32) * 1.5)
    patterns = torch.stack([wave[:, None].expand(32, 32), wave[None, :].expand(32, 32)])
    images = torch.einsum("nk,khw->nhw", targets, patterns)[:, None].repeat(1, 3, 1, 1)
    return images + 0.1 * torch.randn(images.shape, generator=generator), targets


def _trained(seed: int = 4) -> tuple[SmallCNN, list[float]]:
    torch.manual_seed(7)
    network = SmallCNN(num_classes=2)
    settings = TrainingSettings(epochs=6, batch_size=8, seed=seed)
    return network, [record.loss for record in train_multilabel(network, *_stripes(), settings)]


def test_loss_falls_and_the_classes_are_told_apart() -> None:
    network, losses = _trained()
    assert len(losses) == 6
    assert losses[-1] < 0.5 * losses[0]
    assert not network.training
    images, targets = _stripes()
    with torch.inference_mode():
        assert mean_average_precision(network(images), targets) > 0.95


def test_training_is_reproducible_to_the_bit() -> None:
    (network_a, losses_a), (network_b, losses_b) = _trained(), _trained()
    assert losses_a == losses_b
    for tensor_a, tensor_b in zip(network_a.state_dict().values(), network_b.state_dict().values(), strict=True):
        assert torch.equal(tensor_a, tensor_b)
    assert _trained(seed=5)[1] != losses_a


def test_training_leaves_the_global_generator_alone() -> None:
    network = SmallCNN(num_classes=2)
    before = torch.get_rng_state()
    next(train_multilabel(network, *_stripes(), SETTINGS))
    assert torch.equal(torch.get_rng_state(), before)


def test_records_count_the_epochs() -> None:
    records = list(train_multilabel(SmallCNN(num_classes=2), *_stripes(), TrainingSettings(epochs=2)))
    assert [(record.epoch, record.epochs) for record in records] == [(1, 2), (2, 2)]


@pytest.mark.parametrize(("images", "rows"), [(0, 0), (3, 2)])
def test_images_without_targets_are_refused(images: int, rows: int) -> None:
    with pytest.raises(ValueError, match="give as many"):
        next(train_multilabel(SmallCNN(2), torch.zeros(images, 3, 32, 32), torch.zeros(rows, 2), SETTINGS))


def test_augmentation_without_strength_only_mirrors() -> None:
    images = torch.rand(16, 1, 5, 7)
    still = TrainingSettings(max_shift=0, max_zoom=0, max_gain=0)
    changed = augment(images, still, torch.Generator().manual_seed(1))
    mirrored = [
        torch.allclose(after, before.flip(-1), atol=1e-5) for before, after in zip(images, changed, strict=True)
    ]
    kept = [torch.allclose(after, before, atol=1e-5) for before, after in zip(images, changed, strict=True)]
    assert all(a != b for a, b in zip(mirrored, kept, strict=True))
    assert any(mirrored)
    assert any(kept)


def test_mean_average_precision_by_hand() -> None:
    # Class 0: positives at ranks 1 and 3; class 1: the only positive at rank 4; class 2: none.
    scores = torch.tensor([[0.9, 0.4, 0.1], [0.8, 0.3, 0.2], [0.7, 0.2, 0.3], [0.6, 0.1, 0.4]])
    targets = torch.tensor([[1, 0, 0], [0, 0, 0], [1, 0, 0], [0, 1, 0]])
    assert mean_average_precision(scores, targets) == pytest.approx(((1 + 2 / 3) / 2 + 1 / 4) / 2)
    assert math.isnan(mean_average_precision(scores[:, 2:], targets[:, 2:]))


@pytest.mark.parametrize("channels", [1, 3])
def test_small_cnn_scores_images_of_any_size(channels: int) -> None:
    network = SmallCNN(num_classes=6, in_channels=channels).eval()
    assert network(torch.zeros(2, channels, 40, 16)).shape == (2, 6)
    assert sum(parameter.numel() for parameter in SmallCNN(6).parameters()) == 190_806
