"""The interface for a refiner of your own: a function that turns a box into a better box, or a mask.

    refine(image, box, mask) -> box | mask | None

- ``image``: RGB uint8 ``(H, W, 3)``, EXIF orientation applied.
- ``box``: float64 ``(4,)``, ``x0, y0, x1, y1``, half-open, pixels of the image.
- ``mask``: bool ``(H, W)``, or None if the box has none (a detector gives boxes alone).
- the answer: a box ``(4,)`` in the same frame, a mask ``(H, W)`` whose box counts, or None to keep the box.

``docs/training.md`` has an example with a promptable segmenter. wsloc depends on none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsloc import boxes
from wsloc.errors import ItemError
from wsloc.plugins import import_named, named_error
from wsloc.records import REFINED, BoxRecord, Localization
from wsloc.run_lengths import decode_at

Refine = Callable[[NDArray[np.uint8], NDArray[np.float64], NDArray[np.bool_] | None], NDArray[Any] | None]


def load_refine(name: str) -> Refine:
    """The function that ``package.module:function`` names; the current folder is searched, too.

    Raises:
        UserError: if there is none.
    """
    found: Refine = import_named(name, "refiner")
    return found


def refined(record: BoxRecord, image_rgb: NDArray[np.uint8], refine: Refine) -> BoxRecord:
    """A record with its box refined; the same record where the refiner keeps it.

    Args:
        record: its mask, where it has one, is handed on at the size of the image.
        image_rgb: uint8 ``(H, W, 3)``.
        refine: the refiner.

    Raises:
        ItemError: if the refiner raises, or gives neither a box nor a mask with anything in it.
    """
    height, width = image_rgb.shape[:2]
    mask = None if record.mask_rle is None else decode_at(record.mask_rle, (width, height))
    try:
        answer = refine(image_rgb, np.array(record.box_xyxy), mask)
    except Exception as error:  # the user's own code may raise anything
        raise ItemError(f"the refiner raised {named_error(error)}") from error
    if answer is None:
        return record
    try:
        found = np.asarray(answer)
    except Exception as error:  # a tensor on a GPU, a list of unequal lists
        raise ItemError(f"the refiner did not return an array: {named_error(error)}") from error
    if found.dtype.kind not in "biuf":
        raise ItemError(f"the refiner returned an array of {found.dtype}, neither a box nor a mask")
    if found.shape == (height, width):
        inside = found.astype(bool)
        if found.dtype.kind == "f" and not np.array_equal(inside, found):
            raise ItemError("the refiner returned a mask of numbers other than 0 and 1; compare it with a threshold")
        if not inside.any():
            raise ItemError("the refiner returned an empty mask")
        found = np.array(boxes.mask_box(inside), dtype=np.float64)
    if found.shape != (4,):
        raise ItemError(
            f"the refiner returned an array of shape {found.shape}, neither a box (4,) nor a mask ({height}, {width})"
        )
    box = boxes.clip(found.astype(np.float64), (width, height))
    if not np.isfinite(box).all() or boxes.area(box)[0] == 0:
        raise ItemError(f"the refiner returned a box without area: {found.tolist()}")
    x0, y0, x1, y1 = box[0].tolist()
    fraction = (x1 - x0) * (y1 - y0) / (width * height)
    if isinstance(record, Localization):
        record = replace(record, mask_rle=None)
    return replace(record, box_xyxy=(x0, y0, x1, y1), area_fraction=fraction, method=record.method + REFINED)
