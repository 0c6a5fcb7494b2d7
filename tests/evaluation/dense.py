"""Items written down as a table: a row an image, a column a class, NaN where there is no item."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wsloc.evaluation.items import Items
from wsloc.evaluation.judging import Judged


def items_of(table: ArrayLike) -> Items:
    """Items ``0``, ``1`` ... by image, of classes ``0``, ``1`` ...; each column must hold an item."""
    present = ~np.isnan(np.asarray(table, dtype=np.float64))
    image_index, class_index = np.nonzero(present)
    images, classes = present.shape
    return Items(tuple(map(str, range(images))), tuple(map(str, range(classes))), image_index, class_index)


def judged_of(table: ArrayLike, image_iou: Sequence[float] | NDArray[np.float64], rank: ArrayLike = ()) -> Judged:
    """The IoUs of a table, and the ranks of another if there is one."""
    items, values = items_of(table), np.asarray(table, dtype=np.float64)
    ranks = np.asarray(rank, dtype=np.float64)
    present = ~np.isnan(values)
    return Judged(items, values[present], np.asarray(image_iou), ranks[present] if ranks.size else None)


def table_of(items: Items, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The table of one value for each item."""
    table = np.full((len(items.image_ids), len(items.class_names)), np.nan)
    table[items.image_index, items.class_index] = values
    return table
