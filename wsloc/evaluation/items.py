"""What is judged: (image, class) pairs, one value for each, and their means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsloc.records import GroundTruth, Pair


@dataclass(frozen=True, slots=True, eq=False)
class Items:
    """The (image, class) pairs that are judged: those with a true box that is not difficult.

    Attributes:
        image_ids: I images, each with an item.
        class_names: K classes, each with an item.
        image_index: int64 ``(N,)``: image of each item, ascending.
        class_index: int64 ``(N,)``: class of each item, ascending within an image.
    """

    image_ids: tuple[str, ...]
    class_names: tuple[str, ...]
    image_index: NDArray[np.int64]
    class_index: NDArray[np.int64]

    def __len__(self) -> int:
        """N, the number of items."""
        return len(self.image_index)

    def pairs(self) -> list[Pair]:
        """Image id and class name of each item."""
        return [
            (self.image_ids[image], self.class_names[name])
            for image, name in zip(self.image_index.tolist(), self.class_index.tolist(), strict=True)
        ]

    def index_of(self) -> dict[Pair, int]:
        """The index of each item."""
        return {pair: index for index, pair in enumerate(self.pairs())}

    def counts(self) -> NDArray[np.int64]:
        """Items of each class, ``(K,)``."""
        return np.bincount(self.class_index, minlength=len(self.class_names))

    def keep(self, kept: NDArray[np.bool_]) -> Items:
        """Only the items that ``kept``, ``(N,)``, marks; images and classes without any go as well."""
        images, image_index = np.unique(self.image_index[kept], return_inverse=True)
        names, class_index = np.unique(self.class_index[kept], return_inverse=True)
        return Items(
            tuple(self.image_ids[n] for n in images),
            tuple(self.class_names[k] for k in names),
            image_index.astype(np.int64),
            class_index.astype(np.int64),
        )


@dataclass(frozen=True, slots=True, eq=False)
class ItemValues:
    """One value for each item, float64 ``(N,)``; its length is the number of images."""

    items: Items
    values: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.items.image_ids)


def judged_items(truth: Mapping[str, GroundTruth], class_names: Sequence[str] | None = None) -> Items:
    """The items of some images.

    Args:
        truth: by image id; its order is kept.
        class_names: only these classes; None for all that occur.
    """
    wanted = None if class_names is None else frozenset(class_names)
    pairs: list[Pair] = []
    for image_id, image in truth.items():
        found = {name for name, difficult in zip(image.class_names, image.difficult, strict=True) if not difficult}
        pairs += [(image_id, name) for name in sorted(found if wanted is None else found & wanted)]
    return items_of(pairs)


def items_of(pairs: Sequence[Pair]) -> Items:
    """Items from their pairs, those of an image together and in the order of the classes' names."""
    image_ids = tuple(dict.fromkeys(image_id for image_id, _ in pairs))
    class_names = tuple(sorted({name for _, name in pairs}))
    image_index = {image_id: index for index, image_id in enumerate(image_ids)}
    class_index = {name: index for index, name in enumerate(class_names)}
    return Items(
        image_ids,
        class_names,
        np.array([image_index[image_id] for image_id, _ in pairs], dtype=np.int64),
        np.array([class_index[name] for _, name in pairs], dtype=np.int64),
    )


def class_means(weights: NDArray[np.float64], items: Items, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of each class's items; arguments and result as of :func:`class_ratios`."""
    return class_ratios(weights, items, values, np.ones(len(items)))


def class_ratios(
    weights: NDArray[np.float64], items: Items, parts: NDArray[np.float64], wholes: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Sum of parts over sum of wholes of each class's items under B weightings of the images.

    Args:
        weights: ``(B, I)``, at least 0.
        items: N items.
        parts: ``(N,)``.
        wholes: ``(N,)``, at least 0.

    Returns:
        ``(B, K)``; NaN where the wholes of a class sum to nothing.
    """
    order = np.argsort(items.class_index, kind="stable")
    starts = np.searchsorted(items.class_index[order], np.arange(len(items.class_names)))
    drawn = weights[:, items.image_index[order]]
    whole = np.add.reduceat(drawn * wholes[order], starts, axis=1)
    part = np.add.reduceat(drawn * parts[order], starts, axis=1)
    ratios: NDArray[np.float64] = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
    return ratios


def mean_over_classes(weights: NDArray[np.float64], judged: ItemValues) -> NDArray[np.float64]:
    """Mean over classes of their means, ``(B,)``; a class that a resample lacks is left out of its mean."""
    return mean_of_known(class_means(weights, judged.items, judged.values))


def mean_of_known(by_class: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the classes of ``(B, K)`` that have a value, ``(B,)``; NaN where none has."""
    known = ~np.isnan(by_class)
    total, count = np.where(known, by_class, 0).sum(axis=1), known.sum(axis=1)
    return np.asarray(np.divide(total, count, out=np.full(len(by_class), np.nan), where=count > 0))


def mean_over_items(weights: NDArray[np.float64], judged: ItemValues) -> NDArray[np.float64]:
    """Mean over items, ``(B,)``."""
    return ratio_over_items(weights, judged.items, judged.values, np.ones(len(judged.items)))


def ratio_over_items(
    weights: NDArray[np.float64], items: Items, parts: NDArray[np.float64], wholes: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Sum of parts over sum of wholes of all items, ``(B,)``; arguments as of :func:`class_ratios`."""
    part, whole = (
        weights @ np.bincount(items.image_index, values, minlength=len(items.image_ids)) for values in (parts, wholes)
    )
    return np.asarray(np.divide(part, whole, out=np.full(len(weights), np.nan), where=whole > 0))
