"""The pipeline: images in, boxes out, in order, in bounded memory.

    read (pool) -> attribute (device, this thread) -> cut (pool)

The generators pull: each stage runs ahead of the next by a bounded window, so that reading, the
device and the cuts overlap while memory stays flat over any number of images.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from functools import partial

from wsloc.datasets import Dataset
from wsloc.pipeline.attributing import Attributed, attribute
from wsloc.pipeline.cutting import cut
from wsloc.pipeline.localizer import Localizer
from wsloc.pipeline.reading import prepare
from wsloc.pipeline.results import ImageResult
from wsloc.pipeline.threads import ordered_map
from wsloc.records import ImageRecord


def localize(
    localizer: Localizer, dataset: Dataset, images: Iterable[ImageRecord] | None = None, pool: Executor | None = None
) -> Iterator[ImageResult]:
    """Localise the labelled classes (or the classifier's best) of images, in their order.

    Args:
        localizer: what to do it with.
        dataset: where the images are from.
        images: some of them; None for all.
        pool: threads that read and cut; None to do both between the batches. It changes no result.

    Yields:
        One result an image. Bad images come as failures, never as exceptions.

    Raises:
        UserError: if the device runs out of memory.
    """
    window = 2 * localizer.batch_size

    def cut_one(attributed: Attributed) -> ImageResult:
        return cut(localizer, dataset.relative_file(attributed.prepared.image), attributed)

    prepared = ordered_map(pool, partial(prepare, localizer), dataset.images if images is None else images, window)
    return ordered_map(pool, cut_one, attribute(localizer, prepared), window)
