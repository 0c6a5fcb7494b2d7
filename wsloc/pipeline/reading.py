"""First stage: from an image file to the network's inputs and the working image."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsloc.classifiers import Views
from wsloc.errors import ItemError
from wsloc.images import read_image
from wsloc.pipeline.localizer import Localizer
from wsloc.records import ImageRecord
from wsloc.segmentation import working_image


@dataclass(frozen=True, slots=True, eq=False)
class PreparedImage:
    """One image, read; or the reason why it could not be.

    Attributes:
        image: its record.
        size_wh: after EXIF transposition; (0, 0) for an image that could not be read.
        working_rgb: uint8 ``(h, w, 3)``, at the resolution of the cut; None likewise.
        views: the network's inputs; None likewise.
        error: None, or the sentence for the record.
        seconds: of work.
    """

    image: ImageRecord
    size_wh: tuple[int, int]
    working_rgb: NDArray[np.uint8] | None
    views: Views | None
    error: str | None
    seconds: float


def prepare(localizer: Localizer, image: ImageRecord) -> PreparedImage:
    """Read an image and bring it to both resolutions; never raises for a bad image."""
    start = time.perf_counter()
    try:
        rgb = read_image(image.path)
        views = localizer.make_views(rgb, localizer.preprocessing)
    except ItemError as error:
        return PreparedImage(image, (0, 0), None, None, str(error), time.perf_counter() - start)
    working = working_image(rgb, localizer.segmentation.working_size)
    return PreparedImage(image, (rgb.shape[1], rgb.shape[0]), working, views, None, time.perf_counter() - start)
