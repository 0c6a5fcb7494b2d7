"""Every method on every architecture: it gives maps, or the one sentence of docs/methods.md.

The matrix of docs/architectures.md is made of what happens here; WSLOC_WRITE_MATRIX=1 writes it anew.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from wsloc.classifiers import make_scorer
from wsloc.cli.flags import with_flags
from wsloc.config import SaliencySettings
from wsloc.errors import UserError
from wsloc.saliency import METHODS, MethodContext, PairBatch, bind_method

DOCS = Path(__file__).resolve().parents[2] / "docs"
SIZES = {
    "resnet18": 64,
    "resnet50": 64,
    "vgg16": 64,
    "densenet121": 64,
    "mobilenet_v2": 64,
    "mobilenet_v3_large": 64,
    "efficientnet_b0": 64,
    "convnext_tiny": 64,
    "squeezenet1_0": 64,
    "googlenet": 64,
    "inception_v3": 160,
    "vit_b_16": 64,
    "swin_t": 64,
}
QUICK = ("resnet18", "mobilenet_v2", "mobilenet_v3_large", "squeezenet1_0")
NO_LINEAR_HEAD = {"vgg16", "mobilenet_v3_large", "convnext_tiny", "vit_b_16"}
OTHER_NONLINEARITY = {"mobilenet_v3_large", "efficientnet_b0", "convnext_tiny", "vit_b_16", "swin_t"}
RULES = {"deconvnet", "guided", "guided-grad-cam"}
MAY_REFUSE = {
    *((arch, "cam") for arch in NO_LINEAR_HEAD),
    *((arch, method) for arch in OTHER_NONLINEARITY for method in RULES),
}
CLASSES = 4
FEW_PASSES = SaliencySettings(
    smoothgrad_samples=2,
    integrated_steps=2,
    rise_masks=6,
    score_cam_channels=4,
    occlusion_patch=40,
    occlusion_stride=40,
)


def _network(arch: str) -> nn.Module:
    torch.manual_seed(0)
    options = {
        "googlenet": {"init_weights": False, "aux_logits": False},
        "inception_v3": {"init_weights": False, "aux_logits": False},
        "vit_b_16": {"image_size": SIZES[arch]},
    }
    network = torchvision.models.get_model(arch, weights=None, num_classes=CLASSES, **options.get(arch, {}))
    # torchvision begins some heads at zero, and random scores near zero would all be cut off by a ReLU.
    for parameter in list(network.parameters())[-2:]:
        nn.init.normal_(parameter, std=0.05)
    if arch == "squeezenet1_0":
        nn.init.constant_(network.classifier[1].bias, 5.0)
    # Statistics of noise, or features would fade on their way through fifty random layers.
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        network.train()(torch.randn((8, 3, SIZES[arch], SIZES[arch])))
    return network.eval()


@cache
def _happened(arch: str) -> dict[str, str]:
    """For each method an empty text, or the sentence with which it refuses; maps are checked on the way."""
    network = _network(arch)
    scorer = make_scorer(network, [[index] for index in range(CLASSES)])
    side = SIZES[arch]
    images = torch.randn((2, 3, side, side), generator=torch.Generator().manual_seed(1))
    pairs = torch.tensor([[image, index] for image in range(2) for index in range(CLASSES)])
    happened = {}
    for method in METHODS:
        settings = SaliencySettings(**{**vars(FEW_PASSES), "method": method})
        try:
            bound = bind_method(MethodContext(scorer, images[:1], settings))
        except UserError as refusal:
            happened[method] = str(refusal)
            continue
        seeds = tuple(range(len(pairs)))
        maps = bound.compute(PairBatch(images, pairs[:, 0], pairs[:, 1], seeds)).maps
        assert maps.shape == (len(pairs), side, side), method
        assert maps.isfinite().all(), method
        assert (maps >= 0).all(), method
        shown = maps.amax(dim=(1, 2)) > maps.amin(dim=(1, 2))
        assert shown.float().mean() >= 0.25, f"{method}: {shown.tolist()}"
        if bound.forward_passes <= 2:
            _compare_with_each_alone(bound.compute, images, pairs, maps, method)
        happened[method] = ""
    return happened


def _compare_with_each_alone(compute, images, pairs, maps, method) -> None:
    scale = maps.amax()
    zero = torch.zeros(1, dtype=torch.int64)
    for pair in (1, len(pairs) - 1):
        image, index = pairs[pair]
        alone = compute(PairBatch(images[image][None], zero, index[None])).maps[0]
        # Rounding flips a ReLU here and there; networks in float64 and real ones are held to less elsewhere.
        assert (alone - maps[pair]).abs().max() <= 0.02 * scale, method


ARCHITECTURES = pytest.mark.parametrize(
    "arch", [arch if arch in QUICK else pytest.param(arch, marks=pytest.mark.slow) for arch in SIZES]
)


@ARCHITECTURES
def test_every_method_runs_or_is_one_of_the_cells_that_may_refuse(arch: str) -> None:
    refused = {(arch, method) for method, sentence in _happened(arch).items() if sentence}
    assert refused == {cell for cell in MAY_REFUSE if cell[0] == arch}


@ARCHITECTURES
def test_refusals_are_the_sentences_of_the_docs(arch: str) -> None:
    page = " ".join((DOCS / "methods.md").read_text(encoding="utf-8").split())
    for sentence in map(with_flags, filter(None, _happened(arch).values())):
        # The docs leave open which operation it was.
        before, _, after = sentence.partition("also runs ")
        assert before.strip() in page
        assert after.partition(";")[2] in page
        assert sentence.count(". ") == 0


@ARCHITECTURES
def test_the_committed_matrix_is_what_happens(arch: str) -> None:
    path = DOCS / "architectures.md"
    row = f"| {arch} | {' | '.join('no' if sentence else 'yes' for sentence in _happened(arch).values())} |"
    if os.environ.get("WSLOC_WRITE_MATRIX"):
        _write_row(path, arch, row)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert f"| network | {' | '.join(METHODS)} |" in lines
    assert row in lines


def _write_row(path: Path, arch: str, row: str) -> None:
    head = [f"| network | {' | '.join(METHODS)} |", "|---|" + ":---:|" * len(METHODS)]
    old = path.read_text(encoding="utf-8") if path.exists() else "<!-- begin matrix -->\n<!-- end matrix -->\n"
    before, rest = old.split("<!-- begin matrix -->")
    table, after = rest.split("<!-- end matrix -->")
    rows = {line.split("|")[1].strip(): line for line in table.strip().splitlines()[2:]} | {arch: row}
    body = "\n".join([*head, *(rows[name] for name in SIZES if name in rows)])
    path.write_text(f"{before}<!-- begin matrix -->\n{body}\n<!-- end matrix -->{after}", encoding="utf-8")
