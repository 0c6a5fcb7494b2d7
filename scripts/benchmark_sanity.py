"""The table of docs/sanity.md: how much of a map is left when the network's weights are randomized from the top down.

Cascading randomization of Adebayo et al. 2018 (arXiv 1810.03292), section 3.1, with mobilenet_v2.

    python scripts/benchmark_sanity.py --photographs DIR --weights mobilenet_v2.pth
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torchvision
from markdown_page import fill
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import Tensor, nn

from wsloc.classifiers import VIEWS, load_classifier, make_scorer
from wsloc.classifiers.scorer import Scorer
from wsloc.config import ClassifierSettings, SaliencySettings
from wsloc.images import read_image
from wsloc.saliency import METHODS, MethodContext, PairBatch, bind_method

PAGE = Path(__file__).resolve().parents[1] / "docs" / "sanity.md"
ARCH = "mobilenet_v2"
STAGES = {
    "classifier": ("classifier.",),
    "and features 14 to 18": tuple(f"features.{number}." for number in range(14, 19)),
    "and features 7 to 13": tuple(f"features.{number}." for number in range(7, 14)),
    "and features 0 to 6 (all)": tuple(f"features.{number}." for number in range(7)),
}
"""What is randomized in addition to the stage before, from the top down: beginnings of parameter names."""
SETTINGS = SaliencySettings(
    smoothgrad_samples=6,
    integrated_steps=6,
    score_cam_channels=24,
    occlusion_patch=32,
    occlusion_stride=32,
    rise_masks=100,
)
INPUT_SIZE = 160
PHOTOGRAPHS = 8


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", type=Path, required=True, metavar="DIR", help="folder of JPEG files")
    parser.add_argument("--weights", type=Path, required=True, metavar="FILE", help=f"of torchvision's {ARCH}")
    options = parser.parse_args()
    paths = chosen_photographs(options.photographs)
    found = correlations(options.weights, paths, list(METHODS))
    lines = [
        f"{len(paths)} photographs at {INPUT_SIZE} x {INPUT_SIZE} pixels, the class that {ARCH} finds most probable. "
        "Mean over the photographs of Spearman's rank correlation with the map of the trained network.",
        "",
        f"| method | {' | '.join(STAGES)} |",
        "|---|" + "---:|" * len(STAGES),
    ]
    lines += [f"| `{name}` | {' | '.join(f'{value:.2f}' for value in row)} |" for name, row in found.items()]
    table = "\n".join(lines)
    fill("benchmark_sanity", table, PAGE)
    print(table)
    return 0


def chosen_photographs(folder: Path) -> list[Path]:
    """Some files of a folder, evenly spread over their names."""
    paths = sorted(folder.glob("*.jpg"))
    return paths[:: max(1, len(paths) // PHOTOGRAPHS)][:PHOTOGRAPHS]


def correlations(weights: Path, paths: Sequence[Path], methods: Sequence[str]) -> dict[str, list[float]]:
    """For each method the mean rank correlation of its maps with the trained network's, one value per stage.

    A flat map has no order: its correlation counts as 0.

    Args:
        weights: state dict of torchvision's mobilenet_v2.
        paths: photographs.
        methods: whose maps to compare.
    """
    classifier = load_classifier(ClassifierSettings(arch=ARCH, weights=weights, input_size=INPUT_SIZE))
    images = torch.stack([VIEWS["whole"](read_image(path), classifier.preprocessing).views[0].pixels for path in paths])
    scorer = make_scorer(classifier.network, [[output] for output in range(1000)])
    with torch.no_grad():
        classes = classifier.network.eval()(images).argmax(dim=1)
    trained = {name: _maps(scorer, name, images, classes) for name in methods}
    found: dict[str, list[float]] = {name: [] for name in methods}
    for _ in _randomized(classifier.network):
        for name in methods:
            found[name].append(_mean_correlation(trained[name], _maps(scorer, name, images, classes)))
    return found


def _randomized(network: nn.Module) -> Iterator[None]:
    """The network with the weights of an untrained one, a stage more each time."""
    torch.manual_seed(0)
    untrained: Mapping[str, Tensor] = torchvision.models.get_model(ARCH, weights=None).state_dict()
    for prefixes in STAGES.values():
        stage = {key: value for key, value in untrained.items() if key.startswith(prefixes)}
        network.load_state_dict(stage, strict=False)
        yield


def _maps(scorer: Scorer, method: str, images: Tensor, classes: Tensor) -> NDArray[np.float32]:
    bound = bind_method(MethodContext(scorer, images[:1], replace(SETTINGS, method=method)))
    pairs = range(len(images))
    maps: NDArray[np.float32] = bound.compute(
        PairBatch(images, torch.tensor(pairs), classes, tuple(pairs))
    ).maps.numpy()
    return maps


def _mean_correlation(before: NDArray[np.float32], after: NDArray[np.float32]) -> float:
    found = [
        spearmanr(one.ravel(), other.ravel()).statistic if np.ptp(one) and np.ptp(other) else 0.0
        for one, other in zip(before, after, strict=True)
    ]
    return float(np.mean(found))


if __name__ == "__main__":
    sys.exit(main())
