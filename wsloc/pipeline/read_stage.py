"""First stage: from an image to the network's inputs and the working image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsloc.classifiers import Preprocessing, Views
from wsloc.classifiers.preprocessing import MakeViews
from wsloc.errors import ItemError
from wsloc.images import read_scaled
from wsloc.pipeline.stage import Failed
from wsloc.records import ImageRecord
from wsloc.registries import VIEWS
from wsloc.segmentation import working_image


@dataclass(frozen=True, slots=True, eq=False)
class ReadImage:
    """One image, decoded.

    Attributes:
        image: its record.
        class_names: what to look for: its labels, or the classifier's best.
        size_wh: after EXIF transposition.
        working_rgb: uint8 ``(h, w, 3)``, at the resolution of the cut.
        views: the network's inputs; None if no network is asked.
    """

    image: ImageRecord
    class_names: tuple[str, ...]
    size_wh: tuple[int, int]
    working_rgb: NDArray[np.uint8]
    views: Views | None


@dataclass(frozen=True, slots=True)
class ReadStage:
    """Decodes images; the one stage that opens files.

    Attributes:
        working_size: longer side of the working image.
        views: a key of :data:`wsloc.registries.VIEWS`; None if no network is asked.
        preprocessing: what the network expects.
        decode_side: what JPEG files keep at least of both sides; None to decode them at full size.
    """

    working_size: int
    views: str | None
    preprocessing: Preprocessing | None
    decode_side: int | None = None
    name: str = "read"
    batch_size: int = 1
    on_device: bool = False

    def group(self, _image: ImageRecord) -> None:
        """Images are read one by one."""

    def __call__(self, images: Sequence[ImageRecord]) -> list[ReadImage | Failed]:
        """Read some images; never raises for a bad one."""
        return [self._read(image) for image in images]

    def _read(self, image: ImageRecord) -> ReadImage | Failed:
        try:
            rgb, size_wh = read_scaled(image.source, self.decode_side)
            views = None
            if self.views is not None and self.preprocessing is not None:
                make_views: MakeViews = VIEWS[self.views]
                views = make_views(rgb, self.preprocessing)
        except ItemError as error:
            return Failed(image, self.name, str(error))
        working = working_image(rgb, self.working_size)
        return ReadImage(image, image.labels, size_wh, working, views)
