"""The refiner ``pixel-classifier``: maps of what the whole set says, in place of what each image alone says."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from wsloc.config import RefinementSettings
from wsloc.errors import ItemError, UserError
from wsloc.files.atomic import write_atomic
from wsloc.learning.feature_layers import choose_layers
from wsloc.learning.hypercolumns import Moments, Projection, dimensions_of, hypercolumns
from wsloc.learning.pixel_classifier import BACKGROUND, UNKNOWN, PixelClassifier, Positions, fit
from wsloc.learning.propagation import propagate
from wsloc.pipeline.map_stage import ImageMaps
from wsloc.pipeline.refine_stage import RefinerKind, Stream
from wsloc.seeding import stable_hash
from wsloc.segmentation import make_seeds, working_map
from wsloc.segmentation.seeds import BACKGROUND as BACKGROUND_SEED
from wsloc.segmentation.seeds import FOREGROUND as FOREGROUND_SEED

FOREGROUND_QUANTILE, BACKGROUND_QUANTILE = 0.95, 0.30
"""Of a map, for its first labels: the quantiles of Simonyan et al. 2013."""
SMOOTHING = 0.02
"""Sigma of the Gaussian that smooths a map before, as a fraction of its longer side."""
POSITIONS = 200
"""Positions sampled per image."""
MAX_POSITIONS = 3_000_000
"""Positions of the whole set; larger sets give fewer per image, so that memory stays below 2 GB."""
VARIANCE_POSITIONS = 60
"""Positions per image for the principal components."""
MIN_IMAGES = 20
"""With 10 images it finds less than each image alone does, see docs/experiments.md."""
HALF_TRUST = 10
"""Number of images of a class at which its classifier counts as much as an image's own map."""
RANK_SMOOTHING = 0.03
"""Sigma of the Gaussian that smooths the ranks of an image's own map, as a fraction of its longer side."""


@dataclass(frozen=True, eq=False)
class SetClassifier:
    """A fitted refiner.

    Attributes:
        projections: by layer, the finest grid first.
        classifier: of the classes in ``counts``.
        counts: images that each class was learned from.
    """

    projections: Mapping[str, Projection]
    classifier: PixelClassifier
    counts: Mapping[str, int]

    def __call__(self, image: ImageMaps) -> ImageMaps:
        """The image with the probability of each of its classes at each position, in [0, 1], as maps, propagated.

        A class of few images is mixed with the ranks of the image's own map; a class that was never seen has only
        these. If that map is unusable, the set alone counts; for a class that was never seen the map stays as it is.

        Raises:
            ItemError: if its features are not finite.
        """
        columns = hypercolumns(image.features, self.projections)
        if not columns.isfinite().all():
            raise ItemError("the network's features are not finite")
        names, size_hw = list(self.counts), (columns.shape[1], columns.shape[2])
        probabilities = self.classifier.probabilities(columns.flatten(1).T, _allowed(image.maps, names))
        mixed: dict[str, Tensor] = {}
        for name, saliency in image.maps.items():
            own = _ranks(saliency, size_hw)
            if name in self.counts:
                learned = probabilities[:, 1 + names.index(name)].view(size_hw)
                trust = self.counts[name] / (self.counts[name] + HALF_TRUST)
                mixed[name] = learned if own is None else learned**trust * own ** (1 - trust)
            elif own is not None:
                mixed[name] = own
        if not mixed:
            return image
        # The coarsest layer, the last, has the least to say about where objects end.
        *finer, coarsest = (projection.basis.shape[1] for projection in self.projections.values())
        maps = propagate(torch.stack(list(mixed.values())), columns[: sum(finer) or coarsest])
        return replace(image, maps={**image.maps, **dict(zip(mixed, maps.numpy(), strict=True))})

    def save(self, path: Path, metadata: Mapping[str, str]) -> None:
        """Write everything to a safetensors file."""
        tensors = {"weight": self.classifier.weight, "bias": self.classifier.bias}
        for layer, projection in self.projections.items():
            tensors |= {f"mean/{layer}": projection.mean, f"basis/{layer}": projection.basis.contiguous()}
        tensors["counts"] = torch.tensor(list(self.counts.values()))
        names = json.dumps({"layers": list(self.projections), "classes": list(self.counts)}).encode()
        tensors["names"] = torch.frombuffer(bytearray(names), dtype=torch.uint8)
        write_atomic(path, save(tensors, dict(metadata)))


def load(path: Path) -> SetClassifier:
    """Read back what :meth:`SetClassifier.save` wrote.

    Raises:
        UserError: if the file is damaged, or another refiner's.
    """
    try:
        with safe_open(path, "pt") as file:
            names = json.loads(bytes(file.get_tensor("names").tolist()))
            return SetClassifier(
                {
                    layer: Projection(file.get_tensor(f"mean/{layer}"), file.get_tensor(f"basis/{layer}"))
                    for layer in names["layers"]
                },
                PixelClassifier(file.get_tensor("weight"), file.get_tensor("bias")),
                dict(zip(names["classes"], file.get_tensor("counts").tolist(), strict=True)),
            )
    except Exception as error:
        raise UserError(f"{path} is not a fitted pixel classifier: {error}") from error


def fit_set(stream: Stream, _settings: RefinementSettings, seed: int) -> SetClassifier:
    """Learn from a set in two passes: one for the principal components, one for a sample of positions.

    Raises:
        UserError: if the maps name no object or no background.
    """
    projections, counts, num_images = _first_pass(stream, seed)
    positions = _second_pass(stream, projections, list(counts), num_images, seed)
    if not (positions.labels > BACKGROUND).any() or not (positions.labels == BACKGROUND).any():
        raise UserError("No map of the set tells object from background, so that nothing can be learned from it.")
    return SetClassifier(projections, fit(positions, seed), counts)


def _first_pass(stream: Stream, seed: int) -> tuple[dict[str, Projection], dict[str, int], int]:
    """The principal components of each layer, finest first, the number of images of each class, and of all images."""
    moments: dict[str, Moments] = {}
    cells: dict[str, int] = {}
    counts: dict[str, int] = {}
    num_images = 0
    for image in _usable(stream):
        num_images += 1
        for layer, features in image.features.items():
            vectors = features.reshape(len(features), -1).T
            cells.setdefault(layer, len(vectors))
            chosen = _draw(len(vectors), VARIANCE_POSITIONS, seed, image)
            moments.setdefault(layer, Moments()).add(vectors[chosen])
        for name in image.maps:
            counts[name] = counts.get(name, 0) + 1
    if not moments:
        raise UserError("No image has a map and finite features, so that nothing can be learned from the set.")
    finest_first = sorted(moments, key=lambda layer: -cells[layer])
    dimensions = dimensions_of(finest_first)
    projections = {layer: moments[layer].projection(dimensions[layer]) for layer in finest_first}
    return projections, dict(sorted(counts.items())), num_images


def _second_pass(
    stream: Stream, projections: Mapping[str, Projection], names: list[str], num_images: int, seed: int
) -> Positions:
    """A sample of the positions of all images, labeled by the images' own maps."""
    per_image = max(1, min(POSITIONS, MAX_POSITIONS // num_images))
    # Joined in place: a list of tensors would need the memory twice.
    dimensions = sum(own.basis.shape[1] for own in projections.values())
    vectors = torch.empty(per_image * num_images, dimensions, dtype=torch.float16)
    labels, of_image = torch.empty(2, len(vectors), dtype=torch.int64)
    allowed = torch.empty(num_images, 1 + len(names), dtype=torch.bool)
    filled = 0
    for index, image in enumerate(_usable(stream)):
        columns = hypercolumns(image.features, projections)
        own = map_labels(image, (columns.shape[1], columns.shape[2]), names)
        chosen = _draw(own.numel(), per_image, seed, image)
        part = slice(filled, filled := filled + len(chosen))
        vectors[part] = columns.flatten(1).T[chosen].half()
        labels[part] = own.flatten()[chosen]
        of_image[part] = index
        allowed[index] = _allowed(image.maps, names)
    return Positions(vectors[:filled], labels[:filled], of_image[:filled], allowed)


def map_labels(image: ImageMaps, size_hw: tuple[int, int], names: list[str]) -> Tensor:
    """What the maps of an image say of its positions.

    Returns:
        Int64 ``size_hw``: the class whose map is above its quantile, and most so where several are; background where
        all maps are below theirs; else unknown. All unknown where no map is usable.
    """
    label, strength = torch.full(size_hw, UNKNOWN), np.zeros(size_hw, dtype=np.float32)
    background = torch.ones(size_hw, dtype=torch.bool)
    usable = False
    for name, saliency in image.maps.items():
        try:
            values = working_map(saliency, size_hw, SMOOTHING)
        except ItemError:
            continue
        usable = True
        seeds = make_seeds(values, FOREGROUND_QUANTILE, BACKGROUND_QUANTILE)
        stronger = (seeds == FOREGROUND_SEED) & (values > strength)
        label[torch.from_numpy(stronger)] = 1 + names.index(name)
        strength = np.where(stronger, values, strength)
        background &= torch.from_numpy(seeds == BACKGROUND_SEED)
    if usable:
        label[background] = BACKGROUND
    return label


def _ranks(saliency: NDArray[np.float32], size_hw: tuple[int, int]) -> Tensor | None:
    """The fraction of positions below each one in an image's own map, in [0, 1]; None if the map is not usable."""
    try:
        values = working_map(saliency, size_hw, SMOOTHING)
        known = ~np.isnan(values)
        ordered = np.sort(values[known])
        # Equal values share their mean rank, undecided ones have the middle one.
        below, up_to = np.searchsorted(ordered, values, "left"), np.searchsorted(ordered, values, "right")
        ranks = np.where(known, (below + up_to) / (2 * len(ordered)), 0.5).astype(np.float32)
        return torch.from_numpy(working_map(ranks, size_hw, RANK_SMOOTHING))
    except ItemError:
        return None


def _usable(stream: Stream) -> Iterator[ImageMaps]:
    return (
        image
        for image in stream()
        if image.maps and all(np.isfinite(features).all() for features in image.features.values())
    )


def _allowed(shown: Mapping[str, object], names: list[str]) -> Tensor:
    return torch.tensor([True, *(name in shown for name in names)])


def _draw(count: int, wanted: int, seed: int, image: ImageMaps) -> Tensor:
    """Some of the indices of an image, the same in every pass."""
    generator = torch.Generator().manual_seed(stable_hash(seed, image.read.image.image_id, "positions"))
    return torch.randperm(count, generator=generator)[:wanted]


PIXEL_CLASSIFIER = RefinerKind(fit_set, load, choose_layers, MIN_IMAGES)
