"""A map must depend on what the network learned: Adebayo et al. 2018 (arXiv 1810.03292)."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from wsloc.classifiers import load_classifier
from wsloc.config import ClassifierSettings
from wsloc.saliency import METHODS

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
import benchmark_sanity

MOST = 0.65
"""Of the rank correlation once all weights are random. Some is left in any map: edges of the photograph drive random
filters too, and the same masks are drawn for RISE."""
MOST_OF = {"grad-cam++": 0.95, "layer-cam": 0.95, "score-cam": 0.95}
"""Sums of features by weights that are hardly ever negative: what is left is how strongly any filter answers there."""
NOT_BY_CLASS = {"deconvnet", "guided", "grad-cam++", "layer-cam", "score-cam"}
"""Methods known to say little of the class: they change less when only the classifier is random."""


@pytest.mark.slow
def test_maps_change_when_the_weights_are_randomized(shared: Path) -> None:
    paths = benchmark_sanity.chosen_photographs(shared / "VOCdevkit" / "VOC2012" / "JPEGImages")[::2]
    found = benchmark_sanity.correlations(shared / "weights" / "mobilenet_v2.pth", paths, list(METHODS))
    assert set(found) == set(METHODS)
    for name, (of_classifier, *_, of_all) in found.items():
        assert of_all < MOST_OF.get(name, MOST), name
        assert name in NOT_BY_CLASS or of_classifier < 0.8, name
    # The known weakness shows, so that this test would notice a map that were something else.
    assert found["deconvnet"][0] > 0.9
    assert found["guided"][0] > 0.9
    # A map that follows the weights closely loses more than one that follows the picture.
    assert found["gradient"][-1] < found["smoothgrad-squared"][-1]


@pytest.mark.slow
def test_each_stage_is_randomized_and_nothing_else(shared: Path) -> None:
    settings = ClassifierSettings(arch=benchmark_sanity.ARCH, weights=shared / "weights" / "mobilenet_v2.pth")
    network: nn.Module = load_classifier(settings).network
    before = {key: value.clone() for key, value in network.state_dict().items()}
    random: set[str] = set()
    for prefixes, _ in zip(benchmark_sanity.STAGES.values(), benchmark_sanity._randomized(network), strict=True):
        random |= {key for key in before if key.startswith(prefixes)}
        for key, value in network.state_dict().items():
            if key.endswith("weight") and value.ndim > 1:
                assert torch.equal(value, before[key]) == (key not in random)
    assert random == set(before)


def test_correlation_by_hand() -> None:
    before = np.array([[[1, 2], [3, 4]], [[1, 2], [3, 4]]], dtype=np.float32)
    # Ranks turned round give -1; 1 2 3 4 against 1 2 4 3 gives 1 - 6 * 2 / (4 * 15) = 0.8; a flat map has none.
    assert benchmark_sanity._mean_correlation(before, before[:, ::-1, ::-1]) == pytest.approx(-1)
    after = np.array([[[1, 20], [40, 30]], [[5, 5], [5, 5]]], dtype=np.float32)
    assert benchmark_sanity._mean_correlation(before, after) == pytest.approx(0.4)


def test_photographs_are_spread_over_the_folder(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"{number:02d}.jpg").touch()
    chosen = [path.stem for path in benchmark_sanity.chosen_photographs(tmp_path)]
    assert chosen == ["00", "02", "04", "06", "08", "10", "12", "14"]
