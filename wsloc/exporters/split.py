"""Which images go to the split ``val``: of each class the same fraction, of the images that are exported."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

from wsloc.exporters.selection import ScoredBox, TopFraction
from wsloc.splitting import hold_out


class ShownClasses:
    """The classes of each image, gathered in the first pass; a few bytes for each box."""

    def __init__(self) -> None:
        self._images: dict[str, int] = {}
        self._classes: dict[str, int] = {}
        self._image_of, self._class_of, self._uncertain = array("L"), array("L"), array("b")

    def add(self, image_id: str, kept: Iterable[ScoredBox]) -> None:
        """An image with the boxes that :func:`wsloc.exporters.selection.select` keeps, in the order of the run."""
        image = self._images.setdefault(image_id, len(self._images))
        for box in kept:
            self._image_of.append(image)
            self._class_of.append(self._classes.setdefault(box.record.class_name, len(self._classes)))
            self._uncertain.append(box.uncertain)

    def val_images(self, top: TopFraction, fraction: float, *, keep_empty: bool) -> frozenset[str]:
        """The ids of the images of ``val``.

        Args:
            top: new, of the same boxes.
            fraction: of the images.
            keep_empty: whether images without a certain box are exported.
        """
        shown: list[set[int]] = [set() for _ in self._images]
        names = list(self._classes)
        for image, number, uncertain in zip(self._image_of, self._class_of, self._uncertain, strict=True):
            if top.next_is_best(names[number]) and not uncertain:
                shown[image].add(number)
        kept = {image_id: sorted(own) for image_id, own in zip(self._images, shown, strict=True) if own or keep_empty}
        held = hold_out(list(kept), list(kept.values()), fraction, seed=0)
        return frozenset(image_id for image_id, is_held in zip(kept, held, strict=True) if is_held)
