"""Second stage: batches to the device, and maps back to their images.

A batch holds views of the same size and is always filled up to the batch size, so that a view's map
has the same bytes whatever its companions are.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wsloc.classifiers import View
from wsloc.classifiers.scorer import logits_without_graph
from wsloc.errors import UserError
from wsloc.pipeline.localizer import Localizer
from wsloc.pipeline.reading import PreparedImage
from wsloc.saliency import PairBatch, average_views
from wsloc.seeding import stable_hash

_WAITING_BATCHES = 8
"""Batches' worth of views that may wait for companions of their size before a short batch is run."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageMaps:
    """An image with one map for each of its classes.

    Attributes:
        prepared: the image.
        maps: by class name, in order: float32 ``(h, w)`` over the whole image; NaN where no view reached.
        probabilities: by class name, in [0, 1], the mean over the views.
        ranks: by class name, the place of its probability among those of all classes, from 1; None where there is only
            one class.
        seconds: of the device's work that fell to this image.
    """

    prepared: PreparedImage
    maps: dict[str, NDArray[np.float32]]
    probabilities: dict[str, float]
    ranks: dict[str, int | None]
    seconds: float


@dataclass(eq=False)
class _PendingImage:
    """An image on its way: what is asked of the device, and what has come back so far."""

    prepared: PreparedImage
    class_names: tuple[str, ...]
    missing: int = 0
    """Rows that are not back yet."""
    maps: dict[tuple[str, int], Tensor] = field(default_factory=dict)
    """By class name and view."""
    probabilities: dict[int, Tensor] = field(default_factory=dict)
    """By view, ``(K,)`` for all classes of the scorer."""
    seconds: float = 0.0

    @property
    def views(self) -> tuple[View, ...]:
        return self.prepared.views.views if self.prepared.views else ()

    def mean_probabilities(self) -> Tensor:
        return torch.stack([self.probabilities[view] for view in range(len(self.views))]).mean(dim=0)


@dataclass(frozen=True, slots=True, eq=False)
class _BatchRow:
    """One network input: a view of an image, and the classes whose maps it must give."""

    image: _PendingImage
    view: int
    class_names: tuple[str, ...]

    @property
    def image_id(self) -> str:
        return self.image.prepared.image.image_id

    @property
    def pixels(self) -> Tensor:
        return self.image.views[self.view].pixels


def compute_maps(localizer: Localizer, prepared_images: Iterable[PreparedImage]) -> Iterator[ImageMaps]:
    """Compute the maps of all classes of all images, in order.

    An image that could not be read, or has no class with an output, comes through without maps.
    """
    pending = (_PendingImage(*pair) for pair in _with_classes(localizer, prepared_images))
    done = _through_device(localizer, pending, partial(_rows, localizer), partial(_give_maps, localizer))
    return (_finished(localizer, image) for image in done)


def _with_classes(
    localizer: Localizer, prepared_images: Iterable[PreparedImage]
) -> Iterator[tuple[PreparedImage, tuple[str, ...]]]:
    """Each image with the classes to look for: its labels, or the classifier's best."""
    if localizer.top_k is None:
        for prepared in prepared_images:
            yield prepared, tuple(label for label in prepared.image.labels if label in localizer.class_index)
        return
    names = tuple(localizer.class_index)
    pending = (_PendingImage(prepared, ()) for prepared in prepared_images)
    for image in _through_device(localizer, pending, _rows_without_classes, partial(_give_probabilities, localizer)):
        if not image.views:
            yield image.prepared, ()
            continue
        best = image.mean_probabilities().topk(min(localizer.top_k, len(names))).indices
        yield image.prepared, tuple(names[int(index)] for index in best)


def _rows(localizer: Localizer, image: _PendingImage) -> list[_BatchRow]:
    """The rows that an image fills.

    The classes of an image share a row where the method makes their maps from the same passes, or where every
    image has the same number of classes: one forward pass, a backward pass each. Else each class has a row of
    its own: a shared row would make the whole batch wait for as many backward passes as its image of most
    classes needs.
    """
    shared = localizer.method.shares_passes or localizer.top_k is not None
    groups = [image.class_names] if shared else [(name,) for name in image.class_names]
    return [_BatchRow(image, view, group) for group in groups if group for view in range(len(image.views))]


def _rows_without_classes(image: _PendingImage) -> list[_BatchRow]:
    return [_BatchRow(image, view, ()) for view in range(len(image.views))]


def _through_device(
    localizer: Localizer,
    images: Iterable[_PendingImage],
    rows_of: Callable[[_PendingImage], list[_BatchRow]],
    compute: Callable[[list[_BatchRow]], None],
) -> Iterator[_PendingImage]:
    """Run all rows of all images in batches; yields the images in order, each when its last row is back."""
    waiting: deque[_PendingImage] = deque()
    groups: dict[torch.Size, list[_BatchRow]] = {}

    def run(batch: list[_BatchRow]) -> None:
        start = time.perf_counter()
        _on_device(localizer, compute, batch)
        for row in batch:
            row.image.missing -= 1
            row.image.seconds += (time.perf_counter() - start) / len(batch)

    for image in images:
        rows = rows_of(image)
        image.missing = len(rows)
        waiting.append(image)
        for row in rows:
            if batch := _filled_batch(groups, row, localizer.batch_size):
                run(batch)
        # An image of a rare size must not hold back any number of others; the group begun first holds its row.
        while waiting[0].missing and len(waiting) > _WAITING_BATCHES * localizer.batch_size:
            run(groups.pop(next(iter(groups))))
        while waiting and not waiting[0].missing:
            yield waiting.popleft()
    for batch in groups.values():
        run(batch)
    yield from waiting


def _filled_batch(groups: dict[torch.Size, list[_BatchRow]], row: _BatchRow, batch_size: int) -> list[_BatchRow]:
    """Put a row to those of its size; returns a batch when one is full, or too many rows wait, else nothing."""
    size = row.pixels.shape
    groups.setdefault(size, []).append(row)
    if len(groups[size]) == batch_size:
        return groups.pop(size)
    if sum(map(len, groups.values())) > _WAITING_BATCHES * batch_size:
        # The group that was begun first holds back the oldest image.
        return groups.pop(next(iter(groups)))
    return []


def _on_device(localizer: Localizer, compute: Callable[[list[_BatchRow]], None], batch: list[_BatchRow]) -> None:
    try:
        compute(batch)
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
        raise UserError(
            f"The device is out of memory at `batch_size={localizer.batch_size}`; choose a smaller one."
        ) from error


def _give_maps(localizer: Localizer, batch: list[_BatchRow]) -> None:
    """Compute the maps of a batch, and hand each to its image."""
    pairs = [(number, row, name) for number, row in enumerate(batch) for name in row.class_names]
    device = localizer.scorer.device
    attribution = localizer.method.compute(
        PairBatch(
            _stacked(localizer, batch),
            torch.tensor([number for number, _, _ in pairs], device=device),
            torch.tensor([localizer.class_index[name] for _, _, name in pairs], device=device),
            tuple(stable_hash(localizer.seed, f"{row.image_id}/{row.view}", name) for _, row, name in pairs),
        )
    )
    for (_, row, name), saliency in zip(pairs, attribution.maps.cpu(), strict=True):
        # A copy, so that no image holds on to the memory of the whole batch.
        row.image.maps[name, row.view] = saliency.clone()
    _keep_probabilities(localizer, batch, attribution.logits)


def _give_probabilities(localizer: Localizer, batch: list[_BatchRow]) -> None:
    _keep_probabilities(localizer, batch, logits_without_graph(localizer.scorer, _stacked(localizer, batch)))


def _keep_probabilities(localizer: Localizer, batch: list[_BatchRow], logits: Tensor) -> None:
    for row, probabilities in zip(batch, localizer.scorer.probabilities(logits).cpu(), strict=False):
        row.image.probabilities[row.view] = probabilities.clone()


def _stacked(localizer: Localizer, batch: list[_BatchRow]) -> Tensor:
    """The pixels of a batch on the device, filled up with zeros to the batch size."""
    images = torch.zeros((localizer.batch_size, *batch[0].pixels.shape))
    torch.stack([row.pixels for row in batch], out=images[: len(batch)])
    return images.to(localizer.scorer.device)


def _finished(localizer: Localizer, image: _PendingImage) -> ImageMaps:
    prepared = image.prepared
    if prepared.views is None or not image.class_names:
        return ImageMaps(prepared, {}, {}, {}, image.seconds)
    probabilities = image.mean_probabilities()
    maps = {
        name: average_views(prepared.views, [image.maps[name, view] for view in range(len(image.views))])
        for name in image.class_names
    }
    of_class = {name: float(probabilities[localizer.class_index[name]]) for name in image.class_names}
    alone = len(probabilities) == 1
    ranks = {name: None if alone else 1 + int((probabilities > own).sum()) for name, own in of_class.items()}
    return ImageMaps(prepared, maps, of_class, ranks, image.seconds)
