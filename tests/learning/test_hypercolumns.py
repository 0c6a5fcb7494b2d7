"""Principal components of a stream, and the vectors of positions."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from wsloc.learning.hypercolumns import SCALE, Moments, Projection, dimensions_of, hypercolumns

CORRELATED = np.random.default_rng(0).normal(size=(500, 6)) @ np.diag([9, 5, 3, 1, 0.1, 0]) + 4


def test_components_are_those_of_the_whole_data() -> None:
    moments = Moments()
    for part in np.array_split(CORRELATED, 7):
        moments.add(part)
    projection = moments.projection(3)
    projected = (torch.from_numpy(CORRELATED).float() - projection.mean) @ projection.basis
    # By NumPy's own singular value decomposition.
    centered = CORRELATED - CORRELATED.mean(axis=0)
    _, values, directions = np.linalg.svd(centered, full_matrices=False)
    expected = centered @ directions[:3].T * (SCALE * np.sqrt(len(CORRELATED)) / values[0])
    assert np.allclose(np.abs(projected.numpy()), np.abs(expected), atol=1e-4)
    assert np.isclose(projected[:, 0].std(correction=0), SCALE, rtol=1e-5)


@given(st.integers(1, 499))
def test_how_the_stream_is_cut_changes_nothing(cut: int) -> None:
    whole, parts = Moments(), Moments()
    whole.add(CORRELATED)
    parts.add(CORRELATED[:cut])
    parts.add(CORRELATED[cut:])
    assert torch.allclose(whole.projection(2).basis.abs(), parts.projection(2).basis.abs(), atol=1e-5)


def test_a_layer_that_never_changes_gives_zeros() -> None:
    moments = Moments()
    moments.add(np.ones((10, 4)))
    projection = moments.projection(2)
    columns = hypercolumns({"a": np.ones((4, 2, 3), np.float16)}, {"a": projection})
    assert columns.shape == (2, 2, 3)
    assert torch.equal(columns, torch.zeros(2, 2, 3))


def test_coarse_layers_are_brought_to_the_finest_grid() -> None:
    identity = Projection(torch.zeros(1), torch.ones(1, 1))
    fine = np.arange(16, dtype=np.float16).reshape(1, 4, 4)
    coarse = np.array([[[0, 4], [8, 12]]], dtype=np.float16)
    columns = hypercolumns({"fine": fine, "coarse": coarse}, {"fine": identity, "coarse": identity})
    assert torch.equal(columns[0], torch.from_numpy(fine[0]).float())
    # Cell centers of the coarse grid lie at 1/4 and 3/4: by hand, 0 and 4 are mixed 3 to 1 at 3/8.
    assert columns[1, 0].tolist() == [0, 1, 3, 4]
    assert columns[1, :, 0].tolist() == [0, 2, 6, 8]


def test_coarse_layers_keep_more_components() -> None:
    assert dimensions_of(["a", "b", "c"]) == {"a": 64, "b": 96, "c": 128}
    assert dimensions_of(["b", "c"]) == {"b": 96, "c": 128}
    assert dimensions_of(["a", "b", "c", "d"]) == {"a": 64, "b": 64, "c": 96, "d": 128}
