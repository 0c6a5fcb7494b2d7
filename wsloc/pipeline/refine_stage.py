"""A step between maps and cut that has learned over the whole set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import Tensor

from wsloc.classifiers.scorer import Scorer
from wsloc.config import RefinementSettings
from wsloc.errors import ItemError
from wsloc.pipeline.map_stage import ImageMaps
from wsloc.pipeline.stage import Failed

Stream = Callable[[], Iterator[ImageMaps]]
"""Starts a pass over the set: images with their maps and features, one by one."""


class Refiner(Protocol):
    """A fitted refiner; picklable."""

    def __call__(self, image: ImageMaps) -> ImageMaps:
        """The image with other maps.

        Raises:
            ItemError: if it has none for this image.
        """

    def save(self, path: Path, metadata: Mapping[str, str]) -> None:
        """Write what was learned to a safetensors file, with ``metadata`` among its own."""


@dataclass(frozen=True, slots=True)
class RefinerKind:
    """A way to learn over the set. It may see images, image-level labels, maps and features, never a true box.

    Attributes:
        fit: learns from any number of passes over the set; seeded.
        load: reads back what :meth:`Refiner.save` wrote.
        min_images: fewer images are too few to learn from.
        layers: modules of a network whose features it wants, given an example of its input, ``(1, C, H, W)``.
    """

    fit: Callable[[Stream, RefinementSettings, int], Refiner]
    load: Callable[[Path], Refiner]
    layers: Callable[[Scorer, Tensor], tuple[str, ...]]
    min_images: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class RefineStage:
    """Gives images the maps of a fitted refiner.

    Attributes:
        refiner: the refiner.
        fingerprint: of its file.
    """

    refiner: Refiner
    fingerprint: str
    name: str = "refine"
    batch_size: int = 1
    on_device: bool = False

    def group(self, _image: ImageMaps) -> None:
        """Images are refined one by one."""

    def __call__(self, images: Sequence[ImageMaps]) -> list[ImageMaps | Failed]:
        """Refine some images; an image that the refiner refuses is a failure."""
        return [self._refined(image) for image in images]

    def _refined(self, image: ImageMaps) -> ImageMaps | Failed:
        if not image.maps:
            return image  # Nothing was asked of the network, so there are no features either; the cut says why.
        try:
            return self.refiner(image)
        except ItemError as error:
            return Failed(image.read.image, self.name, str(error))
