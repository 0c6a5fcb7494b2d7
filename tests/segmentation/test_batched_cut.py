"""Cuts of tiny grids: by hand, and against SciPy's maximum flow."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cut_oracle import energy_of, min_energy
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from wsloc.segmentation.batched_cut import NEIGHBORS, energy, energy_bound, here, min_cut, there


def _oracle_terms(pulls: Tensor, links: Tensor) -> tuple:
    """One grid as the oracle reads it: energies as background and as foreground, and edges."""
    index = torch.arange(pulls.numel()).reshape(pulls.shape)
    ends = [(here(index, neighbor), there(index, neighbor)) for neighbor in NEIGHBORS]
    weights = [here(links[number], neighbor) for number, neighbor in enumerate(NEIGHBORS)]
    first, second, weight = (
        torch.cat([part.flatten() for part in parts]).numpy() for parts in (*zip(*ends, strict=True), weights)
    )
    unary = pulls.clamp(min=0).flatten().double().numpy(), (-pulls).clamp(min=0).flatten().double().numpy()
    return unary, (first.astype(np.int32), second.astype(np.int32), weight.astype(np.float64))


def _random_grids(generator: np.random.Generator, shape: tuple[int, int, int], seeds: float) -> tuple[Tensor, Tensor]:
    """Pulls of a few units, some of them seeds, and links of any strength, many of them 0."""
    pulls = generator.normal(0, generator.choice([1, 10, 60]), shape)
    pulls = np.where(generator.random(shape) < seeds, np.sign(pulls) * 450, pulls)
    links = 50 * generator.random((shape[0], 4, *shape[1:])) ** generator.choice([0.2, 1, 5])
    links[generator.random(links.shape) < 0.2] = 0
    links = torch.from_numpy((1024 * links).round() / 1024).float()
    for number, neighbor in enumerate(NEIGHBORS):
        inside = torch.zeros(shape[1:])
        here(inside, neighbor).fill_(1)
        links[:, number] *= inside
    return torch.from_numpy((1024 * pulls).round() / 1024).float(), links


def test_two_pixels_by_hand() -> None:
    """Pulled apart by 5 and 3: to part them costs the link, to keep them together the weaker pull."""
    for link, expected, least in ((2, [True, False], 2), (4, [True, True], 3), (10, [True, True], 3)):
        links = torch.zeros(1, 4, 1, 2)
        links[0, 0, 0, 0] = link
        pulls = torch.tensor([[[5.0, -3.0]]])
        labels = min_cut(pulls, links)
        assert labels.dtype == torch.bool
        assert labels.tolist() == [[expected]]
        assert energy(pulls, links, labels).tolist() == [least]
        assert min_cut(-pulls, links).tolist() == [[[not label for label in expected]]]


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("backward", [False, True])
def test_each_neighbor_is_reached(number: int, backward: bool) -> None:
    """A seed takes along the one pixel that it is linked with, and no other."""
    links = torch.zeros(1, 4, 5, 5)
    down, right = NEIGHBORS[number]
    if backward:
        down, right = -down, -right
        links[0, number, 2 + down, 2 + right] = 7
    else:
        links[0, number, 2, 2] = 7
    pulls = torch.full((1, 5, 5), -1.0)
    pulls[0, 2, 2] = 450
    expected = torch.zeros(5, 5, dtype=torch.bool)
    expected[2, 2] = expected[2 + down, 2 + right] = True
    assert torch.equal(min_cut(pulls, links)[0], expected)


def test_where_both_labels_are_equally_good_it_is_background() -> None:
    """A row without a pull between two seeds: every cut of one link is a minimum one."""
    links = torch.zeros(2, 4, 1, 40)
    links[:, 0, 0, :-1] = 50
    pulls = torch.zeros(2, 1, 40)
    pulls[0, 0, 0], pulls[0, 0, -1] = 450, -450
    labels = min_cut(pulls, links)
    assert energy(pulls, links, labels).tolist() == [50, 0]
    assert not labels[1].any()


@given(st.integers(0, 2**32 - 1), st.integers(1, 8), st.integers(1, 9), st.sampled_from([0.0, 0.1, 0.5]))
@settings(max_examples=60)
def test_no_labeling_has_less_energy(seed: int, height: int, width: int, seeds: float) -> None:
    generator = np.random.default_rng(seed)
    pulls, links = _random_grids(generator, (3, height, width), seeds)
    labels = min_cut(pulls, links)
    energies = energy(pulls, links, labels)
    for index in range(3):
        unary, edges = _oracle_terms(pulls[index], links[index])
        assert energies[index].item() == pytest.approx(energy_of(labels[index].numpy(), unary, edges), abs=1e-3)
        assert energies[index].item() == pytest.approx(min_energy(unary, edges), rel=2e-5, abs=2e-3)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=50)
def test_no_flow_promises_more_than_a_cut_costs(seed: int) -> None:
    generator = np.random.default_rng(seed)
    pulls, links = _random_grids(generator, (1, 4, 5), 0.1)
    left = pulls.clone()
    for number, neighbor in enumerate(NEIGHBORS):
        along = links[:, number] * float(generator.uniform(-1, 1))
        here(left, neighbor).sub_(here(along, neighbor))
        there(left, neighbor).add_(here(along, neighbor))
    labels = torch.from_numpy(generator.random((1, 4, 5)) < 0.5)
    assert energy_bound(pulls, left).item() <= energy(pulls, links, labels).item() + 1e-3


def test_the_same_bits_alone_and_among_others() -> None:
    """Including grids that need far more sweeps than their companions."""
    generator = np.random.default_rng(0)
    pulls, links = _random_grids(generator, (7, 23, 31), 0.05)
    together = min_cut(pulls, links)
    order = torch.from_numpy(generator.permutation(7))
    assert torch.equal(min_cut(pulls[order], links[order]), together[order])
    for index in range(7):
        assert torch.equal(min_cut(pulls[index : index + 1], links[index : index + 1])[0], together[index])
    assert together.flatten(1).any(dim=1).all()


def test_too_few_sweeps_leave_a_cut_that_is_not_the_least() -> None:
    """What pulls at one end of a row has not yet arrived at the other."""
    links = torch.zeros(1, 4, 1, 60)
    links[:, 0, 0, :-1] = 50
    pulls = torch.full((1, 1, 60), -0.1)
    pulls[0, 0, 0] = 450
    assert not min_cut(pulls, links, max_sweeps=3).all()
    assert min_cut(pulls, links).all()
