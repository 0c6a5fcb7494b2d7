"""Rounds of learning from positions whose labels are partly wrong and mostly missing."""

from __future__ import annotations

import torch

from wsloc.learning.pixel_classifier import UNKNOWN, PixelClassifier, Positions, fit


def made_up(wrong: float = 0.15, images: int = 60, per_image: int = 40) -> tuple[Positions, torch.Tensor]:
    """Positions of three kinds in five dimensions; images show class 1, class 2, or both."""
    generator = torch.Generator().manual_seed(0)
    image = torch.arange(images).repeat_interleave(per_image)
    allowed = torch.tensor([[True, index % 3 != 1, index % 3 != 0] for index in range(images)])
    kinds = torch.randint(0, 3, (len(image),), generator=generator)
    true = torch.where(allowed[image, kinds], kinds, 0)
    centers = torch.tensor([[0.0, 0, 0, 0, 0], [3, 0, 1, 0, 0], [0, 3, 1, 0, 0]])
    # The later components of features vary less.
    spread = torch.tensor([0.6, 0.6, 0.3, 0.1, 0.1])
    vectors = centers[true] + spread * torch.randn(len(image), 5, generator=generator)
    labels = true.clone()
    # A map is wrong about a part of its image, and says nothing about most of it.
    flipped = torch.rand(len(image), generator=generator) < wrong
    labels[flipped] = torch.where(true[flipped] > 0, 0, allowed[image[flipped], 1:].float().argmax(1) + 1)
    labels[torch.rand(len(image), generator=generator) < 0.6] = UNKNOWN
    return Positions(vectors.half(), labels, image, allowed), true


def test_the_set_knows_better_than_the_maps() -> None:
    positions, true = made_up()
    classifier = fit(positions, seed=0)
    probabilities = classifier.probabilities(positions.vectors, positions.allowed[positions.image])
    assert (probabilities.argmax(dim=1) == true).float().mean() > 0.95
    known = positions.labels != UNKNOWN
    assert (positions.labels[known] == true[known]).float().mean() < 0.9


def test_probabilities_go_to_what_the_image_shows_alone() -> None:
    classifier = PixelClassifier(torch.tensor([[0.0], [1.0], [2.0]]), torch.zeros(3))
    found = classifier.probabilities(torch.tensor([[1.0]]).half(), torch.tensor([True, True, False]))
    # By hand: softmax of (0, 1).
    assert torch.allclose(found, torch.tensor([[0.2689, 0.7311, 0.0]]), atol=1e-4)


def test_the_same_bits_again_and_others_for_another_seed() -> None:
    positions, _ = made_up()
    first, again, other = (fit(positions, seed) for seed in (1, 1, 2))
    assert torch.equal(first.weight, again.weight)
    assert torch.equal(first.bias, again.bias)
    assert not torch.equal(first.weight, other.weight)


def test_an_image_of_many_positions_does_not_outvote_the_others() -> None:
    """One image of 3000 positions of another kind of background; it must not drown 60 others."""
    positions, true = made_up(wrong=0)
    loud = torch.tensor([3.0, 0, 1, 0, 0]) + 0.1 * torch.randn(3000, 5, generator=torch.Generator().manual_seed(1))
    mixed = Positions(
        torch.cat([positions.vectors, loud.half()]),
        torch.cat([positions.labels, torch.zeros(3000, dtype=torch.int64)]),
        torch.cat([positions.image, torch.full((3000,), 60)]),
        torch.cat([positions.allowed, torch.tensor([[True, False, True]])]),
    )
    probabilities = fit(mixed, 0).probabilities(positions.vectors, positions.allowed[positions.image])
    assert (probabilities.argmax(dim=1) == true)[true == 1].float().mean() > 0.9
