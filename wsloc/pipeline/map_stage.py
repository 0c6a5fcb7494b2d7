"""Second stage: views of images to the device, and maps back to their images.

A batch holds views of one size and is always filled up to the batch size, so that a view's map has the same bytes
whatever else is in its batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wsloc.classifiers import View
from wsloc.classifiers.scorer import logits_without_graph
from wsloc.classifiers.weights_hash import weights_hash
from wsloc.devices import device_name
from wsloc.errors import UserError
from wsloc.pipeline.features import average_features, watched_features
from wsloc.pipeline.model import Model
from wsloc.pipeline.read_stage import ReadImage
from wsloc.pipeline.runner import Runner, fan_out
from wsloc.pipeline.stage import Failed
from wsloc.saliency import PairBatch, average_views
from wsloc.seeding import stable_hash


@dataclass(frozen=True, slots=True, eq=False)
class ImageMaps:
    """An image with one map for each of its classes that has an output.

    Attributes:
        read: the image.
        maps: by class name, in order: float32 ``(h, w)`` over the whole image; NaN where no view reached.
        probabilities: by class name, in [0, 1], the mean over the views.
        ranks: by class name, the rank of its probability among those of all classes, from 1; None if there is only
            one class.
        features: by layer name, float16 ``(C, h, w)`` over the whole image; empty unless asked for.
    """

    read: ReadImage
    maps: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    probabilities: Mapping[str, float] = field(default_factory=dict)
    ranks: Mapping[str, int | None] = field(default_factory=dict)
    features: Mapping[str, NDArray[np.float16]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One network input: a view of an image, and the classes whose maps it must give (none: only scores)."""

    image_id: str
    view: int
    pixels: Tensor
    class_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class RowAnswer:
    """The results of a row: maps by class, the probability of every class ``(K,)``, features by layer."""

    maps: Mapping[str, Tensor]
    probabilities: Tensor
    features: Mapping[str, Tensor]


@dataclass(slots=True, eq=False)
class MapStage:
    """Asks the network for the maps of rows of one size.

    Attributes:
        model: network and method.
        batch_size: rows in a batch; short ones are filled up with zeros.
        seed: of the run.
        top_k: how many of the classifier's best classes to look for; None to look for the labels.
        layers: modules whose features are kept, as in ``named_modules()``.
        halved_to: rows in a batch since the memory of the device did not suffice; None as long as it did.
    """

    model: Model
    batch_size: int
    seed: int
    top_k: int | None = None
    layers: tuple[str, ...] = ()
    name: str = "saliency"
    on_device: bool = True
    halved_to: int | None = field(default=None, init=False)

    def compute(self, images: Iterable[ReadImage | Failed], runner: Runner) -> Iterator[ImageMaps | Failed]:
        """The maps of all classes of all images, in order; an image without a class that has an output has no maps."""
        if self.top_k is not None:
            images = with_best_classes(self, images, runner, self.top_k)
        return maps_of(self, images, runner)

    def why_no_map(self, class_name: str) -> str | None:
        """Why the network can give no map of a class; None if it can."""
        return self.model.bound.label_map.why_unusable(class_name)

    def identity(self) -> dict[str, Any]:
        """What distinguishes these maps from those of another network or machine, for manifests."""
        model = self.model.bound
        return {
            "network": model.classifier.name,
            "network_sha256": weights_hash(model.scorer.network),
            "device": device_name(model.scorer.device),
            "batch_size": self.batch_size,
        }

    def without_substitute(self) -> list[tuple[str, str]]:
        """The classes that have no true substitute among the network's outputs, each with a note."""
        return [(mapped.name, mapped.note) for mapped in self.model.bound.label_map.without_substitute()]

    def changes(self) -> dict[str, Any]:
        """Settings that the memory of the device did not allow, as they were used in the end, for manifests."""
        return {} if self.halved_to is None else {"batch_size": self.halved_to}

    def ranked_classes(self) -> int | None:
        """How many classes have an output; None if the best ones are looked for."""
        return len(self.model.bound.class_index) if self.top_k is None else None

    def group(self, row: Row) -> torch.Size:
        """Rows of one size share a batch."""
        return row.pixels.shape

    def __call__(self, rows: Sequence[Row]) -> list[RowAnswer]:
        """The answers of some rows.

        Raises:
            UserError: if the memory of the device does not suffice for a batch of one.
        """
        while True:
            size = self.halved_to or self.batch_size
            try:
                batches = (rows[start : start + size] for start in range(0, len(rows), size))
                return [answer for batch in batches for answer in self._answers(batch, size)]
            except RuntimeError as error:
                if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
                    raise
                if size == 1:
                    raise UserError(
                        "The memory of the device does not suffice for one image at a time; choose a smaller "
                        "`input_size`, or `device='cpu'`."
                    ) from error
                self.halved_to = size // 2

    def _answers(self, rows: Sequence[Row], size: int) -> list[RowAnswer]:
        model = self.model.bound
        images = self._stacked(rows, size, model.scorer.device)
        pairs = [(index, row, name) for index, row in enumerate(rows) for name in row.class_names]
        with watched_features(model.scorer.network, images, self.layers) as features:
            if pairs:
                attribution = model.method.compute(self._pairs(images, pairs, model.class_index))
                maps, logits = attribution.maps.cpu(), attribution.logits
            else:
                maps, logits = torch.zeros(0), logits_without_graph(model.scorer, images)
            kept = features()
        probabilities = model.scorer.probabilities(logits).cpu()
        of_row: list[dict[str, Tensor]] = [{} for _ in rows]
        for (index, _, name), saliency in zip(pairs, maps, strict=True):
            # A copy, so that no image holds on to the memory of the whole batch.
            of_row[index][name] = saliency.clone()
        return [
            RowAnswer(
                of_row[index], probabilities[index].clone(), {name: of_all[index] for name, of_all in kept.items()}
            )
            for index in range(len(rows))
        ]

    def _stacked(self, rows: Sequence[Row], size: int, device: torch.device) -> Tensor:
        # From pinned memory, the copy does not hold up this thread, and PyTorch keeps the memory until it is done.
        images = torch.zeros((size, *rows[0].pixels.shape), pin_memory=device.type == "cuda")
        torch.stack([row.pixels for row in rows], out=images[: len(rows)])
        return images.to(device, non_blocking=images.is_pinned())

    def _pairs(
        self, images: Tensor, pairs: Sequence[tuple[int, Row, str]], class_index: Mapping[str, int]
    ) -> PairBatch:
        return PairBatch(
            images,
            torch.tensor([index for index, _, _ in pairs], device=images.device),
            torch.tensor([class_index[name] for _, _, name in pairs], device=images.device),
            tuple(stable_hash(self.seed, f"{row.image_id}/{row.view}", name) for _, row, name in pairs),
        )


def with_best_classes(
    stage: MapStage, images: Iterable[ReadImage | Failed], runner: Runner, top_k: int
) -> Iterator[ReadImage | Failed]:
    """Each image with the classifier's ``top_k`` best classes as what to look for."""
    names = tuple(stage.model.bound.class_index)

    def split(image: ReadImage) -> list[Row]:
        return [Row(image.image.image_id, index, view.pixels) for index, view in enumerate(_views(image))]

    def join(image: ReadImage, answers: Sequence[RowAnswer | Failed]) -> ReadImage:
        best = _mean_probabilities(_answered(answers)).topk(min(top_k, len(names))).indices
        return replace(image, class_names=tuple(names[int(index)] for index in best))

    return fan_out(images, split, partial(runner.run, stage), join)


def maps_of(stage: MapStage, images: Iterable[ReadImage | Failed], runner: Runner) -> Iterator[ImageMaps | Failed]:
    """The maps of the classes that each image is asked for.

    The classes of an image share a row where the method makes their maps from the same passes, or where every image
    has the same number of classes: one forward pass, a backward pass each. Else each class has a row of its own: a
    shared row would make the whole batch wait for as many backward passes as its image of most classes needs.
    """
    model = stage.model.bound
    share = stage.top_k is not None or model.method.shares_passes

    def rows_of(image: ReadImage) -> list[Row]:
        known = tuple(name for name in image.class_names if name in model.class_index)
        groups = [known] if share else [(name,) for name in known]
        return [
            Row(image.image.image_id, index, view.pixels, group)
            for group in groups
            if group
            for index, view in enumerate(_views(image))
        ]

    def split(image: ReadImage) -> Sequence[Row | Failed]:
        return rows_of(image) or [Failed(image.image, stage.name, "no class has an output")]

    def join(image: ReadImage, answers: Sequence[RowAnswer | Failed]) -> ImageMaps:
        return _joined(image, rows_of(image), _answered(answers), model.class_index)

    return fan_out(images, split, partial(runner.run, stage), join)


def _joined(
    image: ReadImage, rows: Sequence[Row], answers: Sequence[RowAnswer], class_index: Mapping[str, int]
) -> ImageMaps:
    if not answers:
        return ImageMaps(image)
    assert image.views is not None
    count = len(image.views.views)
    maps = {
        # The answers of one group of classes stand together, one per view.
        name: average_views(image.views, [answer.maps[name] for answer in answers[first : first + count]])
        for first in range(0, len(rows), count)
        for name in rows[first].class_names
    }
    probabilities = _mean_probabilities(answers[:count])
    of_class = {name: float(probabilities[class_index[name]]) for name in maps}
    alone = len(probabilities) == 1
    ranks = {name: None if alone else 1 + int((probabilities > own).sum()) for name, own in of_class.items()}
    features = {
        layer: average_features(image.views, [answer.features[layer] for answer in answers[:count]])
        for layer in answers[0].features
    }
    return ImageMaps(image, maps, of_class, ranks, features)


def _answered(answers: Sequence[RowAnswer | Failed]) -> list[RowAnswer]:
    return [answer for answer in answers if not isinstance(answer, Failed)]


def _views(image: ReadImage) -> Sequence[View]:
    assert image.views is not None
    return image.views.views


def _mean_probabilities(answers: Sequence[RowAnswer]) -> Tensor:
    return torch.stack([answer.probabilities for answer in answers]).mean(dim=0)
