"""The tables of docs/experiments.md on joining: maps of two input sizes, of two networks, and a class of ambiguous
positions; on train.

Each member learns by itself. The maps of several are averaged at the finest grid among them, and boxed by their
threshold.

    python scripts/experiment_joining.py --root data --weights-dir weights --network mobilenet_v2 --second densenet121
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from experiment_learning import EXPERIMENTS, Material, add_flags, boxes_of, changed, figures_of, kept, learned, prepare
from markdown_page import fill
from numpy.typing import NDArray
from torch import Tensor

from wsloc.learning import pixel_classifier
from wsloc.learning.pixel_classifier import BACKGROUND, UNKNOWN, PixelClassifier, Positions
from wsloc.pipeline import running
from wsloc.pipeline.map_stage import ImageMaps
from wsloc.pipeline.refine_stage import RefineStage
from wsloc.records import BoxRecord

LARGER_RATIO = 15 / 7
"""Of the second input size to the network's own; that of ``large`` is 10/7."""
Maps = Mapping[tuple[str, str], NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class Joined:
    """A refiner that looks up maps which are there already."""

    maps: Maps

    def __call__(self, image: ImageMaps) -> ImageMaps:
        image_id = image.read.image.image_id
        return replace(image, maps={name: self.maps[image_id, name] for name in image.maps})

    def save(self, *_: Any) -> None:
        raise NotImplementedError


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_flags(parser)
    parser.add_argument("--second", default="densenet121", help="the second network (default: densenet121)")
    options = parser.parse_args()
    text = "\n".join(table(options))
    print(text)
    fill("joining", text, EXPERIMENTS)
    return 0


def table(options: argparse.Namespace) -> Iterator[str]:
    first = prepare(options)

    def one() -> Maps:
        return refined(first)

    def two() -> Maps:
        return refined(prepare(argparse.Namespace(**{**vars(options), "network": options.second})))

    def larger() -> Maps:
        with changed({"preprocessing.LARGE_RATIO": LARGER_RATIO}):
            return refined(prepare(argparse.Namespace(**{**vars(options), "runs": options.runs / "larger"})))

    rows: dict[str, Callable[[], Maps]] = {
        options.network: one,
        options.second: two,
        "the mean of both": lambda: mean_of([one(), two()]),
        "ambiguous positions a class, half of it object": lambda: ambiguous(first, 0.5),
        "ambiguous positions a class, none of it object": lambda: ambiguous(first, 0.0),
        "15/7 instead of 10/7 of the input size": larger,
        "the mean of both sizes": lambda: mean_of([one(), larger()]),
    }
    yield "| maps | six classes | small classes | mean IoU |"
    yield "|---|---:|---:|---:|"
    for index, (name, make) in enumerate(rows.items()):
        path = options.runs / f"joining-{options.network}-{options.second}" / f"{index}.json"
        own = kept(path, lambda make=make: figures_of(first, boxed(first, make())))  # type: ignore[misc]
        yield f"| {name} | {own['six']:.1f} | {own['small']:.1f} | {own['mean IoU']:.1f} |"


def refined(material: Material) -> Maps:
    """The maps of a set that is learned from."""
    localizer = learned(material, 0)
    found: dict[tuple[str, str], NDArray[np.float32]] = {}
    assert localizer.refine is not None
    with running(material.plan, localizer.window) as runner:
        maps = localizer.maps.compute(runner.run(localizer.read, material.images), runner)
        for image in runner.run(localizer.refine, maps):
            if isinstance(image, ImageMaps):
                found |= {(image.read.image.image_id, name): own for name, own in image.maps.items()}
    return found


def mean_of(members: Sequence[Maps]) -> Maps:
    """At the finest grid of each pair."""
    joined = {}
    for pair in members[0]:
        own = [torch.from_numpy(maps[pair])[None, None] for maps in members if pair in maps]
        size_hw = max((values.shape[2:] for values in own), key=lambda hw: hw[0] * hw[1])
        resized = [F.interpolate(values, size_hw, mode="bilinear", align_corners=False) for values in own]
        joined[pair] = torch.cat(resized).mean(dim=0)[0].numpy()
    return joined


def boxed(material: Material, maps: Maps) -> list[BoxRecord]:
    """Maps boxed by their threshold."""
    return boxes_of(replace(material.stored, refine=RefineStage(Joined(maps), "")), material.images, material.plan)


@dataclass(frozen=True, slots=True, eq=False)
class ThreeSided(PixelClassifier):
    """Scores of background, the classes, and what is ambiguous, of which a part counts as object."""

    part: float = 0.5

    def probabilities(self, vectors: Tensor, allowed: Tensor) -> Tensor:
        always = allowed.new_ones((*allowed.shape[:-1], 1))
        found = PixelClassifier.probabilities(self, vectors, torch.cat([allowed, always], dim=-1))
        objects, unsure = found[:, 1:-1], found[:, -1:]
        share = objects / objects.sum(dim=1, keepdim=True).clamp(min=1e-6)
        return torch.cat([found[:, :1] + (1 - self.part) * unsure, objects + self.part * unsure * share], dim=1)


def ambiguous(material: Material, part: float) -> Maps:
    """The maps of a classifier for which positions without a sure label are a class of their own."""
    with changed({"set_classifier.fit": partial(fit_three_sided, part=part)}):
        return refined(material)


def fit_three_sided(positions: Positions, seed: int, *, part: float) -> PixelClassifier:
    """As :func:`pixel_classifier.fit`; from the second round on, with as many ambiguous positions as of background."""
    generator = torch.Generator().manual_seed(seed)
    labels = positions.labels
    last = positions.allowed.shape[1]
    chosen = pixel_classifier._balanced(labels, positions.image, generator)
    classifier = pixel_classifier._learn(positions.vectors[chosen], labels[chosen], last, generator)
    for index in range(pixel_classifier.ROUNDS):
        if index > 0:
            named = torch.where(labels == UNKNOWN, last, labels)
            sides = [named == BACKGROUND, (named > BACKGROUND) & (named < last), named == last]
            order = torch.randperm(len(labels), generator=generator)
            parts = []
            for side in sides:
                own = order[side[order]]
                own = own[positions.image[own].argsort(stable=True)]
                counts = torch.bincount(positions.image[own])
                first = counts.cumsum(0) - counts
                parts.append(own[torch.arange(len(own)) - first[positions.image[own]] < pixel_classifier.PER_IMAGE])
            chosen = torch.cat(parts)
            classifier = learn_three_sided(positions.vectors[chosen], named[chosen], last + 1, generator, part)
        labels = torch.cat(
            [
                pixel_classifier._labels(
                    classifier.probabilities(positions.vectors[own], positions.allowed[positions.image[own]])
                )
                for own in torch.split(torch.arange(len(labels)), pixel_classifier._CHUNK)
            ]
        )
    return classifier


def learn_three_sided(
    vectors: Tensor, labels: Tensor, outputs: int, generator: torch.Generator, part: float
) -> ThreeSided:
    """As ``pixel_classifier._learn``, with one more output that shares nothing."""
    dimensions = vectors.shape[1]
    shared, own = torch.zeros(3, dimensions + 1), torch.zeros(outputs - 2, dimensions + 1)
    for parameter in (shared, own):
        parameter.requires_grad_(True)

    def joined() -> Tensor:
        return torch.cat([shared[:1], shared[1:2] + own, shared[2:]])

    groups = [
        {"params": [shared], "weight_decay": pixel_classifier.WEIGHT_DECAY},
        {"params": [own], "weight_decay": pixel_classifier.CLASS_WEIGHT_DECAY},
    ]
    optimizer = torch.optim.AdamW(groups)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, pixel_classifier.LEARNING_RATE, pixel_classifier.STEPS)
    for _ in range(pixel_classifier.STEPS):
        batch = torch.randint(len(labels), (pixel_classifier.BATCH_SIZE,), generator=generator)
        weight = joined()
        loss = F.cross_entropy(F.linear(vectors[batch].float(), weight[:, :-1], weight[:, -1]), labels[batch])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    weight = joined().detach()
    return ThreeSided(weight[:, :-1].contiguous(), weight[:, -1].contiguous(), part)


if __name__ == "__main__":
    sys.exit(main())
