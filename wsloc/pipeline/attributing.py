"""Second stage: batches to the device, and maps back to their images.

A batch holds views of the same size and is always filled up to the batch size, so that a view's map
has the same bytes whatever its companions are.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wsloc.classifiers import scoring_mode
from wsloc.errors import UserError
from wsloc.pipeline.localizer import Localizer
from wsloc.pipeline.reading import Prepared
from wsloc.saliency import average_views

_WAITING_BATCHES = 8
"""Batches' worth of views that may wait for companions of their size before a short batch is run."""


@dataclass(frozen=True, slots=True, eq=False)
class Attributed:
    """An image with one map for each of its classes.

    Attributes:
        prepared: the image.
        class_names: the classes that have a map, in order.
        maps: one for each class, float32 ``(h, w)`` over the whole image; NaN where no view reached.
        probabilities: one for each class, in [0, 1], the mean over the views.
        seconds: of the device's work that fell to this image.
    """

    prepared: Prepared
    class_names: tuple[str, ...]
    maps: tuple[NDArray[np.float32], ...]
    probabilities: tuple[float, ...]
    seconds: float


@dataclass(eq=False)
class _Progress:
    """An image on its way: what is asked of the device, and what has come back so far."""

    prepared: Prepared
    class_names: tuple[str, ...]
    asked: tuple[tuple[int, tuple[int, ...]], ...]
    """Rows of a batch: a view, and places in ``class_names``."""
    missing: int = field(init=False)
    maps: dict[tuple[int, int], Tensor] = field(default_factory=dict)
    """By (place, view)."""
    probabilities: dict[int, Tensor] = field(default_factory=dict)
    """By view, ``(K,)`` for all classes of the scorer."""
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.missing = len(self.asked)


@dataclass(frozen=True, slots=True, eq=False)
class _Row:
    progress: _Progress
    view: int
    places: tuple[int, ...]
    pixels: Tensor


def attribute(localizer: Localizer, prepared_images: Iterable[Prepared]) -> Iterator[Attributed]:
    """Compute the maps of all classes of all images, in order.

    An image that could not be read, or has no class with an output, comes through without maps.
    """
    asked = (
        _Progress(prepared, names, _ask(localizer, prepared, names))
        for prepared, names in _with_classes(localizer, prepared_images)
    )
    return (_finished(localizer, progress) for progress in _through_device(localizer, asked, _compute_maps))


def _with_classes(
    localizer: Localizer, prepared_images: Iterable[Prepared]
) -> Iterator[tuple[Prepared, tuple[str, ...]]]:
    """Each image with the classes to look for: its labels, or the classifier's best."""
    if localizer.top_k is None:
        for prepared in prepared_images:
            yield prepared, tuple(label for label in prepared.image.labels if label in localizer.class_index)
        return
    names = tuple(localizer.class_index)
    asked = (_Progress(prepared, (), tuple((view, ()) for view in _views(prepared))) for prepared in prepared_images)
    for progress in _through_device(localizer, asked, _compute_probabilities):
        if not progress.probabilities:
            yield progress.prepared, ()
            continue
        best = _mean_probabilities(progress).topk(min(localizer.top_k, len(names))).indices
        yield progress.prepared, tuple(names[int(index)] for index in best)


def _ask(
    localizer: Localizer, prepared: Prepared, class_names: tuple[str, ...]
) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """The rows that an image fills.

    Where every image has the same number of classes, they share a row: one forward pass, a backward pass
    each. Where the numbers differ, each class has a row of its own: a shared row would make the whole batch
    wait for as many backward passes as its image of most classes needs.
    """
    places = tuple(range(len(class_names)))
    if localizer.top_k is not None:
        return tuple((view, places) for view in _views(prepared) if places)
    return tuple((view, (place,)) for place in places for view in _views(prepared))


def _views(prepared: Prepared) -> range:
    return range(len(prepared.views.views) if prepared.views else 0)


def _through_device(
    localizer: Localizer, images: Iterable[_Progress], compute: Callable[[Localizer, list[_Row]], None]
) -> Iterator[_Progress]:
    """Run all rows of all images in batches; yields the images in order, each when its last row is back."""
    waiting: deque[_Progress] = deque()

    def rows() -> Iterator[_Row]:
        for progress in images:
            waiting.append(progress)
            for view, places in progress.asked:
                assert progress.prepared.views is not None
                yield _Row(progress, view, places, progress.prepared.views.views[view].pixels)

    for batch in _in_batches(rows(), localizer.batch_size):
        start = time.perf_counter()
        try:
            compute(localizer, batch)
        except torch.OutOfMemoryError as error:
            raise UserError(
                f"The device is out of memory at --batch-size {localizer.batch_size}; choose a smaller one."
            ) from error
        for row in batch:
            row.progress.missing -= 1
            row.progress.seconds += (time.perf_counter() - start) / len(batch)
        while waiting and not waiting[0].missing:
            yield waiting.popleft()
    yield from waiting


def _in_batches(rows: Iterable[_Row], batch_size: int) -> Iterator[list[_Row]]:
    """Rows of one size together, at most ``batch_size``; a short batch only when too many wait, or at the end."""
    groups: dict[torch.Size, list[_Row]] = {}
    for row in rows:
        group = groups.setdefault(row.pixels.shape, [])
        group.append(row)
        if len(group) == batch_size:
            yield groups.pop(row.pixels.shape)
        elif sum(map(len, groups.values())) > _WAITING_BATCHES * batch_size:
            # The group that was begun first holds back the oldest image.
            yield groups.pop(next(iter(groups)))
    yield from groups.values()


def _compute_maps(localizer: Localizer, batch: list[_Row]) -> None:
    scorer = localizer.scorer
    pairs = [(number, row, place) for number, row in enumerate(batch) for place in row.places]
    classes = [localizer.class_index[row.progress.class_names[place]] for _, row, place in pairs]
    attribution = localizer.method(
        scorer,
        _stacked(localizer, batch),
        torch.tensor([number for number, _, _ in pairs], device=scorer.device),
        torch.tensor(classes, device=scorer.device),
    )
    for (_, row, place), saliency in zip(pairs, attribution.maps.cpu(), strict=True):
        # A copy, so that no image holds on to the memory of the whole batch.
        row.progress.maps[place, row.view] = saliency.clone()
    _keep_probabilities(localizer, batch, attribution.logits)


def _compute_probabilities(localizer: Localizer, batch: list[_Row]) -> None:
    with scoring_mode(localizer.scorer.network), torch.no_grad():
        logits = localizer.scorer.logits(_stacked(localizer, batch))
    _keep_probabilities(localizer, batch, logits)


def _keep_probabilities(localizer: Localizer, batch: list[_Row], logits: Tensor) -> None:
    probabilities = localizer.scorer.probabilities(logits).cpu()
    for number, row in enumerate(batch):
        row.progress.probabilities[row.view] = probabilities[number].clone()


def _stacked(localizer: Localizer, batch: list[_Row]) -> Tensor:
    images = torch.zeros((localizer.batch_size, *batch[0].pixels.shape))
    torch.stack([row.pixels for row in batch], out=images[: len(batch)])
    return images.to(localizer.scorer.device)


def _mean_probabilities(progress: _Progress) -> Tensor:
    return torch.stack([progress.probabilities[view] for view in _views(progress.prepared)]).mean(dim=0)


def _finished(localizer: Localizer, progress: _Progress) -> Attributed:
    prepared, names = progress.prepared, progress.class_names
    if prepared.views is None or not names:
        return Attributed(prepared, (), (), (), progress.seconds)
    probabilities = _mean_probabilities(progress)
    maps = tuple(
        average_views(prepared.views, [progress.maps[place, view] for view in _views(prepared)])
        for place in range(len(names))
    )
    of_class = tuple(float(probabilities[localizer.class_index[name]]) for name in names)
    return Attributed(prepared, names, maps, of_class, progress.seconds)
