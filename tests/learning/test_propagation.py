"""The random walk over a map."""

from __future__ import annotations

import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given
from numpy.typing import NDArray

from wsloc.learning import propagation
from wsloc.learning.propagation import propagate

SKY, GRASS, NOTHING = (1.0, 0.0), (0.0, 2.0), (0.0, 0.0)


def columns(*vectors: tuple[float, float]) -> torch.Tensor:
    """A grid of one row."""
    return torch.tensor(vectors).T[:, None]


def test_values_spread_among_what_looks_alike_and_nowhere_else() -> None:
    maps = torch.tensor([[[1.0, 0.0, 5.0, 0.5]]])
    found = propagate(maps, columns(SKY, SKY, GRASS, NOTHING))
    assert torch.allclose(found, torch.tensor([[[0.5, 0.5, 5.0, 0.5]]]))


def test_one_step_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(propagation, "STEPS", 1)
    monkeypatch.setattr(propagation, "SHARPNESS", 2)
    # At 45 degrees the cosine is the root of one half, and its square one half.
    found = propagate(torch.tensor([[[3.0, 0.0, 0.0]]]), columns(SKY, (1.0, 1.0), GRASS))
    assert torch.allclose(found, torch.tensor([[[3 / 1.5, 0.5 * 3 / 2, 0.0]]]))


def test_a_step_reaches_two_positions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(propagation, "STEPS", 1)
    maps = torch.zeros(1, 7, 9)
    maps[0, 3, 4] = 1
    reached = propagate(maps, torch.ones(3, 7, 9))[0] > 0
    expected = torch.zeros(7, 9, dtype=torch.bool)
    expected[1:6, 2:7] = True
    assert torch.equal(reached, expected)


@given(
    maps=arrays.arrays(np.float32, (2, 5, 4), elements=st.floats(0, 1, width=32)),
    vectors=arrays.arrays(np.float32, (3, 5, 4), elements=st.floats(-100, 100, width=32)),
)
def test_no_value_leaves_the_range_of_its_map_and_maps_do_not_mix(
    maps: NDArray[np.float32], vectors: NDArray[np.float32]
) -> None:
    given_maps, given_vectors = torch.from_numpy(maps), torch.from_numpy(vectors)
    found = propagate(given_maps, given_vectors)
    for before, after in zip(given_maps, found, strict=True):
        assert after.min() >= before.min() - 1e-5
        assert after.max() <= before.max() + 1e-5
        assert torch.allclose(propagate(before[None], given_vectors)[0], after, atol=1e-6)
