"""The pipeline: images in, boxes out, in order, in bounded memory.

    read (pool) -> saliency maps (device, this thread) -> cut (pool)

The generators pull: each stage runs ahead of the next by a bounded window, so that reading, the
device and the cuts overlap while memory stays flat over any number of images.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from functools import partial

from wsloc.pipeline.cutting import cut
from wsloc.pipeline.localizer import Localizer
from wsloc.pipeline.ordered import ordered_map
from wsloc.pipeline.reading import prepare
from wsloc.pipeline.results import ImageResult
from wsloc.pipeline.saliency_maps import compute_maps
from wsloc.records import ImageRecord


def localize(
    localizer: Localizer, images: Iterable[ImageRecord], pool: Executor | None = None
) -> Iterator[ImageResult]:
    """Localize the labeled classes (or the classifier's best) of images, in their order.

    Args:
        localizer: the classifier and the settings.
        images: any number of them.
        pool: threads that read and cut; None to do both between the batches. It changes no result.

    Yields:
        One result an image. Bad images come as failures, never as exceptions.

    Raises:
        UserError: if the device runs out of memory.
    """
    window = 2 * localizer.batch_size
    prepared = ordered_map(pool, partial(prepare, localizer), images, window)
    return ordered_map(pool, partial(cut, localizer), compute_maps(localizer, prepared), window)
